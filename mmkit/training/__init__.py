"""The training loop, its optimisation, and training from the features of frozen encoders."""

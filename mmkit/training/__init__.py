"""One loop over tensors, its optimisation, and inputs whose encoder is frozen."""

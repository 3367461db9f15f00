"""What a model is worth: metrics by kind of target."""

"""Pretrained weights, for plugins: read safely, loaded, frozen or tuned."""

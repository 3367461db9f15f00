"""Image encoders of timm for mmkit; `mmkit_timm.plugin` says which."""

"""Image encoders of timm for mmkit; `mmkit_timm.plugin` lists them."""

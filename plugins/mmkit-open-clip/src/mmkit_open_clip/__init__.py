"""Image and text towers of open_clip for mmkit; `mmkit_open_clip.plugin` lists them."""

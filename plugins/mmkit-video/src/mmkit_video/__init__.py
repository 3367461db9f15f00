"""Video for mmkit; `mmkit_video.plugin` lists them."""

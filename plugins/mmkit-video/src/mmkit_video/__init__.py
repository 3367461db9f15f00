"""Video for mmkit; `mmkit_video.plugin` says what is there."""

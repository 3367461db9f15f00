"""Tasks that need no download: two made of real data, and synthetic ones of known structure."""

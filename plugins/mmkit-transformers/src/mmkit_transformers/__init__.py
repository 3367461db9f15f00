"""Encoders of transformers for mmkit; `mmkit_transformers.plugin` says which."""

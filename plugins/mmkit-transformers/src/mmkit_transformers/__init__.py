"""Encoders of transformers for mmkit, and a head that writes; `mmkit_transformers.plugin` says which."""

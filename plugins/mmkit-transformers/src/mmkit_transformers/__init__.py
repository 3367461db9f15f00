"""Encoders of transformers for mmkit, and a head that generates text; `mmkit_transformers.plugin` lists them."""

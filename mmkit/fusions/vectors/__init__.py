"""Fusions that read one vector an input."""

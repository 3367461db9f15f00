"""Fusions that act between the parts of encoders."""

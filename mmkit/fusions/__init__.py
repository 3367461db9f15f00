"""Fusions: one method, one file."""

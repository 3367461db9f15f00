"""Fusions at decision level: they read the output of each input's own head."""

"""Metrics of predictions, by kind of target."""

"""Encoders: one input to features."""

"""Kinds of raw value: how each is read into memory."""

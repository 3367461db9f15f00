"""Layers that several components are built of, all correct under a mask."""

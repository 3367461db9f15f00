"""Layers that several components share. All of them respect masks."""

"""Objectives: losses beside the head's. One objective a file."""

"""Specs of the fusions that ship with mmkit: one file a room, each in the order of the names."""

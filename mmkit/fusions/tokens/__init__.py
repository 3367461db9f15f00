"""Fusions that read the tokens of all inputs."""

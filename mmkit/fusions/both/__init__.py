"""Fusions at decision level that read the features of the inputs beside the outputs of their heads."""

"""Exported models: one graph from tensors to a prediction, checked against the model, that runs without mmkit."""

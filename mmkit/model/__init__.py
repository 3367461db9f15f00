"""From a combination to a model: assembly, prediction, saving, loading."""

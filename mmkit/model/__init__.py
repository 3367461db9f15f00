"""From a combination to a model: built, run without gradients, saved, loaded."""

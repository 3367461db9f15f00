"""From raw samples to batches: decoded, split, refused or picked, transformed, loaded."""

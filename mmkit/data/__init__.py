"""From raw samples to batches: splits, decoding, bad values, subsets, transforms, loading."""

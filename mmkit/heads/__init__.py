"""Heads: from fused features to a prediction. One head a file; the losses they share are in `loss`."""

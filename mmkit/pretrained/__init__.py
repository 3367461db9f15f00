"""Pretrained weights, for plugins: reading, downloading, loading and fine-tuning."""

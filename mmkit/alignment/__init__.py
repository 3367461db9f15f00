"""How well two frozen encoders are aligned, before any fusion: retrieval and zero-shot classification."""

"""How well two frozen encoders agree, before anything is fused: retrieval and zero-shot."""

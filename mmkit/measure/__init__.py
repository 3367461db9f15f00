"""What a model is worth and what it costs: metrics, speed, parameters and operations."""

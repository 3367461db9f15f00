"""What a model costs: time, memory, parameters and operations."""

"""The cost of a model: time, memory, parameters and FLOPs."""

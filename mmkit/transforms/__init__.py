"""Values in memory to tensors, and the truth to tensors and back."""

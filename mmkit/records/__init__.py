"""What a run found: a typed record, and the file that keeps such lines."""

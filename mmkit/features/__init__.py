"""Features of frozen encoders: computed once, kept, packed, scaled and shared by the runs of a suite."""

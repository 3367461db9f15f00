"""Features of frozen encoders: extracted once, cached, scaled, and shared by the runs of a suite."""

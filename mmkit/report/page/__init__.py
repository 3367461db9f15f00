"""The page of a suite: one HTML file for a colleague who did not run it."""

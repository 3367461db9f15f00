"""Runs and suites of them: planned, tried, carried out, measured. Start reading at `run`."""

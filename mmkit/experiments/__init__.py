"""Experiments: runs, and suites of runs; planning, dry runs, costs, evaluation. Start reading at `run`."""

"""A saved model in service over HTTP: requests to samples, samples to batches, batches to answers; and its page."""

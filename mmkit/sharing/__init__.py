"""Models on the hub: downloaded to its cache and read as a folder, pushed with their card."""

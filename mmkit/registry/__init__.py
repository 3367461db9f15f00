"""What is installed: found, asked for its specs, listed with a status, and chosen by name with its options."""

"""A user's own data: read from files, understood column by column, split, and looked over; all before training."""

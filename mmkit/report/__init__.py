"""Records to what a person reads. Nothing here knows how a record came about."""

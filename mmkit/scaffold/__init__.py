"""What `mmkit plugins new` writes: whole distributions, one a kind of component, that work as they are."""

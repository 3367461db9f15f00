"""Records of runs: a typed record, and the file that keeps them."""

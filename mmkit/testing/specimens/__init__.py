"""Components set up for checking: built as the core builds them, with random inputs that fit."""

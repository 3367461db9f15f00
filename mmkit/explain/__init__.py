"""Explanations of one answer: what each input gave to it, and which part of the input."""

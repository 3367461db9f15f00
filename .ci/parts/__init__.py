"""The generated parts of pages: what each file makes is the text of a part, or of several."""

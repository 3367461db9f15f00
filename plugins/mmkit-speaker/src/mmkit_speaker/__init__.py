"""A voice encoder for mmkit; `mmkit_speaker.plugin` registers it."""

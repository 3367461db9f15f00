"""Audio encoders of torchaudio for mmkit; `mmkit_torchaudio.plugin` lists them."""

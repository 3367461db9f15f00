"""What ships in mmkit, registered through the same door as everybody's plugins: one file a kind."""

"""What mmkit is measured by. A package of its own, since others install one of this name."""

"""What is installed, and what lies in a folder: found and asked."""

"""What a defense may add to an architecture: the file of its model names the wrapper, and loading applies it again."""

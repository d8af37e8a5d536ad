"""Attacks beside their official code: the same images, the largest difference in gray levels."""

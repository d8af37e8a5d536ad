"""Defenses beside their official code: the same victim, the same images in the same order, float32."""

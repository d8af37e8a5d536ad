"""The prunable units of a network, and scores of them."""

"""Networks: what an architecture says of itself, the model around it, weights on disk, looking inside."""

"""Designs, paired seeds, effects: which part improves the result."""

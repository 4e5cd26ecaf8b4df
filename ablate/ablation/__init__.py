"""Designs, paired seeds, effects: which part earned it."""

"""Designs, one per file: `plan(ground, reference, refuse)` returns the cells and contrasts."""

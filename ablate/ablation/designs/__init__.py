"""Designs, one per file: `plan(draft)` returns the cells and contrasts."""

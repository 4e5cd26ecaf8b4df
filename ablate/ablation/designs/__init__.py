"""Designs, one a file: `plan(ground, reference, refuse)` gives what the design of a file runs."""

"""Augmented copies of a batch, made while training."""

"""Augmented copies of a batch, made while training; importing this loads no torch."""

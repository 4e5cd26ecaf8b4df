"""Robustness: the weights of a network become its scores."""

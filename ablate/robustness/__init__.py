"""Robustness: from the weights of a network to its scores."""

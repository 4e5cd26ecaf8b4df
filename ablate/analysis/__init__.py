"""Ledger rows become frozen Info objects: frame, Pareto front, hypervolume, status."""

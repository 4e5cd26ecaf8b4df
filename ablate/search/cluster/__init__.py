"""Checks of a Ray cluster before it is used: its address, its nodes, what they share."""

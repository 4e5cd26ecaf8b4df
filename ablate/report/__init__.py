"""Frozen Info objects become figures, tables and the live display."""

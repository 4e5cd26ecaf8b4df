"""Data sets, as plain data: importing this loads no torch."""

from __future__ import annotations

DATASETS = ("digits", "image_folder")
"""What `dataset.name` may name; each is the file of that name."""

"""Augmented copies of a batch, made while training; importing this loads no torch."""

from __future__ import annotations

METHODS = {
    "per_sample": "per_sample",
    "per_batch": "per_batch",
    "all": "all_types",
    "composed": "composed",
    "augmix": "augmix",
}
"""What `augment.method` may name -> the file that has its `build_method`."""

"""Corruptions of this project's own, one per file; importing this does not load torch.

They are in no suite: a list or `--types` names them.
"""

from __future__ import annotations

ADDED = ("vignette",)
"""Each is the file of that name, with a `CORRUPTION`; in the order of all tables."""

"""The search space: domains, conditions and how a point is stored."""

from __future__ import annotations

SAMPLERS = ("tpe", "random", "nsga2", "gp", "qmc")

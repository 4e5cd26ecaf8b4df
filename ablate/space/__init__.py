"""The search space: domains, conditions and how a point is stored.

Example:
    >>> space = {
    ...     "loss.terms": ablate.space.choice(["clean", "clean+st"]),
    ...     "loss.st.weight": ablate.space.float(
    ...         0.01, 10, log=True, when={"loss.terms": {"contains": "st"}}
    ...     ),
    ... }
    >>> sorted(space["loss.st.weight"])
    ['float', 'log', 'when']
"""

from __future__ import annotations

from ablate.space.written import choice, simplex, subset
from ablate.space.written import float_domain as float
from ablate.space.written import int_domain as int

__all__ = ["SAMPLERS", "choice", "float", "int", "simplex", "subset"]

SAMPLERS = ("auto", "tpe", "random", "nsga2", "gp", "qmc")

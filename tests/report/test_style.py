"""The mapping of loss terms to colours and marks."""

from __future__ import annotations

from itertools import chain, combinations

from ablate.finetune.loss import TERMS
from ablate.report.style import terms_look


def test_every_set_of_terms_looks_like_no_other() -> None:
    sets = chain.from_iterable(combinations(TERMS, size) for size in range(1, len(TERMS) + 1))
    styles = [terms_look("+".join(terms)) for terms in sets]
    assert len(styles) == 15
    assert len({(style.color, style.symbol) for style in styles}) == 15
    assert len({style.symbol for style in styles}) == 15


def test_the_label_has_the_terms_in_one_order() -> None:
    assert terms_look("fma+st+clean").label == "ST and FMA"
    assert terms_look("fma+st+clean") == terms_look("clean+st+fma")


def test_a_term_unknown_here_is_grey() -> None:
    style = terms_look("clean+new")
    assert (style.label, style.color) == ("clean+new", "#767676")

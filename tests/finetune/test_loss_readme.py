"""docs/reference/losses.md names every term, distance, form and anchor."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from ablate.finetune.loss import DISTANCES, FORMS, TERMS
from ablate.finetune.loss.term import ANCHORS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/losses.md").read_text()


def test_it_names_every_term_distance_form_and_anchor() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.MULTILINE)
    assert rows == [*TERMS, *DISTANCES, *FORMS, *ANCHORS], (
        "docs/reference/losses.md: one row for each name, in the order of the lists"
    )


def test_the_settings_of_finetuning_name_every_distance() -> None:
    (row,) = re.findall(r"^\| `loss\.fma\.distance` \| (.*?) \|", PAGE, flags=re.MULTILINE)
    assert re.findall(r"`(\w+)`", row) == list(DISTANCES), (
        "docs/reference/losses.md, row loss.fma.distance: every name, in the order of DISTANCES"
    )


def test_the_search_of_fma_chooses_among_all_distances() -> None:
    space = yaml.safe_load((ROOT / "search_spaces/fma.yaml").read_text())
    assert space["loss.fma.distance"]["choice"] == list(DISTANCES), (
        "search_spaces/fma.yaml, loss.fma.distance: every name, in the order of DISTANCES"
    )

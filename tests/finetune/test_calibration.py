"""The constants of the distances are those of the docs, and as large as a baseline says."""

from __future__ import annotations

import re
import statistics
import sys
from pathlib import Path

import pytest

from ablate.data.load import load_dataset
from ablate.finetune.loss import DISTANCES
from ablate.lifecycle.place import place_of_file
from ablate.model.environment import resolve_environment
from ablate.model.trained import load_export
from ablate.model.weights.export_metadata import SHIPPED

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "benchmarks"))

from calibration import Setting, accuracy, measure  # noqa: E402

README = (Path(__file__).parents[2] / "docs/reference/losses.md").read_text()
ROWS = {
    name: (float(constant), float(digits))
    for name, constant, digits in re.findall(
        r"^\| (\w+) \| ([\d.]+) \| ([\d.]+) \[", README, flags=re.MULTILINE
    )
}
"""Distance -> its constant, and the quotient of gradients that was measured on the digits."""


def test_the_readme_has_the_constants() -> None:
    assert {name: constant for name, (constant, _) in ROWS.items()} == {
        name: distance.gradient_scale for name, distance in DISTANCES.items()
    }


@pytest.mark.slow
def test_the_digits_confirm_them(tmp_path: Path) -> None:
    """Within a factor of 2 of what was measured there: with other batches."""
    study = place_of_file(ROOT / "studies" / "quickstart.yaml").study
    assert study is not None
    environment = resolve_environment(threads=1, device="cpu")
    train = load_dataset(study.dataset, tmp_path, tmp_path).train.resident()
    model = load_export(SHIPPED[str(study.baseline.checkpoint)]).network
    assert accuracy(model, train.images[:300], train.labels[:300]) > 0.98
    setting = Setting("digits", model, train.images, train.labels, (0, False), 64, "")
    norms = [measure(setting, batch, environment) for batch in setting.batches(2, seed=5)]
    for name, (constant, digits) in ROWS.items():
        found = statistics.geometric_mean(constant * one["da"] / one[name] for one in norms)
        assert digits / 2 < found < 2 * digits, name

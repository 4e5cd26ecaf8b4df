"""Time of figures and the report of a large study, compared with optuna's own front.

    python benchmarks/report.py [--rounds 3] [--trials 10000]

Every ratio is within one process and round: optuna's `plot_pareto_front` on the same trials, then
ours. The rows are random (a joint space, two objectives); reading them is not measured here.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import optuna

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from example_sources import TAPS, TERMS, usual_record  # the studies that the tests draw

from ablate.ablation.study_source import StudySource
from ablate.analysis.pareto import pareto_info
from ablate.ledger.record import StudyRecord
from ablate.report.figures import FIGURES, find_figure
from ablate.report.figures.canvas import COLUMN
from ablate.report.page.page import report_content, report_page
from ablate.report.write import write_figures, write_text

POINTS = 100_000
COMPLETE_SHARE = 0.8
"""Of the rows that are made up; the others are pruned or failed."""


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.perf_counter()
    result = work()
    return time.perf_counter() - begun, result


def same_study(record: StudyRecord) -> optuna.Study:
    """The complete trials as optuna's own study, in memory, with their parameters as numbers."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=["maximize", "maximize"])
    any_number = optuna.distributions.FloatDistribution(-1e9, 1e9)
    any_terms = optuna.distributions.CategoricalDistribution(list(TERMS))
    trials = []
    for row in record.complete:
        params: dict[str, Any] = {}
        for key, value in row.params.items():
            if key == "loss.terms":
                params[key] = value
            elif isinstance(value, dict):
                params |= {f"{key}[{part}]": ratio for part, ratio in value.items()}
            elif isinstance(value, list):
                params |= {f"{key}[{tap}]": float(tap in value) for tap in TAPS}
            else:
                params[key] = float(value)
        kinds = {key: any_terms if key == "loss.terms" else any_number for key in params}
        trials.append(
            optuna.trial.create_trial(
                params=params, distributions=kinds, values=list(row.values or ())
            )
        )
    study.add_trials(trials)
    return study


def front_round(record: StudyRecord, study: optuna.Study) -> tuple[float, float]:
    """Seconds of optuna's front and of ours, each to its JSON, as a page would hold it."""
    theirs, _ = seconds(lambda: optuna.visualization.plot_pareto_front(study).to_json())
    kind = find_figure("pareto")
    unread = replace(record)  # what was read from a record is kept with it
    ours, _ = seconds(lambda: kind.draw(kind.info([StudySource(unread)]), COLUMN).to_json())
    return theirs, ours


def report_round(record: StudyRecord, folder: Path) -> tuple[float, float, Path]:
    """Seconds and megabytes of a report, of rows that are read already."""

    def make() -> Path:
        content = report_content(
            StudySource(replace(record)), reference="runs/large", now=time.time()
        )
        path = folder / "report.html"
        write_text(report_page(content), path)
        return path

    took, path = seconds(make)
    return took, path.stat().st_size / 1e6, path


def opening(path: Path) -> float:
    """Seconds until a Chromium that runs has the first figure of the page, and its rows."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        begun = time.perf_counter()
        page.goto(path.as_uri(), wait_until="commit")
        page.wait_for_selector("#rows tbody tr", state="attached")
        page.wait_for_selector(".plot .main-svg", state="attached")
        took = time.perf_counter() - begun
        browser.close()
    return took


def history_round() -> float:
    """Seconds of front and hypervolume history of 100,000 trials of two objectives."""
    random = np.random.default_rng(0)
    record = usual_record(10)
    rows = [row for row in record.rows if row.values is not None][:1]
    values = random.uniform(0, 1, (POINTS, 2)) * (0.2, 0.3) + (0.8, 0.6)
    made = tuple(
        replace(rows[0], number=number, values=(float(x), float(y)), curve=(), attempts=())
        for number, (x, y) in enumerate(values)
    )
    record = replace(record, rows=made, trials=POINTS)

    def work() -> None:
        pareto_info(record)
        find_figure("history").info([StudySource(record)])

    return seconds(work)[0]


def images_round(record: StudyRecord, folder: Path) -> tuple[float, int]:
    """Seconds of ten PNGs by one browser."""
    source = StudySource(record)
    names = cycle(name for name in FIGURES if name not in ("effects", "examples"))

    def work() -> int:
        drawn: list[tuple[Any, Path]] = []
        while len(drawn) < 10:
            kind = find_figure(next(names))
            figure = kind.draw(kind.info([source]), COLUMN)
            drawn.append((figure, folder / f"{len(drawn)}.png"))
        write_figures(drawn)
        return len(drawn)

    return seconds(work)


def told(name: str, values: Sequence[float], unit: str, asked: str) -> None:
    middle = statistics.median(values)
    print(
        f"{name:58} {middle:8.2f} {unit} [{min(values):.2f}, {max(values):.2f}]  "
        f"n = {len(values)}  asked: {asked}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=10_000, help="complete ones")
    options = parser.parse_args()
    record = usual_record(round(options.trials / COMPLETE_SHARE))
    study = same_study(record)
    small = usual_record(40)
    front, reports, sizes, opened, histories, images = [], [], [], [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        front_round(record, study)  # imports
        for _ in range(options.rounds):
            theirs, ours = front_round(record, study)
            front.append(theirs / ours)
            took, size, path = report_round(record, folder)
            reports.append(took)
            sizes.append(size)
            opened.append(opening(path))
            histories.append(history_round())
            took, count = images_round(small, folder)
            assert count == 10
            images.append(took)
    print(f"{len(record.rows)} trials, {len(record.complete)} of them complete")
    told("front: optuna's plot_pareto_front / ours", front, "x", "5")
    told("report, rows read", reports, "s", "10")
    told("report, size", sizes, "MB", "15")
    told("report, opened in Chromium until usable", opened, "s", "2")
    told(f"front and hypervolume of {POINTS:,} trials", histories, "s", "1")
    told("10 PNGs of 40 trials", images, "s", "10")


if __name__ == "__main__":
    main()

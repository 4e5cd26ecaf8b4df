"""Numbers, times and names as a person reads them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any

from ablate.analysis.objectives import is_accuracy, is_score
from ablate.files.shown import count_text, shown_if, without_controls
from ablate.study.preparation import PreparationStep
from ablate.study.scores import TOTALS
from ablate.study.settings import ObjectiveSettings

if TYPE_CHECKING:
    from ablate.analysis.accounting import DriveAccount, EpochAccount, StudyAccount
    from ablate.analysis.caveats import StudyFacts
    from ablate.study.settings import SearchBudgetSettings

MISSING = "-"
_COUNTS = {
    "train_seconds": "Training time (s)",
    "train_flops": "Training FLOPs",
    "student_images": "Images through the student",
    "teacher_images": "Images through a teacher",
}


def metric_label(metric: str) -> str:
    """ "Robust accuracy" for `val_robust_accuracy`; an unknown metric keeps its name."""
    if not is_score(metric):
        return _COUNTS.get(metric, metric)
    rest = metric.partition("_")[2]
    if rest.startswith("accuracy."):
        return f"Accuracy, {rest.removeprefix('accuracy.').replace('.', ', severity ')}"
    return TOTALS[rest].label


def metric_words(metric: str) -> str:
    """ "robust accuracy" for `val_robust_accuracy`; an unknown metric keeps its name."""
    label = metric_label(metric)
    return label if label == metric else label.lower()


def metric_unit(metric: str) -> str:
    """The unit after a number, or a heading, of this metric."""
    return " %" if is_accuracy(metric) else ""


def metric_text(metric: str, value: float) -> str:
    """ "96.4" for an accuracy (percent), four digits for anything else, "-" for NaN."""
    if is_accuracy(metric):
        return percent_text(value)
    return MISSING if math.isnan(value) else f"{value:.4g}"


def percent_text(share: float) -> str:
    """ "96.4" of 0.964, "-" of NaN."""
    return MISSING if math.isnan(share) else f"{100 * share:.1f}"


def signed_text(value: float, decimals: int) -> str:
    """ "+12.3"; "-0.0" for a small loss, because "+0.0" would hide it; "0.0" for exactly 0."""
    return f"{value + 0.0:{'+' if value else ''}.{decimals}f}"


def reference_text(metrics: Sequence[str], point: Sequence[float]) -> str:
    """ "(86.0, 65.1)": a reference point in the units of its metrics."""
    values = zip(metrics, point, strict=True)
    return f"({', '.join(metric_text(metric, value) for metric, value in values)})"


def hypervolume_text(
    volume: float | None,
    objectives: Sequence[ObjectiveSettings],
    reference_point: Sequence[float] | None,
) -> str:
    """ "0.014, reference point (85.0, 60.0)"; empty where one of them is missing."""
    if volume is None or reference_point is None:
        return ""
    point = reference_text([objective.metric for objective in objectives], reference_point)
    return f"{volume:.4g}, reference point {point}"


def share_text(share: float) -> str:
    """ "12 %" of 0.12, "-" of NaN."""
    return MISSING if math.isnan(share) else f"{100 * share:.0f} %"


def shortened(text: str, characters: int) -> str:
    """Text with its middle left out if it is too long; both ends distinguish names."""
    if len(text) <= characters:
        return text
    head = (characters - 1) // 2
    return f"{text[:head]}…{text[len(text) - (characters - 1 - head) :]}"


def count_texts(info: StudyFacts) -> list[str]:
    """ "n = 359 images", or "n = 359 images, 100 of them corrupted" where not all are, "each at
    20 % of types and severities" where not at all; no text where the images are unknown."""
    if info.n_images is None:
        return []
    fewer = info.n_corrupted is not None and info.n_corrupted != info.n_images
    text = f"n = {info.n_images} images" + shown_if(
        fewer, f", {info.n_corrupted} of them corrupted"
    )
    share = info.cell_share or 1.0
    sparse = f", each at {100 * share:.3g} % of types and severities"
    return [text + shown_if(share < 1, sparse)]


def seed_texts(seed: int | None) -> list[str]:
    """ "single seed (0)"; no text where there are several."""
    return [] if seed is None else [f"single seed ({seed})"]


def duration_text(seconds: float) -> str:
    """ "12 s", "3 min 05 s" or "2 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def run_time_rows(account: StudyAccount, budget: SearchBudgetSettings) -> list[tuple[str, str]]:
    """Where the time of a study went: names and values, for `ablate status` and the page.

    Run time, work, epochs, GPU hours and, of several drives, one row each: at most eight.

    Args:
        budget: its limits, which stand beside what was used.
    """
    drives, epochs = account.drives, account.epochs
    if not drives and not account.worked_seconds:
        return []
    limit = f" of {duration_text(budget.seconds)}" if budget.seconds is not None else ""
    run_time = duration_text(account.driving_seconds) + limit
    run_time += (
        f" in {len(drives)} drives" if len(drives) > 1 else "".join(map(_drive_text, drives))
    )
    waiting = sum(drive.workers * drive.seconds - drive.worked_seconds for drive in drives)
    parts = [
        ("training", epochs.training_seconds),
        ("scoring and loading", epochs.other_seconds),
        ("lost", account.lost_seconds),
        ("workers without a trial", waiting),
    ]
    work = ", ".join(f"{what} {duration_text(spent)}" for what, spent in parts if round(spent))
    if epochs.saved_seconds:
        work += f"; stopping trials saved about {duration_text(epochs.saved_seconds)} of training"
    rows = [
        ("run time", run_time),
        ("work", work),
        ("epochs", _epochs_text(epochs) if epochs.trained else ""),
    ]
    if account.gpu_hours or budget.gpu_hours is not None:
        limit = f" of {budget.gpu_hours:g}" if budget.gpu_hours is not None else ""
        rows.append(("GPU hours", f"{account.gpu_hours:.2f}{limit}"))
    if len(drives) > 1:
        earlier = drives[:-_MOST_DRIVES]
        if earlier:
            seconds = sum(drive.seconds for drive in earlier)
            which = f"drives 1 to {len(earlier)}" if len(earlier) > 1 else "drive 1"
            rows.append((which, duration_text(seconds)))
        for place, drive in enumerate(drives[-_MOST_DRIVES:], len(earlier) + 1):
            took = f"{moment_text(drive.started)}, {duration_text(drive.seconds)}"
            rows.append((f"drive {place}", f"{took}{_drive_text(drive)}, {drive.end}"))
    return [(name, text) for name, text in rows if text]


_MOST_DRIVES = 3


def _drive_text(drive: DriveAccount) -> str:
    """ " on node0, 4 workers busy 93 % of the time"."""
    workers = f" on {drive.host}, {count_text(drive.workers, 'worker')}"
    given = drive.workers * drive.seconds
    return workers + (
        f" busy {share_text(drive.worked_seconds / given)} of the time" if given else ""
    )


def _epochs_text(account: EpochAccount) -> str:
    """ "58 trained, 80 saved (58 % of 138); after epoch 1: 10 trials stopped, 10 went on"."""
    trained, saved = sum(account.trained), sum(account.saved)
    text = f"{trained:,} trained"
    if saved:
        full = trained + saved
        text += f", {saved:,} saved ({share_text(saved / full)} of {full:,})"
    rungs = (
        f"after epoch {at.epoch}: {count_text(at.stopped, 'trial')} stopped, "
        f"{at.reached - at.stopped} went on"
        for at in account.rungs
    )
    return "; ".join([text, *rungs])


def step_text(step: PreparationStep) -> str:
    """ "training the baseline: 3 of 12 epochs, 1,950 images a second, 40 s left"."""
    progress = step_progress_text(step)
    return f"{step.what}: {progress}" if progress else step.what


def step_progress_text(step: PreparationStep) -> str:
    """The progress of a step, without its name; empty if unknown."""
    parts = []
    if step.done is not None and step.total is not None:
        parts.append(f"{step.done} of {step.total} {step.unit}".rstrip())
    if step.images_per_second is not None:
        parts.append(f"{step.images_per_second:,.0f} images a second")
    if step.seconds_left:
        parts.append(f"{duration_text(step.seconds_left)} left")
    return ", ".join(parts)


def moment_text(seconds: float) -> str:
    """ "2026-03-01 12:00" of seconds since 1970, in the machine's own time."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")


def param_text(value: Any) -> str:
    """A resolved parameter: three digits, a subset joined by +, a mix as "noise 0.7, blur 0.3"."""
    if isinstance(value, Mapping):
        return ", ".join(f"{part} {param_text(ratio)}" for part, ratio in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "+".join(param_text(part) for part in value)
    if isinstance(value, float):
        return f"{value:.3g}"
    return str(value)


def plain_text(text: str) -> str:
    """Text escaped for a figure: plotly interprets tags and entities as markup, and an SVG has no
    control characters."""
    return escape(without_controls(text), quote=False)


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Dotted keys by their shortest endings that no two share, as `fma.weight` and `strength`."""
    parts = {key: key.split(".") for key in keys}
    short = {}
    for key, path in parts.items():
        for length in range(1, len(path) + 1):
            ending = path[-length:]
            if sum(other[-length:] == ending for other in parts.values()) == 1:
                break
        short[key] = ".".join(ending)
    return short

"""Where a study's numbers come from: code, machine, seeds, dates, cost, and which data saw what."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from ablate.analysis.accounting import StudyAccount
from ablate.errors.masking import masked
from ablate.files.shown import bytes_text, few, shown_if
from ablate.ledger.record import StudyRecord
from ablate.report.numbers import run_time_rows
from ablate.report.page.methods import training_images

_STATES = ("COMPLETE", "PRUNED", "FAIL", "RUNNING", "WAITING")
_SAW = {
    None: "",
    True: "; it saw the validation images",
    False: "; it did not see the validation images",
}


class Fact(NamedTuple):
    """One line of the provenance: name and value."""

    name: str
    text: str


def origin_facts(record: StudyRecord, account: StudyAccount) -> tuple[Fact, ...]:
    """The information needed to judge or repeat the study, without passwords."""
    counts = {state: sum(row.state == state for row in record.rows) for state in _STATES}
    ended = ", ".join(f"{count} {state.lower()}" for state, count in counts.items() if count)
    rows = ("Rows", f"{ended or 'none'}, of {record.trials}")
    if record.foreign:
        who = "another tool with Optuna: code, machine, seeds and data are unknown"
        lines = [("Study", record.name), ("Storage", record.storage), ("Made by", who), rows]
        return tuple(Fact(*line) for line in lines)
    made = record.drives[-1].provenance if record.drives else {}
    git, versions = made.get("git") or {}, {"python": made.get("python", "")}
    versions |= made.get("packages", {})
    commit, dirty = git.get("commit"), shown_if(git.get("dirty"), ", with uncommitted changes")
    times = run_time_rows(account, record.study.search.budget)
    lines = [
        ("Study", record.name),
        ("Fingerprint", record.fingerprint),
        ("Part of", record.parent or ""),
        ("Storage", record.storage),
        ("Code", f"commit {commit}{dirty}" if commit else "not in a Git repository"),
        ("Versions", ", ".join(f"{name} {one}" for name, one in versions.items() if one)),
        ("Hardware", _hardware(record, account, str(made.get("platform", "")))),
        ("Seeds", _seeds(record)),
        *_drives(record),
        *((name[:1].upper() + name[1:], text) for name, text in times),
        rows,
        *_data(record),
        *((f"Note {place}", note) for place, note in enumerate(record.notes, 1)),
    ]
    return tuple(Fact(name, masked(text)) for name, text in lines if text)


def _hardware(record: StudyRecord, account: StudyAccount, platform: str) -> str:
    known, memory = record.environment, account.peak_memory_bytes
    parts = {
        "": known.get("device_name") or known.get("device"),
        "precision ": known.get("precision"),
        "threads per trial: ": known.get("threads"),
        "hosts ": ", ".join(account.hosts),
        "peak memory ": memory and bytes_text(memory),
    }
    return "; ".join([*(f"{name}{one}" for name, one in parts.items() if one), platform])


def _seeds(record: StudyRecord) -> str:
    study = record.study
    trained = sorted({row.seeds.train for row in record.rows if row.seeds is not None})
    parts = [f"search {study.search.seed}"] if record.design is None else []
    if study.trainable is None:
        parts.append(f"split {study.dataset.validation.seed}")
        parts.append(f"corrupted sets {study.robustness.seed}")
    return "; ".join([*parts, f"training {few(trained or [study.finetune.seed], 20)}"])


def _drives(record: StudyRecord) -> list[tuple[str, str]]:
    """When the study was run."""
    if not record.drives:
        return []
    first, last, runs = record.drives[0], record.drives[-1], len(record.drives)
    said = f"since {_moment(last.started)}{', running' if record.driver else ''}"
    if last.ended is not None:
        times = shown_if(runs > 1, f"{runs} runs, ")
        said = f"{times}until {_moment(last.ended)} ({last.end or 'killed'})"
    return [("Started", _moment(first.started)), ("Last run", said)]


def _data(record: StudyRecord) -> list[tuple[str, str]]:
    """Which data saw which step."""
    if record.study.trainable is not None:
        return [("Data", "loaded by the training function; its splits are unknown to ablate")]
    dataset, start = record.study.dataset, record.study.baseline
    baseline = "the training images without the validation split"
    if start.checkpoint:
        baseline = f"unknown data (external checkpoint){_SAW[start.saw_validation]}"
    parts = [dataset.name, shown_if(dataset.path, f", {dataset.path}")]
    if digest := record.sections.get("data", ""):
        parts.append(f"; digest {digest[:12]}")
    opened = "; ".join(f"{_moment(one.time)}: {one.what}" for one in record.test_opened)
    return [
        ("Data set", "".join(parts)),
        ("Baseline trained on", baseline),
        ("Finetuned on", training_images(record)),
        ("Selected on", "the validation images"),
        ("Test images used", opened or "never"),
    ]


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")

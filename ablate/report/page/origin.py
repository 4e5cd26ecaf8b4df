"""Where a study's numbers come from: code, machine, seeds, dates, cost, and which data saw what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ablate.analysis.accounting import StudyAccount
from ablate.errors.masking import masked
from ablate.files.shown import bytes_text
from ablate.ledger.record import StudyRecord
from ablate.report.numbers import run_time_rows
from ablate.report.page.methods import training_images


@dataclass(frozen=True)
class Fact:
    """One line of the provenance: name and value."""

    name: str
    text: str


def origin_facts(record: StudyRecord, account: StudyAccount) -> tuple[Fact, ...]:
    """The information needed to judge or repeat the study, without passwords.

    Args:
        account: of the study (`ablate.analysis.accounting`).
    """
    if record.foreign:
        return (
            Fact("Study", record.name),
            Fact("Storage", record.storage),
            Fact("Made by", "another tool with Optuna: code, machine, seeds and data are unknown"),
            Fact("Rows", _rows(record)),
        )
    last = record.drives[-1] if record.drives else None
    provenance = last.provenance if last is not None else {}
    lines = [
        ("Study", record.name),
        ("Fingerprint", record.fingerprint),
        ("Part of", record.parent or ""),
        ("Storage", record.storage),
        ("Code", _code(provenance)),
        ("Versions", _versions(provenance)),
        ("Hardware", _hardware(record, account)),
        ("Seeds", _seeds(record)),
        ("Started", _moment(record.drives[0].started) if record.drives else ""),
        ("Last run", _last(record)),
        *(
            (f"{name[:1].upper()}{name[1:]}", text)
            for name, text in run_time_rows(account, record.study.search.budget)
        ),
        ("Rows", _rows(record)),
        *_data(record),
        *((f"Note {place}", note) for place, note in enumerate(record.notes, 1)),
    ]
    return tuple(Fact(name, masked(text)) for name, text in lines if text)


def _code(provenance: Mapping[str, Any]) -> str:
    git = provenance.get("git") or {}
    if not git.get("commit"):
        return "not in a Git repository"
    return f"commit {git['commit']}{', with uncommitted changes' if git.get('dirty') else ''}"


def _versions(provenance: Mapping[str, Any]) -> str:
    packages = {"python": provenance.get("python", ""), **provenance.get("packages", {})}
    return ", ".join(f"{name} {version}" for name, version in packages.items() if version)


def _hardware(record: StudyRecord, account: StudyAccount) -> str:
    environment = record.environment
    machine = record.drives[-1].provenance.get("platform", "") if record.drives else ""
    parts = [
        str(environment.get("device_name") or environment.get("device") or ""),
        f"precision {environment['precision']}" if environment.get("precision") else "",
        f"threads per trial: {environment['threads']}" if environment.get("threads") else "",
        f"hosts {', '.join(account.hosts)}" if account.hosts else "",
        f"peak memory {bytes_text(account.peak_memory_bytes)}" if account.peak_memory_bytes else "",
        str(machine),
    ]
    return "; ".join(part for part in parts if part)


def _seeds(record: StudyRecord) -> str:
    study = record.study
    trained = sorted({row.seeds.train for row in record.rows if row.seeds is not None})
    parts = []
    if record.design is None:
        parts.append(f"search {study.search.seed}")
    if study.trainable is None:
        parts.append(f"split {study.dataset.validation.seed}")
        parts.append(f"corrupted sets {study.robustness.seed}")
    named = ", ".join(map(str, trained[:20])) or str(study.finetune.seed)
    parts.append(f"training {named}{' and more' if len(trained) > 20 else ''}")
    return "; ".join(parts)


def _last(record: StudyRecord) -> str:
    if not record.drives:
        return ""
    last = record.drives[-1]
    if last.ended is None:
        return f"since {_moment(last.started)}" + (", running" if record.driver else "")
    times = f"{len(record.drives)} runs, " if len(record.drives) > 1 else ""
    return f"{times}until {_moment(last.ended)} ({last.end or 'killed'})"


def _rows(record: StudyRecord) -> str:
    states = ("COMPLETE", "PRUNED", "FAIL", "RUNNING", "WAITING")
    counts = [(state, sum(row.state == state for row in record.rows)) for state in states]
    said = ", ".join(f"{count} {state.lower()}" for state, count in counts if count)
    return f"{said or 'none'}, of {record.trials}"


def _data(record: StudyRecord) -> list[tuple[str, str]]:
    """Which data saw which step."""
    if record.study.trainable is not None:
        return [("Data", "loaded by the training function; its splits are unknown to ablate")]
    seen = record.study.baseline.saw_validation
    baseline = "the training images without the validation split"
    if record.study.baseline.checkpoint:
        known = {
            True: "; it saw the validation images",
            False: "; it did not see the validation images",
        }
        baseline = (
            f"unknown data (external checkpoint){known.get(seen, '') if seen is not None else ''}"
        )
    opened = "never"
    if record.test_opened:
        opened = "; ".join(f"{_moment(one.time)}: {one.what}" for one in record.test_opened)
    dataset = record.study.dataset
    path = f", {dataset.path}" if dataset.path else ""
    digest = record.sections.get("data", "")
    return [
        ("Data set", f"{dataset.name}{path}{f'; digest {digest[:12]}' if digest else ''}"),
        ("Baseline trained on", baseline),
        ("Finetuned on", training_images(record)),
        ("Selected on", "the validation images"),
        ("Test images used", opened),
    ]


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")

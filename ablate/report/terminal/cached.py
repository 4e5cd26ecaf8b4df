"""The content of the cache, for a terminal and as plain data for `--json`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from ablate.files.inventory import BOUND_VARIABLE, KINDS
from ablate.files.shown import bytes_text, show_name
from ablate.report.numbers import count_text

if TYPE_CHECKING:
    from ablate.files.cache_contents import CacheInfo, CacheLine, Clearing

_DAY_SECONDS = 86400.0


def cache_table(info: CacheInfo) -> Table:
    """Kind by kind with totals; "copies" are an evaluation set's corruptions x severities."""
    table = Table(
        title=escape(f"{info.folder}: {bytes_text(info.size)}"), caption=escape(_caption(info))
    )
    table.add_column("kind", no_wrap=True)
    table.add_column("what", overflow="fold", min_width=24)
    table.add_column("copies", justify="right", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("last used", justify="right", no_wrap=True)
    for kind in KINDS:
        lines = [line for line in info.lines if line.kind == kind]
        for line in lines:
            table.add_row(kind, escape(line.what), *_numbers(line, info.now))
        if len(lines) > 1:
            total = sum(line.size for line in lines)
            table.add_row("", f"{len(lines)} in total", "", bytes_text(total), "", style="dim")
        if lines:
            table.add_section()
    if info.fetched:
        table.add_row(
            "downloads", "torchvision/, not deleted by clear", "", bytes_text(info.fetched)
        )
    if info.leftovers:
        size = sum(left.size for left in info.leftovers)
        table.add_row("leftovers", "of killed processes", "", bytes_text(size))
    return table


def cache_rows(info: CacheInfo) -> list[dict[str, Any]]:
    """A dict a line, with `kind`, `what`, `entries`, `bytes`, `last_used` and `paths`."""
    rows: list[dict[str, Any]] = [
        {
            "kind": line.kind,
            "what": line.what,
            "entries": len(line.paths),
            "bytes": line.size,
            "last_used": datetime.fromtimestamp(line.used, UTC).isoformat(timespec="seconds"),
            "paths": [str(path) for path in line.paths],
        }
        for line in info.lines
    ]
    if info.fetched:
        place = info.folder / "torchvision"
        rows.append(_row("fetched", "data sets that were downloaded", info.fetched, str(place)))
    rows += [
        _row("left over", f"of a killed process ({left.kind})", left.size, str(left.path))
        for left in info.leftovers
    ]
    return rows


def clearing_lines(plan: Clearing, *, done: bool) -> list[str]:
    """The removed files by kind, and the kept ones.

    Args:
        done: whether they are removed; else they would be.
    """
    found = []
    for kind in KINDS:
        entries = [entry for entry in plan.entries if entry.kind == kind]
        if entries:
            size = sum(entry.size for entry in entries)
            found.append(
                f"{kind}: {count_text(len(entries), 'entry', 'entries')}, {bytes_text(size)}"
            )
    if plan.leftovers:
        size = sum(left.size for left in plan.leftovers)
        found.append(f"leftovers: {len(plan.leftovers)}, {bytes_text(size)}")
    said = "deleted" if done else "to delete"
    found.append(f"{said}: {bytes_text(plan.size)}" if plan.things else f"nothing {said}")
    if plan.others:
        number = count_text(len(plan.others), "entry contains", "entries contain")
        found.append(
            f"not deleted: {number} files that are not from the cache: "
            f"{', '.join(map(show_name, plan.others))}"
        )
    if plan.busy:
        found.append(
            f"not deleted: {count_text(len(plan.busy), 'entry', 'entries')} in use, or without "
            "permission to delete"
        )
    return found


def clearing_rows(plan: Clearing, *, done: bool) -> list[dict[str, Any]]:
    """A dict for each thing, with `kind`, `path`, `bytes` and whether it is `removed`."""
    rows: list[dict[str, Any]] = [
        {"kind": one.kind, "path": str(one.path), "bytes": one.size, "removed": done}
        for one in plan.things
    ]
    left = (*plan.busy, *plan.others)
    stay = [{"kind": None, "path": str(path), "bytes": 0, "removed": False} for path in left]
    return [*rows, *stay]


def _row(kind: str, what: str, size: int, path: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "what": what,
        "entries": 1,
        "bytes": size,
        "last_used": None,
        "paths": [path],
    }


def _caption(info: CacheInfo) -> str:
    bound = f"evaluation sets: up to {bytes_text(round(info.bound))} ({BOUND_VARIABLE})"
    return bound if info.lines else f"empty; {bound}"


def _numbers(line: CacheLine, now: float) -> Sequence[str]:
    copies = str(len(line.paths)) if line.kind == "evaluation" else ""
    return copies, bytes_text(line.size), _ago(now - line.used)


def _ago(seconds: float) -> str:
    """ "just now", "5 min ago", "3 h ago" or "12 days ago"."""
    if seconds < 60:
        return "just now"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min ago"
    if seconds < 2 * _DAY_SECONDS:
        return f"{seconds / 3600:.0f} h ago"
    return f"{seconds / _DAY_SECONDS:.0f} days ago"

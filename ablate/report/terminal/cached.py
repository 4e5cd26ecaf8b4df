"""The content of the cache, for a terminal and as plain data for `--json`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ablate.files.inventory import BOUND_VARIABLE, KINDS
from ablate.files.shown import bytes_text, show_name
from ablate.report.numbers import count_text
from ablate.report.tables import Table, texts

if TYPE_CHECKING:
    from ablate.files.cache_contents import CacheInfo, Clearing

_DAY_SECONDS = 86400.0


def cache_table(info: CacheInfo) -> Table:
    """Kind by kind with totals; "copies" are an evaluation set's corruptions x severities."""
    rows: list[tuple[str, ...]] = []
    for kind in KINDS:
        lines = [line for line in info.lines if line.kind == kind]
        for line in lines:
            copies = str(len(line.paths)) if kind == "evaluation" else ""
            used = _ago(info.now - line.used)
            rows.append((kind, line.what, copies, bytes_text(line.size), used))
        if len(lines) > 1:
            total = bytes_text(sum(line.size for line in lines))
            rows.append(("", f"{len(lines)} in total", "", total, ""))
    if info.fetched:
        what = "torchvision/, not deleted by clear"
        rows.append(("downloads", what, "", bytes_text(info.fetched), ""))
    if info.leftovers:
        size = bytes_text(sum(left.size for left in info.leftovers))
        rows.append(("leftovers", "of killed processes", "", size, ""))
    bound = f"evaluation sets: up to {bytes_text(round(info.bound))} ({BOUND_VARIABLE})"
    names = ("kind", "what", "copies", "size", "last used")
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    return Table(
        columns=tuple(
            texts(name, name, column, folds=24 * (name == "what"))
            for name, column in zip(names, columns, strict=True)
        ),
        name="cache",
        title=f"{info.folder}: {bytes_text(info.size)}",
        notes=(bound if info.lines else f"empty; {bound}",),
    )


def cache_rows(info: CacheInfo) -> list[dict[str, Any]]:
    """A dict a line, with `kind`, `what`, `entries`, `bytes`, `last_used` and `paths`."""

    def row(kind: str, what: str, size: int, used: str | None, *paths: str) -> dict[str, Any]:
        count = {"entries": len(paths), "bytes": size, "last_used": used}
        return {"kind": kind, "what": what, **count, "paths": list(paths)}

    rows = []
    for line in info.lines:
        used = datetime.fromtimestamp(line.used, UTC).isoformat(timespec="seconds")
        rows.append(row(line.kind, line.what, line.size, used, *map(str, line.paths)))
    if info.fetched:
        place = str(info.folder / "torchvision")
        rows.append(row("fetched", "data sets that were downloaded", info.fetched, None, place))
    for left in info.leftovers:
        what = f"of a killed process ({left.kind})"
        rows.append(row("left over", what, left.size, None, str(left.path)))
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
            size = bytes_text(sum(entry.size for entry in entries))
            found.append(f"{kind}: {count_text(len(entries), 'entry', 'entries')}, {size}")
    if plan.leftovers:
        size = bytes_text(sum(left.size for left in plan.leftovers))
        found.append(f"leftovers: {len(plan.leftovers)}, {size}")
    said = "deleted" if done else "to delete"
    found.append(f"{said}: {bytes_text(plan.size)}" if plan.things else f"nothing {said}")
    if plan.others:
        number = count_text(len(plan.others), "entry contains", "entries contain")
        names = ", ".join(map(show_name, plan.others))
        found.append(f"not deleted: {number} files that are not from the cache: {names}")
    if plan.busy:
        number = count_text(len(plan.busy), "entry", "entries")
        found.append(f"not deleted: {number} in use, or without permission to delete")
    return found


def clearing_rows(plan: Clearing, *, done: bool) -> list[dict[str, Any]]:
    """A dict for each thing, with `kind`, `path`, `bytes` and whether it is `removed`."""
    things = ((one.kind, one.path, one.size, done) for one in plan.things)
    left = ((None, path, 0, False) for path in (*plan.busy, *plan.others))
    return [
        {"kind": kind, "path": str(path), "bytes": size, "removed": removed}
        for kind, path, size, removed in (*things, *left)
    ]


def _ago(seconds: float) -> str:
    """ "just now", "5 min ago", "3 h ago" or "12 days ago"."""
    if seconds < 60:
        return "just now"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min ago"
    if seconds < 2 * _DAY_SECONDS:
        return f"{seconds / 3600:.0f} h ago"
    return f"{seconds / _DAY_SECONDS:.0f} days ago"

"""`ablate cache`: what the cache holds, how large it is, and its removal."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from ablate.cli.options import json_option, option
from ablate.cli.show import print_result

if TYPE_CHECKING:
    from ablate.files.cache import Entry
    from ablate.report.tables import Table

_UNUSED_DAYS = 30


@click.command()
@option(
    "--remove which",
    f"Remove what was not used for {_UNUSED_DAYS} days, or all, and list it.",
    ["unused", "all"],
)
@json_option
def cache(which: str | None, as_json: bool) -> None:
    """List what the cache holds: evaluation sets, data, scans of folders, baselines.

    Its folder is $ABLATE_CACHE, else $XDG_CACHE_HOME/ablate, else ~/.cache/ablate.
    ABLATE_CACHE_GB limits the size of the evaluation sets (default: 50); the least recently used
    are removed first.  All of it is made again when it is needed.  What a process is making is not
    removed, nor are downloaded data sets (torchvision/) and names of networks' layers (networks/,
    some kB).  A running study needs its baseline: use --remove all only when none is running.
    """
    from ablate.files.cache import KINDS, cache_folder, list_cache, remove

    entries = [entry for kind in KINDS for entry in list_cache(cache_folder(), kind)]
    before = time.time() - _UNUSED_DAYS * 86400 * (which == "unused")
    if which is not None:
        entries = [entry for entry in entries if entry.is_left or entry.used <= before]
        entries = [entry for entry in entries if remove(entry)]
    if not as_json:
        print_result(_table(entries, "removed from " if which else ""))
        return
    print_result(
        [
            {
                "kind": entry.kind,
                "path": str(entry.path),
                "bytes": entry.size,
                "last_used": datetime.fromtimestamp(entry.used, UTC).isoformat(timespec="seconds"),
                "left": entry.is_left,
                "removed": which is not None,
            }
            for entry in entries
        ]
    )


def _table(entries: list[Entry], verb: str) -> Table:
    """A line a kind; last what killed processes left."""
    from ablate.files.cache import cache_folder, evaluation_bound, size_of
    from ablate.files.shown import bytes_text
    from ablate.report.tables import Table, text_column

    kinds: dict[str, list[Entry]] = {}
    for entry in sorted(entries, key=lambda entry: entry.is_left):
        kind = "left by killed processes" if entry.is_left else entry.kind
        kinds.setdefault(kind, []).append(entry)
    lines = []
    for kind, own in kinds.items():
        used = datetime.fromtimestamp(max(entry.used for entry in own))
        size = bytes_text(sum(entry.size for entry in own))
        lines.append((kind, str(len(own)), size, f"{used:%Y-%m-%d %H:%M}"))
    downloads = cache_folder() / "torchvision"
    if not verb and downloads.is_dir():
        lines.append(("downloaded data sets", "", bytes_text(size_of(downloads)), ""))
    names = ("kind", "entries", "size", "last used")
    columns = (tuple(line[at] for line in lines) for at in range(len(names)))
    bound = bytes_text(round(evaluation_bound()))
    return Table(
        columns=tuple(text_column(*pair) for pair in zip(names, names, columns, strict=True)),
        name="cache",
        title=f"{verb}{cache_folder()}: {bytes_text(sum(entry.size for entry in entries))}",
        notes=(f"evaluation sets: at most {bound} (ABLATE_CACHE_GB)",),
    )


COMMANDS = (cache,)

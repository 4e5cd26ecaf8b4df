"""`ablate cache`: what the cache holds, and its removal."""

from __future__ import annotations

import sys
import time

import click

from ablate.cli.options import json_option
from ablate.cli.show import print_result


@click.group()
def cache() -> None:
    """List or clear the cache of data, scans, baselines and evaluation sets.

    Its folder is $ABLATE_CACHE, else $XDG_CACHE_HOME/ablate, else ~/.cache/ablate.
    ABLATE_CACHE_GB limits the size of the evaluation sets (default: 50); the least recently used
    are deleted first.
    """


@cache.command("list")
@json_option
def list_cache(as_json: bool) -> None:
    """List the contents of the cache, with size and time of last use."""
    from ablate.files.cache import cache_folder
    from ablate.files.cache_contents import cache_info
    from ablate.report.terminal.cached import cache_rows, cache_table

    info = cache_info(cache_folder(), time.time())
    print_result(cache_rows(info) if as_json else cache_table(info))


@cache.command("clear")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(["evaluation", "data", "scan", "baseline", "all"]),
    help="Only this kind.  May be repeated.  Default: all.",
)
@click.option(
    "--older-than",
    "days",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="DAYS",
    help="Only entries that were not used in the last DAYS days.",
)
@click.option("--dry-run", is_flag=True, help="List what would be deleted, without deleting.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
def clear_cache(
    kinds: tuple[str, ...], days: float, *, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Delete cached files that can be recomputed.

    Also deletes files left by killed processes.
    Not deleted: entries that another process is writing, entries that contain other files, and
    downloaded data sets. A running study needs its baseline: clear baselines only when no study
    is running.
    """
    from ablate.errors import UsageError
    from ablate.files import cache_contents as cached
    from ablate.files.cache import cache_folder
    from ablate.files.inventory import KINDS
    from ablate.report.terminal.cached import clearing_lines, clearing_rows

    def show(clearing: cached.Clearing, *, done: bool) -> None:
        if as_json:
            print_result(clearing_rows(clearing, done=done))
        else:
            click.echo("\n".join([str(folder), *clearing_lines(clearing, done=done)]))

    folder = cache_folder()
    chosen = [kind for kind in KINDS if not kinds or "all" in kinds or kind in kinds]
    plan = cached.plan_clearing(folder, chosen, time.time(), days)
    if dry_run or not plan.things:
        show(plan, done=False)
        return
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(
                "ablate cache clear: must be confirmed, got no terminal to ask on. "
                "Add --yes, or --dry-run to list only."
            )
        # On standard error, as with --json standard output is for the JSON alone.
        said = "\n".join([str(folder), *clearing_lines(plan, done=False)])
        click.confirm(f"{said}\nDelete them?", abort=True, err=True)
    show(cached.clear(plan), done=True)


COMMANDS = (cache,)

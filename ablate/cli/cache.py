"""Commands on the cache: what it holds, and letting it go."""

from __future__ import annotations

import sys
import time

import click

from ablate.cli.options import json_option
from ablate.cli.show import print_result


@click.group()
def cache() -> None:
    """The cache of data, baselines and evaluation sets: list it, clear it.

    It is $ABLATE_CACHE, else $XDG_CACHE_HOME/ablate, else ~/.cache/ablate. ABLATE_CACHE_GB bounds
    its evaluation sets (50): the least recently used make room for new ones.
    """


@cache.command("list")
@json_option
def list_cache(as_json: bool) -> None:
    """What the cache holds, how large it is and when it was last used."""
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
    type=click.Choice(["evaluation", "data", "baseline", "all"]),
    help="Only these; may be repeated.  Without it: all.",
)
@click.option(
    "--older-than",
    "days",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="DAYS",
    help="Only what was not used for so many days.",
)
@click.option("--dry-run", is_flag=True, help="Say what would go; remove nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def clear_cache(
    kinds: tuple[str, ...], days: float, *, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Remove what can be made again, and what killed processes left.

    What another process is making stays, as do entries that hold anybody's other files, and data
    sets that were downloaded. A study that is running needs its baseline: clear baselines when
    none is.
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
                "Add --yes; --dry-run only looks."
            )
        # On standard error, as with --json standard output is for the JSON alone.
        said = "\n".join([str(folder), *clearing_lines(plan, done=False)])
        click.confirm(f"{said}\nRemove them?", abort=True, err=True)
    show(cached.clear(plan), done=True)


COMMANDS = (cache,)

"""Arguments and options that many commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


def study_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.argument("study", metavar="STUDY")(function)


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")(
        function
    )

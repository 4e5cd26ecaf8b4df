"""The command line as a test runs it: in this process, or in one of its own."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Any

COMMAND = (sys.executable, "-m", "ablate")
"""The command line in a process of its own; its arguments follow."""


def run_here(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A command in this process: what it prints and ends with, without the start of Python.

    What it raises beyond its exit is raised here: a process would have ended with a traceback.
    """
    from click.testing import CliRunner

    from ablate.cli.main import main

    texts = list(map(str, arguments))
    hook = sys.excepthook  # the command line puts its own in place
    try:
        with contextlib.chdir(cwd or Path.cwd()):
            result = CliRunner().invoke(main, texts, prog_name="ablate")
    finally:
        sys.excepthook = hook
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return subprocess.CompletedProcess(texts, result.exit_code, result.stdout, result.stderr)


def run_alone(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, whose end is waited for."""
    given = {"capture_output": True, "text": True, "timeout": 240, **options}
    return subprocess.run([*COMMAND, *map(str, arguments)], check=False, **given)

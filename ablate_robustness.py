"""Start of the command line, and the check for another package `ablate` in the environment.

PyPI's `ablate` is another tool with the same import name: pip writes both into one folder, where
the later one replaces `__init__.py`, and uninstalling either removes that file.  So this stands
outside the folder `ablate`, under a name that no other distribution uses.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path

_REINSTALL = "pip install --force-reinstall --no-deps ablate-robustness"


def another_ablate(folders: Iterable[str] | None = None) -> str | None:
    """Say which other package `ablate` is installed and how to remove it; None without one.

    Args:
        folders: those that hold packages; those of `sys.path` if None.
    """
    path = sys.path if folders is None else list(folders)
    for found in distributions(name="ablate", path=path):
        # The former name of this distribution was `ablate` too.
        if "ablate.cli.main" not in (found.read_text("entry_points.txt") or ""):
            folder = Path(str(found.locate_file("ablate")))
            # An editable install lost no file to it.
            is_mixed = folder.parent == Path(__file__).parent
            fix = "pip uninstall -y ablate" + f" && {_REINSTALL}" * is_mixed
            return (
                f"{folder}: must not be installed beside ablate-robustness, got ablate "
                f"{found.version}, which is another package of the same name. Run `{fix}`, and use "
                "an environment for each."
            )
    return None


def main() -> None:
    """Run the command line, or say in one line what replaced it."""
    found = find_spec("ablate")
    file = found.origin if found is not None else None
    if file is None or "ablate-robustness" not in Path(file).read_text(encoding="utf-8"):
        folder = Path(__file__).parent / "ablate"
        missing = f"{folder}: must hold ablate-robustness, got no __init__.py. Run `{_REINSTALL}`."
        print(f"ablate: {another_ablate() or missing}", file=sys.stderr or sys.stdout)
        sys.exit(2)
    from ablate.cli.main import main as run_command

    run_command()

"""Outputs that name no file: refused as options are read, before any work."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from ablate.cli.main import main


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("report runs/x", "-o"),
        ("archive runs/x", "-o"),
        ("table runs/x", "-o"),
        ("export runs/x 0 --format onnx", "-o"),
        ("evaluate weights.safetensors", "-o"),
        ("evaluate weights.safetensors", "--csv"),
        ("corrupt image.png", "--sheet"),
    ],
)
@pytest.mark.parametrize("output", ["", ".", "/", ".."])
def test_an_output_names_a_file(command: str, option: str, output: str) -> None:
    result = CliRunner().invoke(main, [*command.split(), option, output])
    assert result.exit_code == 2
    name = {"-o": "--output"}.get(option, option)
    assert result.stderr == f"ablate: {name}: must name a file, got {output!r}. Give its name.\n"


def test_figures_are_written_somewhere() -> None:
    result = CliRunner().invoke(main, ["plot", "runs/x", "-o", ""])
    assert result.exit_code == 2
    assert result.stderr == "ablate: --output: must name a file, got ''. Give its name.\n"

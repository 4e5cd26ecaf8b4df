"""Options of several values between commas that have none."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from ablate.cli.main import main


@pytest.mark.parametrize(
    ("command", "option", "wanted"),
    [
        ("confirm runs/x", "--trials", "whole numbers"),
        ("confirm runs/x", "--severities", "whole numbers"),
        ("evaluate weights.safetensors", "--severities", "whole numbers"),
        ("evaluate weights.safetensors", "--mean", "numbers"),
        ("corrupt images copies", "--severities", "whole numbers"),
        ("plot runs/x", "--trials", "whole numbers"),
        ("plot runs/x", "--params", "names"),
    ],
)
@pytest.mark.parametrize("value", [",", "", " , "])
def test_an_empty_list_is_refused(command: str, option: str, wanted: str, value: str) -> None:
    result = CliRunner().invoke(main, [*command.split(), option, value])
    assert result.exit_code == 2
    rule = f"must be {wanted} separated by commas, got none. Leave it out, or name one."
    assert result.stderr == f"ablate: {option}: {rule}\n"


def test_a_network_may_have_seen_nothing() -> None:
    result = CliRunner().invoke(main, ["evaluate", "no_such_file.safetensors", "--seen", ""])
    assert "--seen" not in result.stderr

"""Options that name nothing: refused as they are read, before any work."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import ablate
from ablate.cli.main import main
from ablate.cli.options import in_options


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("report runs/x", "-o"),
        ("evaluate weights.safetensors", "--csv"),
    ],
)
@pytest.mark.parametrize("output", ["", ".."])
def test_an_output_names_a_file(command: str, option: str, output: str) -> None:
    result = CliRunner().invoke(main, [*command.split(), option, output])
    assert result.exit_code == 2
    name = {"-o": "--output"}.get(option, option)
    assert result.stderr == f"ablate: {name}: must name a file, got {output!r}. Give its name.\n"


def test_an_output_has_a_name_that_file_systems_take() -> None:
    result = CliRunner().invoke(main, ["plot", "runs/x", "-o", f"{'a' * 300}.html"])
    assert result.exit_code == 2
    rule = "must be a name of at most 200 bytes, got 305. Shorten it."
    assert result.stderr == f"ablate: --output: {rule}\n"


@pytest.mark.parametrize("command", ["status #{}", "init quickstart {}", "corrupt {} copies"])
def test_a_name_that_is_too_long_is_one_line(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ABLATE_STORAGE", "sqlite:///study.db")
    result = CliRunner().invoke(main, command.format("a" * 300).split())
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("ablate: ")


@pytest.mark.parametrize(
    ("command", "option", "wanted"),
    [
        ("confirm runs/x", "--trials", "whole numbers"),
        ("evaluate weights.safetensors", "--mean", "numbers"),
        ("plot runs/x", "--params", "names"),
    ],
)
@pytest.mark.parametrize("value", ["", " , "])
def test_an_empty_list_is_refused(command: str, option: str, wanted: str, value: str) -> None:
    result = CliRunner().invoke(main, [*command.split(), option, value])
    assert result.exit_code == 2
    rule = f"must be {wanted} separated by commas, got none. Leave it out, or name one."
    assert result.stderr == f"ablate: {option}: {rule}\n"


def test_a_network_may_have_seen_nothing() -> None:
    result = CliRunner().invoke(main, ["evaluate", "no_such_file.safetensors", "--seen", ""])
    assert "--seen" not in result.stderr


def test_messages_name_parameters_as_options() -> None:
    command = main.commands["export"]
    with click.Context(main) as root, click.Context(command, parent=root):
        root.invoked_subcommand = "export"
        assert in_options("`kind`: must be one, got 2.") == "--format: must be one, got 2."
        assert in_options("Give `alpha=0.5` or `takeover=True`, `unknown`.") == (
            "Give --alpha 0.5 or --takeover, `unknown`."
        )
        assert in_options("`mean=(0.5, 0.4)` `pick='trial 3'` `pick='knee'` `study`") == (
            "--mean 0.5,0.4 --pick 'trial 3' --pick knee STUDY"
        )
        assert in_options("run `ablate resume`") == "run `ablate resume`"


def test_only_the_command_line_spells_options() -> None:
    """Messages of all other packages name parameters."""
    package = Path(ablate.__file__).parent
    for file in package.rglob("*.py"):
        if file.parent.name != "cli":
            assert not re.search(r'"--[a-z-]+( \{[^}]*\})?: ', file.read_text()), file


def test_settings_of_a_tracker_that_are_no_yaml_have_their_place() -> None:
    result = CliRunner().invoke(main, ["track", "runs/x", "--tracker", "a: ["])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.startswith("ablate: --tracker:1:5: invalid YAML: ")

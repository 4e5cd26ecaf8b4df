"""The studies that come with ablate, by name, and the files and paths of a study that is written.

In a checkout they are the files of `studies/`, which name spaces in `search_spaces/`.  A wheel has
both folders in `ablate/shipped/`, without the pictures.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ablate.errors import UsageError, did_you_mean
from ablate.files.durable import is_uri
from ablate.study.settings import Study, path_from
from ablate.study.yaml_source import parse_yaml

_PACKAGE = Path(__file__).parents[1]
PATHS = (
    "dataset.path",
    "dataset.validation.path",
    "dataset.unlabeled",
    "robustness.frost_images",
    "run.checkpoints",
    "baseline.checkpoint",
    "baseline.backbone",
)
"""Keys of a study file whose relative paths start at its folder."""


def shipped_studies() -> dict[str, Path]:
    """Name -> study file, sorted by name."""
    wheel = _PACKAGE / "shipped" / "studies"
    folder = wheel if wheel.is_dir() else _PACKAGE.parent / "studies"
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def question_of(file: Path) -> str:
    """The question of a shipped study file."""
    question = re.search(r"^question: (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return question[1] if question else ""


def shipped_file(name: Path) -> Path | None:
    """The file of the shipped study that is meant; None if nothing or a path here is meant.

    Args:
        name: as the user named a study.

    Raises:
        UsageError: if a study file of that name is in the current folder: it may be meant too.
    """
    file = shipped_studies().get(str(name))
    if file is None or name.exists():
        return None
    own = name.with_suffix(".yaml")
    if own.exists():
        raise UsageError(
            f"{name}: must name one study, got a shipped one and the file {own}. Write {own}, or "
            "run the shipped one in another folder."
        )
    return file


def paths_from_here(overrides: Iterable[str]) -> list[str]:
    """Overrides of a shipped study, whose paths the user wrote as seen from the current folder."""
    moved = []
    for override in overrides:
        key, _, text = (part.strip() for part in override.partition("="))
        path: Any = parse_yaml(text, "").data if key in PATHS else None
        is_path = isinstance(path, str) and not is_uri(path)
        if is_path and key.startswith("baseline."):
            is_path = Path(path).is_file()  # else they are published weights
        here = f"{key}={json.dumps(str(path_from(Path.cwd(), path)))}" if is_path else override
        moved.append(here)
    return moved


def moved_paths(study: Study, base: Path, folder: Path) -> dict[str, Any]:
    """A study as written, with its paths as a file in another folder has them.

    Args:
        base: the folder that they start from now.

    Raises:
        UsageError: if it imports a module that is beside its own file.
    """
    for name in (study.dataset.name, study.model.name, study.baseline.backbone or ""):
        module = base / f"{name.partition(':')[0].partition('.')[0]}.py"
        if ":" in name and module.exists() and base.resolve() != folder.resolve():
            raise UsageError(
                f"FOLDER: must be the folder of {module.name}, which the study imports, got "
                f"{folder}. Name {base}."
            )
    data = study.written()
    for key in PATHS:
        *above, last = key.split(".")
        node: Any = data
        for part in above:
            node = node.get(part, {})
        path = node.get(last)
        if isinstance(path, str) and not is_uri(path) and path_from(base, path).exists():
            node[last] = relative_to(path_from(base, path), folder)
    return data


def relative_to(path: Path, folder: Path) -> str:
    """A path as a study file in a folder writes it: relative where it is in or beside that."""
    written = os.path.relpath(path, folder)
    return str(path) if Path(written).parts[:2] == ("..", "..") else written


def write_shipped(name: str, folder: Path) -> tuple[Path, ...]:
    """Write a shipped study and its space into a folder, to be edited.

    The study is FOLDER/NAME.yaml; its paths lead to FOLDER instead of the folder above it.

    Args:
        folder: made if it does not exist.

    Returns:
        The files: the study, then the space file, if it names one.

    Raises:
        UsageError: if no shipped study has that name, a file exists, or the folder cannot be
            written.  Nothing is overwritten.
    """
    known = shipped_studies()
    if name not in known:
        raise UsageError(
            f"{name}: must be a shipped study, got another name. {did_you_mean(name, list(known))}"
        )
    source = known[name]
    text = source.read_text(encoding="utf-8").replace("../", "").replace("studies/", "")
    contents = {folder / f"{name}.yaml": text}
    for space in re.findall(r"^space: (search_spaces/\S+)$", text, re.MULTILINE):
        contents[folder / space] = (source.parents[1] / space).read_text(encoding="utf-8")
    write_new(folder, contents)
    return tuple(contents)


def write_new(folder: Path, contents: Mapping[Path, str]) -> None:
    """Write a study, and the files that it names, into a folder, which is made if it is not there.

    Args:
        contents: by file, in the folder or below it; those below may be there already, the same.

    Raises:
        UsageError: if a file exists, or the folder cannot be written.  Nothing is overwritten.
    """
    try:
        for file, content in contents.items():
            is_shared = file.parent != folder  # by studies that were written here before
            if file.exists() and not (is_shared and file.read_bytes() == content.encode()):
                raise UsageError(
                    f"{file}: must not exist, got a file. Name another FOLDER, or move the file."
                )
        for file, content in contents.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, encoding="utf-8")
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"{folder}: must be a folder, got a file. Name another FOLDER.") from None
    except OSError as error:
        raise UsageError(
            f"{folder}: must be writable, got: {error.strerror}. Name another FOLDER."
        ) from error

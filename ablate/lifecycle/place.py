"""Finds a study from a file, a run folder or a storage URL."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.errors import (
    LONGEST,
    DataError,
    Problem,
    StudyFileError,
    StudyNotFoundError,
    UsageError,
    unencodable,
)
from ablate.errors.masking import MASK, has_secret, keep_secret, masked
from ablate.files.regular import MOST_TEXT_BYTES, read_regular
from ablate.files.tar import ARCHIVE
from ablate.ledger.storage import check_backend, fill_variables, parse_url, sqlite_file, sqlite_url
from ablate.lifecycle.known_names import names_for
from ablate.lifecycle.python_study import parse_data
from ablate.lifecycle.shipped import paths_from_here, shipped_file
from ablate.lifecycle.study_file import kept_data, kept_text, read_study
from ablate.model.weights.export_metadata import SHIPPED
from ablate.study.settings import Study

if TYPE_CHECKING:
    from ablate.lifecycle.archive import ArchiveFiles

_FOLDER_FILE = "run.json"
_STORAGE_VARIABLE = "${ABLATE_STORAGE}"
_IS_URL = re.compile(r"[\w+.-]+://")

StudyReference = str | Path | Study | Mapping[str, Any]
"""How Python names a study: a study file or the name of one that comes with ablate, a run folder,
`URL#NAME`, `#NAME` with ABLATE_STORAGE, an archive (`FILE.tar`; `FILE.tar/confirm`: the
confirmation in it), an `ablate.Study`, or a dict of the same keys."""


@dataclass(frozen=True)
class Place:
    """The place of a study.

    Attributes:
        name: of the study.
        url: of the storage, variables filled in; never show it, show `shown` instead.
        folder: absolute run folder for storage, checkpoints, weights and figures.
        given: the storage as written, variables not filled in; None: the default in the run folder.
        file: the study file, if the user named one.
        study: its content, or the study that Python gave.
        archive: the file, if the study was read from an archive; it can only be read.
    """

    name: str
    url: str = field(repr=False)
    folder: Path
    given: str | None = field(default=None, repr=False)
    file: Path | None = None
    study: Study | None = None
    archive: Path | None = None

    @property
    def shown(self) -> str:
        return masked(self.url) if self.archive is None else str(self.archive)

    @property
    def base(self) -> Path:
        """Absolute folder for relative paths of `study`."""
        return Path.cwd() if self.file is None else self.file.absolute().parent

    @property
    def text(self) -> str:
        """The text of `study` as the ledger keeps it."""
        assert self.study is not None
        return kept_data(self.study.written()) if self.file is None else kept_text(self.file)

    @property
    def confirmation(self) -> Place:
        """The place of this search's confirmation: in the same storage, below the run's folder."""
        return self.part("confirm")

    def replicate(self, number: int) -> Place:
        """The place of one replicate of this ablation, from 0."""
        return self.part(f"r{number}")

    def part(self, label: str, folder: str = "") -> Place:
        """The place of a study that belongs to this one: in the same storage, below its folder.

        Args:
            folder: where below it, if not at `label`.
        """
        below = self.folder / (folder or label)
        return Place(f"{self.name}~{label}", self.url, below, self.given, archive=self.archive)

    def make_folder(self) -> None:
        """Create the run folder, with a note of the storage for later commands.

        Values of environment variables are not in it, nor is a password.

        Raises:
            DataError: if it cannot be written.
        """
        storage: str | None = self.given or self.url
        if self.url == sqlite_url(self.folder / "study.db"):
            storage = None
        elif sqlite_file(self.url) is not None:
            storage = self.url
        elif self.given is not None and has_secret(self.given):
            storage = masked(self.given)
        file = self.folder / _FOLDER_FILE
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if self.study is not None or not file.exists():
                file.write_text(json.dumps({"name": self.name, "storage": storage}) + "\n")
        except OSError as error:
            raise DataError(
                f"{self.folder}: the run's folder must be writable, got: {error.strerror}. Run the "
                "command in another folder, or change its permissions."
            ) from error


def shown_folder(folder: Path) -> str:
    """A run folder, or a file, as a user would type it in a shell."""
    try:
        return shlex.quote(os.path.relpath(folder))
    except FileNotFoundError:  # the current folder was deleted
        return shlex.quote(str(folder))


# -- A study that is to be launched --------------------------------------------------------------


def place_of(
    study: StudyReference, overrides: Sequence[str] = (), *, must_search: bool = False
) -> Place:
    """The place of a study that is to be launched, from its file, a dict or an `ablate.Study`.

    Args:
        overrides: `key=value` each, as from `--set`.
        must_search: reject a search without a searched parameter; such a study can be read, but
            not started.

    Raises:
        StudyFileError: if the study is invalid; with all problems.
    """
    if isinstance(study, str | Path):
        return place_of_file(Path(study), overrides, must_search=must_search)
    data = study.written() if isinstance(study, Study) else study
    return _place_of_study(parse_data(data, overrides, must_search=must_search))


def place_of_file(file: Path, overrides: Sequence[str] = (), *, must_search: bool = False) -> Place:
    """As `place_of`, of a study file, or the name of a study that comes with ablate."""
    if (shipped := shipped_file(file)) is not None:
        file, overrides = shipped, paths_from_here(overrides)
    names = partial(names_for, base=file.parent)
    study = read_study(file, overrides, names=names, must_search=must_search)
    return _place_of_study(study, file)


def _place_of_study(study: Study, file: Path | None = None) -> Place:
    storage = study.storage or (_STORAGE_VARIABLE if "ABLATE_STORAGE" in os.environ else None)
    place = _place(study.name, storage, _run_folder(study.name), file, study)
    check_backend(place.url)
    return place


def check_weights(study: Study, file: Path | None, base: Path, classes: int | None = None) -> None:
    """Refuse to start from weights that do not fit, or that leave open how their images were
    normalised.

    Args:
        classes: of the data; None: as its name or its folders tell.

    Raises:
        StudyFileError: if the study does not state it either.
        DataError: if the weights are missing, damaged, or of another network or other classes.
    """
    weights = study.baseline.checkpoint or study.baseline.backbone
    if weights is None or weights in SHIPPED or study.trainable is not None:
        return
    from ablate.model.weights.preprocessing import weights_rules  # which loads torch

    for key, rule in weights_rules(study, base, classes):
        raise StudyFileError([Problem(str(file or ""), 0, 0, f"{key}: {rule}")])


# -- A study that is named -----------------------------------------------------------------------


def locate(study: StudyReference) -> Place:
    """Find the place of a study from the user's reference.

    Raises:
        UsageError: if it is none.
        StudyFileError: if it is an invalid study or study file.
    """
    if not isinstance(study, str | Path):
        return place_of(study)
    reference, path = str(study), Path(study)
    if _IS_URL.match(reference) is not None:
        keep_secret(reference)
        return _place_of_url(reference)
    if _is(Path.is_dir, path):
        return place_of_folder(path)
    archives = (above for above in (path, *path.parents) if above.suffix == ARCHIVE)
    archive = next((file for file in archives if _is(Path.is_file, file)), None)
    if archive is not None:
        from ablate.lifecycle.archive import read_archive  # which loads optuna

        first = place_of_archive(read_archive(archive))
        return first if archive == path else first.part(path.relative_to(archive).as_posix())
    is_file = _is(Path.is_file, path) or path.suffix in (".yaml", ".yml")
    if is_file or ("#" not in reference and shipped_file(path) is not None):
        return place_of_file(path)
    if "#" in reference:
        return _place_of_url(reference)
    raise UsageError(
        f"{reference}: must be a study file, a run folder or URL#NAME, not recognised. "
        f"{_nearest_study(path)}"
    )


def _place_of_url(reference: str) -> Place:
    """The place of `URL#NAME`, or of `#NAME` with ABLATE_STORAGE."""
    url, separator, name = reference.rpartition("#")
    if not separator:
        raise UsageError(
            f"{reference}: must be URL#NAME, got no name of a study. Add #NAME; in a password "
            "write @ as %40, / as %2F, : as %3A and # as %23."
        )
    if "://" in reference and "@" in name and "@" not in url:
        raise UsageError(
            "storage URL: must have no # before its @, got one. In a password write # as %23; "
            "the last # separates the study's name."
        )
    if not url and "ABLATE_STORAGE" not in os.environ:
        raise UsageError(
            f"{reference}: needs ABLATE_STORAGE in the environment, got nothing. "
            "export ABLATE_STORAGE=URL, or write URL#NAME."
        )
    return _place(name, url or _STORAGE_VARIABLE, _run_folder(name))


def place_of_archive(archive: ArchiveFiles) -> Place:
    """The place of an archive's first study: a storage of its own, which goes with this process.

    Raises:
        UsageError: if its rows are not those of a study.
    """
    from ablate.lifecycle.archive import stored_archive

    url, name = stored_archive(archive)
    return Place(name, url, archive.path.absolute().with_suffix(""), archive=archive.path)


def place_of_folder(folder: Path) -> Place:
    """The place of the study that a run folder names.

    Raises:
        StudyNotFoundError: if it names none.
        UsageError: if its storage cannot be told: a variable that is not set, a password.
    """
    note = folder / _FOLDER_FILE
    if not note.is_file():
        raise StudyNotFoundError(
            f"{folder}: must be a run folder, got one without {_FOLDER_FILE}. "
            "Name runs/NAME, a study file, or URL#NAME."
        )
    try:
        data = json.loads(read_regular(note, MOST_TEXT_BYTES))
        name, storage = data["name"], data["storage"]
        if not (isinstance(name, str) and isinstance(storage, str | None)):
            raise TypeError("both are text")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise StudyNotFoundError(
            f"{note}: must contain name and storage of the study, got something else. "
            "Name the study file or URL#NAME instead."
        ) from error
    if storage is not None and MASK in storage:
        raise UsageError(
            f"{folder}: the run folder must contain the full storage URL, got {storage}: a "
            "password in the study file is not stored. Name the study file, or URL#NAME. (With "
            f"${{PGPASSWORD}} for the password in the study file, the run folder works too.)"
        )
    return _place(name, storage, folder.absolute(), in_folder=folder)


def _run_folder(name: str) -> Path:
    return Path.cwd() / "runs" / name


def _is(kind: Callable[[Path], bool], path: Path) -> bool:
    """Whether a path exists; False for invalid names."""
    try:
        return kind(path)
    except (OSError, ValueError):
        return False


def _nearest_study(path: Path) -> str:
    """The suggested fix if there is no study at a path: a nearby run folder or study file with the
    same or a similar name."""
    nearby: dict[str, Path] = {}
    for folder in (path.parent, Path(), Path("runs"), Path("studies"), Path("../runs")):
        with suppress(OSError, ValueError):  # no such folder, or not to be read
            for file in sorted(folder.iterdir()):
                if file.suffix in (".yaml", ".yml") or _is(Path.is_file, file / _FOLDER_FILE):
                    nearby.setdefault(file.stem, file)
    near = get_close_matches(path.stem[:LONGEST], nearby, n=1)
    return f"Did you mean {nearby[near[0]]}?" if near else "Check the path."


def _place(
    name: str,
    storage: str | None,
    folder: Path,
    file: Path | None = None,
    study: Study | None = None,
    *,
    in_folder: Path | None = None,
) -> Place:
    """The place for a storage as written; None: the default in the run folder.

    Args:
        in_folder: the run folder that it is written in.

    Raises:
        UsageError: if a path is not UTF-8, which no ledger, page or URL takes; if the storage is
            not kept.
    """
    for path in (folder, file):
        try:
            str(path and path.absolute()).encode()
        except UnicodeEncodeError as error:
            raise UsageError(unencodable(error)) from None
    if storage is None:
        return Place(name, sqlite_url(folder / "study.db"), folder, None, file, study)
    url = fill_variables(storage, in_folder=in_folder)
    if storage == _STORAGE_VARIABLE:  # which may name variables itself
        url = fill_variables(url)
    if parse_url(url).get_backend_name() == "sqlite":
        kept = sqlite_file(url)
        if kept is None:
            raise UsageError(
                "storage: must be kept after the command ends, got an SQLite database in memory. "
                "Write sqlite:///FILE."
            )
        url = sqlite_url(kept.absolute())
    return Place(name, url, folder, storage, file, study)

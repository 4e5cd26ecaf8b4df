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
from ablate.space.reach import nothing_searched
from ablate.space.space import Space
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

    def part(self, label: str, folder: str = "") -> Place:
        """The place of a study that belongs to this one: in the same storage, below its folder.

        Args:
            folder: where below it, if not at `label`.
        """
        below = self.folder / (folder or label)
        return Place(f"{self.name}~{label}", self.url, below, self.given, archive=self.archive)

    def make_folder(self) -> None:
        """Create the run folder, with a note of the storage.

        Raises:
            DataError: if it cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = self.folder / _FOLDER_FILE
            if self.study is not None or not self._is_noted():
                note = {"name": self.name, "storage": self._storage_note()}
                file.write_text(json.dumps(note) + "\n")
        except OSError as error:
            raise DataError(
                f"{self.folder}: the run's folder must be writable, got: {error.strerror}. Run the "
                "command in another folder, or change its permissions."
            ) from error

    def _is_noted(self) -> bool:
        """Whether the folder names an existing storage."""
        try:
            file = sqlite_file(place_of_folder(self.folder).url)
        except StudyNotFoundError:
            return False
        except UsageError:
            return True  # it names a variable that is not set here
        return file is None or file.exists()

    def _storage_note(self) -> str | None:
        """The storage for later commands, without values of environment variables."""
        if self.url == sqlite_url(self.folder / "study.db"):
            return None
        if sqlite_file(self.url) is not None or self.given is None:
            return self.url
        return masked(self.given) if has_secret(self.given) else self.given


def check_utf8(path: Path) -> None:
    """Refuse a path that cannot be stored in a ledger, page or URL.

    Raises:
        UsageError: if its bytes are not UTF-8.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise UsageError(unencodable(error)) from None


def shown_folder(folder: Path) -> str:
    """A run folder, or a file, as a user would type it in a shell."""
    try:
        return shlex.quote(os.path.relpath(folder))
    except FileNotFoundError:  # the current folder was deleted
        return shlex.quote(str(folder))


def run_folder(name: str) -> Path:
    """`runs/NAME` in the current folder."""
    return Path.cwd() / "runs" / name


def place_of_file(file: Path, overrides: Sequence[str] = (), *, must_search: bool = False) -> Place:
    """The place of a study file's study.

    Args:
        file: a path, or the name of a study that comes with ablate.
        must_search: reject a search without a searched parameter; such a study can be read, but
            not started.

    Raises:
        StudyFileError: if the file is invalid; with all problems.
    """
    if (shipped := shipped_file(file)) is not None:
        file, overrides = shipped, paths_from_here(overrides)
    names = partial(names_for, base=file.parent)
    study = read_study(file, overrides, names=names, must_search=must_search)
    return _place_of_study(study, file)


def place_of_data(
    data: Study | Mapping[str, Any], overrides: Sequence[str] = (), *, must_search: bool = False
) -> Place:
    """The place of a study that is given from Python; arguments, errors as `place_of_file`."""
    written = data.written() if isinstance(data, Study) else data
    return _place_of_study(parse_data(written, overrides, must_search=must_search))


def place_of(
    study: StudyReference, overrides: Sequence[str] = (), *, must_search: bool = False
) -> Place:
    """The place of a study that is to be launched, from its file, a dict or an `ablate.Study`.

    Arguments, errors as `place_of_file`.
    """
    if isinstance(study, str | Path):
        return place_of_file(Path(study), overrides, must_search=must_search)
    return place_of_data(study, overrides, must_search=must_search)


def _place_of_study(study: Study, file: Path | None = None) -> Place:
    given = _STORAGE_VARIABLE if "ABLATE_STORAGE" in os.environ else None
    place = _place(study.name, study.storage or given, run_folder(study.name), file, study)
    check_backend(place.url)
    return place


def check_something_searched(study: Study, file: Path | None, space: Space) -> None:
    """Refuse to start a search whose trials would all be equal.

    Raises:
        StudyFileError: if no parameter has two values, and there are several trials.
    """
    rule = nothing_searched(study, space)
    if rule is not None:
        raise StudyFileError([Problem(str(file or ""), 0, 0, f"space: {rule}")])


def check_normalization(study: Study, file: Path | None, base: Path) -> None:
    """Refuse to start from weights that leave open how their images were normalised.

    Raises:
        StudyFileError: if the study does not state it either.
        DataError: if the weights are missing or damaged.
    """
    if study.baseline.checkpoint is None or study.trainable is not None:
        return
    from ablate.model.weights.preprocessing import normalization_rule  # which loads torch

    rule = normalization_rule(study.model, study.baseline.checkpoint, base)
    if rule is not None:
        raise StudyFileError([Problem(str(file or ""), 0, 0, f"model.normalization: {rule}")])


def locate(study: StudyReference) -> Place:
    """Find the place of a study from the user's reference.

    Raises:
        UsageError: if it is none.
        StudyFileError: if it is an invalid study or study file.
    """
    if not isinstance(study, str | Path):
        return place_of_data(study)
    reference = str(study)
    is_url = _IS_URL.match(reference) is not None
    path = Path(reference)
    if not is_url and _is(Path.is_dir, path):
        return place_of_folder(path)
    archives = () if is_url else (one for one in (path, *path.parents) if one.suffix == ARCHIVE)
    archive = next((one for one in archives if _is(Path.is_file, one)), None)
    if archive is not None:
        from ablate.lifecycle.archive import read_archive  # which loads optuna

        kept = place_of_archive(read_archive(archive))
        return kept if archive == path else kept.part(path.relative_to(archive).as_posix())
    if not is_url and (_is(Path.is_file, path) or path.suffix in (".yaml", ".yml")):
        return place_of_file(path)
    if is_url:
        keep_secret(reference)
    if "#" in reference:
        url, _, name = reference.rpartition("#")
        if is_url and "@" in name and "@" not in url:
            raise UsageError(
                "storage URL: must have no # before its @, got one. In a password write # as %23; "
                "the last # separates the study's name."
            )
        if not url and "ABLATE_STORAGE" not in os.environ:
            raise UsageError(
                f"{reference}: needs ABLATE_STORAGE in the environment, got nothing. "
                "export ABLATE_STORAGE=URL, or write URL#NAME."
            )
        return _place(name, url or _STORAGE_VARIABLE, run_folder(name))
    if is_url:
        raise UsageError(
            f"{reference}: must be URL#NAME, got no name of a study. Add #NAME; in a password "
            "write @ as %40, / as %2F, : as %3A and # as %23."
        )
    if shipped_file(path) is not None:
        return place_of_file(path)
    raise UsageError(
        f"{reference}: must be a study file, a run folder or URL#NAME, not recognised. "
        f"{_nearest_study(path)}"
    )


def place_of_archive(archive: ArchiveFiles) -> Place:
    """The place of an archive's first study: a storage of its own, which goes with this process.

    Raises:
        UsageError: if its rows are not those of a study.
    """
    from ablate.lifecycle.archive import stored_archive

    url, name = stored_archive(archive)
    return Place(name, url, archive.path.absolute().with_suffix(""), archive=archive.path)


def _is(kind: Callable[[Path], bool], path: Path) -> bool:
    """Whether a path exists; False for invalid names."""
    try:
        return kind(path)
    except (OSError, ValueError):
        return False


def _nearest_study(path: Path) -> str:
    """The suggested fix if there is no study at a path: a nearby run folder or study file with the
    same or a similar name."""
    found: dict[str, Path] = {}
    for folder in (path.parent, Path(), Path("runs"), Path("studies"), Path("../runs")):
        with suppress(OSError, ValueError):  # no such folder, or not to be read
            for one in sorted(folder.iterdir()):
                if one.suffix in (".yaml", ".yml") or _is(Path.is_file, one / _FOLDER_FILE):
                    found.setdefault(one.stem, one)
    near = get_close_matches(path.stem[:LONGEST], found, n=1)
    return f"Did you mean {found[near[0]]}?" if near else "Check the path."


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
    """
    for path in (folder, file):
        if path is not None:
            check_utf8(path.absolute())
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

"""Reads a study file, and the space file that it names, into a frozen Study, and reports all
problems at once.

The space, the unused parameters, the metrics of the suite and the ablation are checked here too
(`ablate.space.parse`, `ablate.finetune.reads`, `ablate.robustness.suites`,
`ablate.ablation.design`), although study/ does not import those packages: all problems of a file
belong in one message.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ablate.ablation.design import check_ablation
from ablate.errors import DataError, Problem, StudyFileError, UsageError, did_you_mean
from ablate.errors.masking import keep_secrets_in, masked, masked_data
from ablate.files.regular import MOST_TEXT_BYTES, UnusualFileError, read_regular
from ablate.finetune.reads import check_inert
from ablate.lifecycle.shipped import shipped_studies
from ablate.model import has_batch_norm
from ablate.robustness.suites import objective_rules
from ablate.space.parse import check_space, parameter_paths
from ablate.space.reach import Doubts, check_reach, nothing_searched
from ablate.space.space import Space, check_enqueued
from ablate.study.callables import NotImportedError
from ablate.study.checks import candidates, check_study, no_batch_norm
from ablate.study.document import Document, dotted, show
from ablate.study.document import Path as DataPath
from ablate.study.keys import apply_overrides, is_searchable
from ablate.study.names import (
    KnownNames,
    NamesFor,
    OpenNames,
    check_names,
    refuse_failures,
)
from ablate.study.settings import Study, path_from
from ablate.study.translate import findings
from ablate.study.yaml_source import parse_yaml, without_key, write_yaml
from ablate.trackers import missing_packages

_LAYERS = "loss.fma.layers"
# Placeholders for missing or invalid required keys, so that the rest can be checked.
_PLACEHOLDERS: dict[str, Any] = {
    "version": 1,
    "name": "unnamed",
    "dataset": {"name": ""},
    "dataset.name": "",
    "model": {"name": ""},
    "model.name": "",
    "trainable": "unnamed:unnamed",
}


def kept_text(path: Path) -> str:
    """The text of a study file as stored in the ledger: a valid study file, without its storage.

    Comments are kept, except on the lines of `storage`; text that looks like a secret is masked.

    Raises:
        StudyFileError: as `study_text`.
    """
    text = study_text(path)
    kept = masked(without_key(text, "storage"))
    document = parse_yaml(kept, str(path))
    if not document.problems and isinstance(document.data, dict):
        return kept
    # Another value refers to the storage (`*anchor`), or is itself a secret.
    return kept_data(parse_yaml(text, str(path)).data)


def kept_data(data: Mapping[str, Any]) -> str:
    """As `kept_text`, for the data of a study."""
    left = {key: value for key, value in data.items() if key != "storage"}
    return write_yaml(masked_data(left))


def study_text(path: Path) -> str:
    """The text of a study file.

    Raises:
        StudyFileError: if there is no such file, it is no regular one or too large, or it cannot be
            read as UTF-8 text.
    """
    try:
        text = read_regular(path, MOST_TEXT_BYTES).decode("utf-8-sig")
        keep_secrets_in(text.split())  # those of comments too
        return text
    except UnicodeDecodeError as error:
        byte = f"0x{error.object[error.start]:02x} at byte {error.start}"
        rule = f"must be UTF-8 text, got {byte}. Save it as UTF-8."
    except FileNotFoundError:
        rule = f"no such file, got {show(path.name)}. {_nearest_file(path)}"
    except IsADirectoryError:
        rule = f"must be a file, got a folder. {_nearest_file(path / 'study.yaml')}"
    except UnusualFileError as error:
        rule = f"must be a regular file of at most 1 MB, got {error.strerror}. Name another file."
    except OSError as error:
        rule = f"cannot be read, got {error.strerror}. Check its permissions."
    raise StudyFileError([Problem(str(path), 0, 0, rule)])


def read_study(
    path: Path, overrides: Sequence[str] = (), *, names: NamesFor, must_search: bool = False
) -> Study:
    """Read a study file.

    Args:
        path: of the file; paths in it are relative to its folder.
        overrides: `key=value` each, as from `--set`.
        names: allowed names by dotted key; keys without names are not checked.
        must_search: reject what can be read, but not started here: a search without a searched
            parameter, a tracker whose package is missing.

    Returns:
        The study, with its space inline, so that it needs no other file.

    Raises:
        StudyFileError: with all problems.
    """
    return parse_study(
        study_text(path),
        str(path),
        overrides,
        names=names,
        base=path.parent,
        must_search=must_search,
    )


def parse_study(
    text: str,
    file: str,
    overrides: Sequence[str] = (),
    *,
    names: NamesFor,
    base: Path,
    must_search: bool = False,
) -> Study:
    """As `read_study`, from a text.

    Args:
        text: of the study file.
        file: name of the file in messages.
        base: folder for a relative `space`.
    """
    document = parse_yaml(text, file)
    keep_secrets_in(document.data)
    if document.problems and document.data is None:
        raise StudyFileError(document.problems)
    if not isinstance(document.data, dict):
        rule = f"must be a mapping of keys, got {show(document.data)}. Start with version: 1."
        raise StudyFileError([*document.problems, Problem(file, 1, 1, rule)])
    if document.data and all(_is_of_a_space(*entry) for entry in document.data.items()):
        rule = "must be a study file, got a search space. Name it in a study file: space: FILE."
        raise StudyFileError([*document.problems, Problem(file, 1, 1, rule)])
    return study_of(document, overrides, names, base, must_search=must_search)


def study_of(
    document: Document, overrides: Sequence[str], names: NamesFor, base: Path, *, must_search: bool
) -> Study:
    """The study in a document whose data is a mapping; arguments, errors as `parse_study`."""
    include = _SpaceFile(document, base).include
    apply_overrides(document, overrides, include)
    include()
    _name_last_tap(document, names)
    study = _check(document, names, base, must_search=must_search)
    for place, rule in missing_packages(study.run.trackers) if must_search else ():
        document.refuse(("run", "trackers", place), rule)
    if document.problems:
        raise StudyFileError(document.problems)
    return study


def _is_of_a_space(key: str, entry: Any) -> bool:
    """Whether this is a parameter of a search space, or a block of them."""
    return is_searchable(key) or (isinstance(entry, dict) and {"when", "parameters"} <= set(entry))


def _name_last_tap(document: Document, names: NamesFor) -> None:
    """Write the tap that `last` is in this network wherever `loss.fma.layers` may be it, so that
    it is read, compared and stored by its name.  Where networks differ, `last` is that of each."""
    leaves, model = list(_leaves(document.data)), document.get(("model", "name"))
    found = [path for path, value in leaves if value == "last" and _is_of_layers(path)]
    if not found or not isinstance(model, str) or any("model.name" in path for path, _ in leaves):
        return
    taps = names(model).get("loss.fma.layers", ())
    for path in found if taps else ():
        document.get(path[:-1])[path[-1]] = [taps[-1]]


def _leaves(data: Any, path: DataPath = ()) -> Iterator[tuple[DataPath, Any]]:
    """Every text, number, true, false and None, with its path."""
    if not isinstance(data, dict | list):
        yield path, data
        return
    for part, value in data.items() if isinstance(data, dict) else enumerate(data):
        yield from _leaves(value, (*path, part))


def _is_of_layers(path: DataPath) -> bool:
    """Whether a value is one of `loss.fma.layers`: that of the key, a choice, or a level."""
    if isinstance(path[-1], int):
        is_level = path[:2] == ("ablation", "factors") and path[-2] == _LAYERS
        path = path[:-1] if is_level else path[:-2] if path[-2] in ("choice", "in") else ()
    return _LAYERS in (dotted(path), *path[-1:])


class _SpaceFile:
    """The file that a study names as its space."""

    def __init__(self, document: Document, base: Path) -> None:
        self._document = document
        self._base = base

    def include(self) -> None:
        """Replace its name by its content, once."""
        document = self._document
        name = document.get(("space",))
        if not isinstance(name, str):
            return
        path = path_from(self._base, name)
        try:
            space = parse_yaml(study_text(path), str(path))
        except StudyFileError as error:
            # The file is named here, so this is the line to correct.
            document.refuse(("space",), str(error))
            space = Document(str(path), {})
        if not isinstance(space.data, dict):
            if not space.problems:
                rule = f"must be a mapping of parameters, got {show(space.data)}."
                fix = "Write KEY: {float: [LOW, HIGH]} in it."
                space.problems.append(Problem(str(path), 1, 1, f"{rule} {fix}"))
            space.data = {}
            document.refused.append(("space",))  # its content is unknown
        document.replace(("space",), space)


def _check(document: Document, names: NamesFor, base: Path, *, must_search: bool) -> Study:
    """The study, as far as possible; `document.problems` lists the problems."""
    at_first = len(document.problems)
    data = copy.deepcopy(document.data)
    refused, mended = set(document.refused), set(document.refused)
    while True:
        try:
            study = Study.model_validate(data)
            break
        except ValidationError as error:
            found = findings(error, data)
            if not found:
                raise
        for finding in found:
            # Problems caused by the correction (an emptied list) are not the writer's mistake.
            if not any(_overlap(finding.path, path) for path in mended):
                document.refuse(finding.path, finding.rule, key=finding.at_key)
                refused.add(finding.path)
        before = copy.deepcopy(data)
        mended |= {_mend(data, finding.path) for finding in found}
        if data == before:  # a missing key cannot be removed, so its section is
            mended |= {_mend(data, finding.path[:-1]) for finding in found if finding.path[1:]}
    known = names(study.model.name)
    if study.trainable is not None:  # its keys and metrics are its own
        known = {key: known[key] for key in ("trainable", "search.sampler") if key in known}
    unknown = check_names(document, known, refused)
    check_study(document, study, mended | unknown)
    _check_batch_norm(document, study, mended | unknown, base)
    if must_search:
        _check_checkpoint(document, study, mended | unknown, base)
    _check_taps(document, study, known, mended | unknown, base)
    rules = objective_rules(study, document.refused) if "robustness.suite" in known else ()
    for path, rule in rules:
        document.refuse(path, rule, name="objectives" if path[0] == "objectives" else None)
    before = len(document.problems)
    written = document.get(("space",))
    space = check_space(document, ("space",), study, known) if isinstance(written, dict) else None
    is_known = ("space",) not in document.refused
    if len(document.problems) == before and is_known:
        check_enqueued(document, space or Space(), study.search.enqueue)
    refuse_failures(document, known)
    if is_known and _is_search(document):
        _check_search(document, study, space or Space(), must_search=must_search)
    _check_learning(document, study, space or Space(), base)
    if len(document.problems) == at_first:
        check_ablation(document, study, known)
        refuse_failures(document, known)
    return study


def _check_batch_norm(document: Document, study: Study, refused: set[DataPath], base: Path) -> None:
    """Report that the baseline's batch norm is to be adapted where it has none."""
    pseudo_images = study.robustness.adapt_batch_norm
    if pseudo_images is None or study.trainable or any(path[0] == "model" for path in refused):
        return
    from ablate.model.inspect import has_adaptable_norm  # which loads torch

    with suppress(UsageError):  # a network that cannot be built is refused when it is
        if not has_adaptable_norm(study.model.name, base):
            rule = no_batch_norm(study.model.name, pseudo_images)
            document.refuse(("robustness", "adapt_batch_norm"), rule)


def _check_checkpoint(document: Document, study: Study, refused: set[DataPath], base: Path) -> None:
    """Report weights that cannot be read, or leave open how their images were normalised."""
    checkpoint = study.baseline.checkpoint
    if checkpoint is None or study.trainable or {"model", "baseline"} & {one[0] for one in refused}:
        return
    from ablate.model.weights.preprocessing import normalization_rule  # which loads torch

    rule: str | None
    try:
        path, rule = ("model", "normalization"), normalization_rule(study.model, checkpoint, base)
    except DataError as error:
        path, rule = ("baseline", "checkpoint"), str(error).removeprefix("baseline.checkpoint: ")
    if rule is not None:
        document.refuse(path, rule)


def _check_taps(
    document: Document, study: Study, known: KnownNames, refused: set[DataPath], base: Path
) -> None:
    """Report that FMA is to compare the taps of a network that has none with a feature map."""
    layers, key = study.loss.fma.layers, tuple(_LAYERS.split("."))
    fixed = [layers] if isinstance(layers, str) else list(layers)
    words = {"taps", "last"} & set(candidates(study.space, _LAYERS, fixed))
    taps = known.get(_LAYERS)
    # Of networks whose taps are known by name all are usable.
    if not words or not _compares_maps(study) or taps or taps is None:
        return
    is_known = not any(path[0] == "model" for path in refused)
    if not is_known or (isinstance(taps, OpenNames) and taps.failure):
        return
    from ablate.model.build import describe_layers  # which loads torch

    model, shown = study.model.name, ""
    try:
        maps = [one.name for one in describe_layers(study.model, base=base) if one.shape[1:]]
        shown = f" such as [{', '.join(maps[-3:])}]" if maps else ""
    except NotImportedError:
        return
    except UsageError:  # not run without images of the right size
        pass
    at = parameter_paths(document.get(("space",)) or {}, ("space",)).get(_LAYERS, key)
    at = (*at, "subset") if "subset" in document.get(at, {}) else at
    rule = f"needs a network whose taps give feature maps, got {show(words.pop())} for {model}"
    fix = f"Name modules{shown}; `ablate layers {model}` lists them."
    document.refuse(at, f"{rule}, which has none. {fix}", name=_LAYERS)


def _compares_maps(study: Study) -> bool:
    """Whether a trial may have the term `fma`."""
    own = candidates(study.space, "loss.terms", [study.loss.terms])
    return any("fma" in str(terms) for terms in _set_in_ablation(study, "loss.terms") or own)


def _set_in_ablation(study: Study, key: str) -> list[Any]:
    """The values that the configurations of an ablation give a key."""
    said = None if study.ablation is None else study.ablation.model_dump(mode="json")
    return [value for path, value in _leaves(said) if key in path]


def network_notes(study: Study, base: Path) -> Iterator[str]:
    """What to say of a study's network that is not wrong, but may not be meant so."""
    scale, model = "loss.fma.scale", study.model.name
    scales = _set_in_ablation(study, scale) or candidates(
        study.space, scale, [study.loss.fma.scale]
    )
    if study.trainable is not None or not _compares_maps(study) or "value" not in scales:
        return
    with_norm = has_batch_norm(model)
    if with_norm is None:
        from ablate.model.inspect import has_adaptable_norm  # which loads torch

        with suppress(UsageError):  # a network that cannot be built is refused when it is
            with_norm = has_adaptable_norm(model, base)
    if with_norm is False:
        yield (
            f"loss.fma.scale: value was calibrated on networks with batch norm, and {model} has "
            "none: at the same weight its gradient may be several times as large. Write scale: "
            "gradient, which measures it"
        )


def _is_search(document: Document) -> bool:
    """Whether the file is of a search; a refused ablation, which `_check` leaves out, is none."""
    if document.get(("search",)) is None and ("ablation",) in document.keys:
        return False
    return document.get(("ablation",)) is None


def _check_search(document: Document, study: Study, space: Space, *, must_search: bool) -> None:
    """Report searched parameters without effect; in an ablation each arm has its own values."""
    path = ("space",)
    doubts = Doubts(document, path, space)
    never = check_reach(document, path, space, doubts)
    if study.trainable is None:
        check_inert(document, path, study, space, passed_over=never, doubts=doubts)
    rule = nothing_searched(study, space) if must_search and not doubts.about_all() else None
    if rule is not None:
        document.refuse(path, rule)


def _check_learning(document: Document, study: Study, space: Space, base: Path) -> None:
    """Report what leaves nothing to learn, or to probe; of cells an ablation does it."""
    frozen = {one.key: one.domain for one in space.parameters}.get("finetune.frozen")
    tried = [study.finetune.frozen] if frozen is None else getattr(frozen, "choices", ())
    if document.problems or study.trainable or not (any(tried) or study.finetune.probe_fraction):
        return
    from ablate.finetune.depth import learning_problem  # which loads torch

    places = parameter_paths(document.get(("space",)) or {}, ("space",))
    for key, rule in filter(None, {learning_problem(study, one, base) for one in tried}):
        document.refuse(places.get(key, tuple(key.split("."))), rule, name=key)


def _overlap(one: DataPath, other: DataPath) -> bool:
    """Whether one path contains the other."""
    length = min(len(one), len(other))
    return one[:length] == other[:length]


def _mend(data: dict[str, Any], path: DataPath) -> DataPath:
    """Remove a refused value, or replace it by a placeholder; returns the changed path."""
    if dotted(path) in _PLACEHOLDERS:
        *above, last = path
        node: Any = data
        for part in above:
            node = node[part]
        node[last] = copy.deepcopy(_PLACEHOLDERS[dotted(path)])
        return path
    # A list is removed completely, because other problems use its indices.
    ends = [i for i, part in enumerate(path) if isinstance(part, int)]
    path = path[: ends[0]] if ends else path
    # Another problem may have removed it, or its section.
    node = data
    for part in path[:-1]:
        node = node.get(part, {})
    node.pop(path[-1], None)
    return path


def _nearest_file(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"There is no folder {folder} either."
    there = sorted(file.name for file in folder.iterdir() if file.suffix in (".yaml", ".yml"))
    nearest = get_close_matches(path.name, there, n=1)
    if nearest:
        return f"Did you mean {folder / nearest[0]}?"
    if not path.suffix:
        return did_you_mean(str(path), list(shipped_studies()))
    none = "There are no YAML files in its folder."
    return f"Files there: {', '.join(there)}." if there else none

"""Reads a study file, and the space file that it names, into a frozen Study, and reports all
problems at once.

This is the border: rules (`ablate.study.checks`, `ablate.space`, `ablate.finetune.reads`,
`ablate.robustness.suites`, `ablate.ablation.design`) are functions of plain values and give
findings, which become messages with a position here.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ablate.ablation.design import ablation_rules, replicate_studies
from ablate.errors import (
    DataError,
    ParameterError,
    Problem,
    StudyFileError,
    UsageError,
    did_you_mean,
)
from ablate.errors.masking import keep_secrets_in, masked, masked_data
from ablate.files.cache import cache_folder
from ablate.files.regular import MOST_TEXT_BYTES, UnusualFileError, read_regular
from ablate.files.shown import show_name
from ablate.finetune.reads import SECTIONS, inert_rules
from ablate.lifecycle.shipped import shipped_studies
from ablate.model import has_batch_norm, no_feature_map, taps_of
from ablate.model.inspect import has_adaptable_norm, usable_taps
from ablate.robustness.suites import objective_rules
from ablate.space.fit import nothing_searched, reach_rules, telling_values
from ablate.space.parse import read_space
from ablate.space.space import Space, enqueue_rules
from ablate.study.callables import NotImportedError, own_types
from ablate.study.checks import no_batch_norm, study_rules, written_rules
from ablate.study.document import Document, Finding, dotted, get, show, starts_with
from ablate.study.document import Path as DataPath
from ablate.study.keys import candidates, is_searchable, searched_paths
from ablate.study.metrics import is_by_image
from ablate.study.names import KnownNames, NamesFor, failures, unknown_names
from ablate.study.overrides import apply_overrides
from ablate.study.settings import Study, path_from
from ablate.study.translate import findings
from ablate.study.yaml_source import parse_yaml, write_yaml
from ablate.trackers import missing_packages

_LAYERS = "loss.fma.layers"


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
    text, base = study_text(path), path.parent
    return parse_study(text, str(path), overrides, names=names, base=base, must_search=must_search)


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
    data, rule = document.data, None
    if not isinstance(data, dict):
        rule = f"must be a mapping of keys, got {show(data)}. Start with version: 1."
    elif data and all(_is_of_a_space(*entry) for entry in data.items()):
        rule = "must be a study file, got a search space. Name it in a study file: space: FILE."
    if rule is None:
        return study_of(document, overrides, names, base, must_search=must_search)
    if data is not None or not document.problems:
        document.problems.append(Problem(file, 1, 1, rule))
    raise StudyFileError(document.problems)


def _is_of_a_space(key: str, entry: Any) -> bool:
    """Whether this is a parameter of a search space, or a block of them."""
    return is_searchable(key) or (isinstance(entry, dict) and {"when", "parameters"} <= set(entry))


def study_of(
    document: Document, overrides: Sequence[str], names: NamesFor, base: Path, *, must_search: bool
) -> Study:
    """The study in a document whose data is a mapping; arguments, errors as `parse_study`.

    What reads one key is checked first, then what reads several, then what the study would train,
    where all keys of that are right, and last its ablation.
    """
    apply_overrides(document, overrides, lambda: _include_space(document, base))
    _include_space(document, base)
    _name_last_tap(document.data, names)
    study = _read_settings(document)
    known = names(study.model.name)
    if study.trainable is not None:  # its keys and metrics are its own
        known = {key: known[key] for key in ("trainable", "search.sampler") if key in known}
    document.report(unknown_names(document.data, known))
    document.report(written_rules(document.data))
    is_empty = ("ablation",) in document.places and document.get(("ablation",)) is None
    if is_empty and document.get(("search",)) is None:
        rule = "must be a mapping, got nothing. Write design: below it, or remove the key."
        document.report([Finding(("ablation",), rule)])
    document.report(study_rules(study, document.refused))
    if "robustness.suite" in known and not _touches(document, "objectives", "robustness"):
        document.report(objective_rules(study))
    space, wrong = read_space(study, known)
    document.report(wrong)
    if not wrong and ("space",) not in document.refused:
        document.report(enqueue_rules(space, study.search.enqueue))
    document.report(failures(known))
    if must_search:
        missing = missing_packages(study.run.trackers)
        document.report(Finding(("run", "trackers", i), rule) for i, rule in missing)
    if not _touches(document, "space", "ablation", *SECTIONS):
        if study.trainable is None:
            document.report(_network_rules(study, known, base, must_search=must_search))
            document.report(_own_type_rules(study, base) if must_search else ())
            document.report(_learning_rules(study, space, base))
        if study.ablation is None:  # else each arm has its own values
            never = list(reach_rules(study, space))
            document.report(never)
            if not never and study.trainable is None:
                document.report(inert_rules(study, space))
            if must_search and (single := nothing_searched(study, space)) is not None:
                document.report([Finding(("space",), single)])
    if not document.problems:
        written = {key for key, value in document.data.items() if value is not None}
        document.report(ablation_rules(study, known, written))
        document.report(failures(known))
    if document.problems:
        raise StudyFileError(document.problems)
    return study


def _touches(document: Document, *sections: str) -> bool:
    return any(path[:1] == (section,) for section in sections for path in document.refused)


# -- The text of a study, and the files that it names --------------------------------------


def kept_text(path: Path) -> str:
    """The text of a study file as stored in the ledger: a valid study file, without its storage.

    Comments are kept, except on the line of `storage`; text that looks like a secret is masked.

    Raises:
        StudyFileError: as `study_text`.
    """
    text = study_text(path)
    document = parse_yaml(text, str(path))
    lines, place = text.splitlines(keepends=True), document.places.get(("storage",))
    if place is not None:
        del lines[place.line - 1]
    kept = "".join(lines)
    left = {name: value for name, value in document.data.items() if name != "storage"}
    # It stands beside other keys, or another value refers to it (`*anchor`), or is itself a secret.
    is_without = parse_yaml(kept, str(path)).data == left
    is_readable = isinstance(parse_yaml(masked(kept), str(path)).data, dict)
    return masked(kept) if is_without and is_readable else kept_data(left)


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


def _nearest_file(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"There is no folder {folder} either."
    there = sorted(file.name for file in folder.iterdir() if file.suffix in (".yaml", ".yml"))
    if nearest := get_close_matches(path.name, there, n=1):
        return f"Did you mean {folder / nearest[0]}?"
    if not path.suffix:
        return did_you_mean(str(path), list(shipped_studies()))
    none = "There are no YAML files in its folder."
    return f"Files there: {', '.join(there)}." if there else none


def _include_space(document: Document, base: Path) -> None:
    """Replace the name of a space's file by its content, once."""
    name, key = document.get(("space",)), ("space",)
    if not isinstance(name, str):
        return
    path = path_from(base, name)
    try:
        space = parse_yaml(study_text(path), str(path))
    except StudyFileError as error:
        # The file is named here, so this is the line to correct.
        document.report([Finding(key, str(error))])
        space = Document(str(path), {})
    if not isinstance(space.data, dict):
        if not space.problems:
            rule = f"must be a mapping of parameters, got {show(space.data)}."
            fix = "Write KEY: {float: [LOW, HIGH]} in it."
            space.problems.append(Problem(str(path), 1, 1, f"{rule} {fix}"))
        space.data = {}
        document.refused.add(key)  # its content is unknown
    document.put(key, space.data, document.place(key), space)


def _name_last_tap(data: dict[str, Any], names: NamesFor) -> None:
    """Write the tap that `last` is in this network wherever `loss.fma.layers` may be it, so that
    it is read, compared and stored by its name.  Where networks differ, `last` is that of each."""
    leaves, model = list(_leaves(data)), get(data, ("model", "name"))
    paths = [path for path, value in leaves if value == "last" and _is_of_layers(path)]
    if not paths or not isinstance(model, str) or any("model.name" in path for path, _ in leaves):
        return
    if taps := names(model).get(_LAYERS, ()):
        for path in paths:
            get(data, path[:-1])[path[-1]] = [taps[-1]]


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


# -- Key by key ----------------------------------------------------------------------------


def _read_settings(document: Document) -> Study:
    """The study, with defaults for refused keys, so that the rest can be checked."""
    data = copy.deepcopy(document.data)
    while True:
        try:
            return Study.model_validate(data)
        except ValidationError as error:
            wrong = findings(error, data)
        before, refused = copy.deepcopy(data), tuple(document.refused)
        # Problems caused by the correction (an emptied list) are not the writer's mistake.
        document.report(
            finding
            for finding in wrong
            if not any(starts_with(path, finding.path) for path in refused)
        )
        document.refused |= {_mend(data, finding.path) for finding in wrong}
        if data == before:  # a missing key cannot be removed, so its section is
            sections = [finding.path[:-1] for finding in wrong if finding.path[1:]]
            document.refused |= {_mend(data, section) for section in sections}


def _mend(data: dict[str, Any], path: DataPath) -> DataPath:
    """Remove a refused value, or put a placeholder in its place; returns the changed path."""
    # A list is removed completely, because other problems use its indices.
    ends = [i for i, part in enumerate(path) if isinstance(part, int)]
    path = path[: ends[0]] if ends else path
    get(data, path[:-1], {}).pop(path[-1], None)
    if path == ("trainable",):
        data["trainable"] = "unnamed:unnamed"
    elif path[0] in ("dataset", "model") and isinstance(data.setdefault(path[0], {}), dict):
        data[path[0]].setdefault("name", "")
    elif path[0] in ("version", "name"):
        data.setdefault(path[0], {"version": 1, "name": "unnamed"}[path[0]])
    return path


# -- What is known only of the network -----------------------------------------------------


def _network_rules(
    study: Study, known: KnownNames, base: Path, *, must_search: bool
) -> Iterator[Finding]:
    """Settings that the study's network, or its weights, cannot have."""
    model, pseudo_images = study.model.name, study.robustness.adapt_batch_norm
    if pseudo_images is not None and _has_norm(model, base) is False:
        rule = no_batch_norm(model, pseudo_images)
        yield Finding(("robustness", "adapt_batch_norm"), rule)
    starts = {
        one.baseline.checkpoint or one.baseline.backbone: one for one in replicate_studies(study)
    }
    for weights, one in starts.items() if must_search else ():
        if weights is None:
            continue
        from ablate.model.weights.preprocessing import weights_rules  # which loads torch

        key = "backbone" if one.baseline.checkpoint is None else "checkpoint"
        try:
            for where, rule in weights_rules(one, base):
                yield Finding(tuple(where.split(".")), rule)
        except NotImportedError:
            continue
        except (DataError, ParameterError) as error:
            rule = str(error).removeprefix(f"baseline.{key}: ")
            yield Finding(("baseline", key), rule)
    layers, taps = study.loss.fma.layers, known.get(_LAYERS)
    fixed = [layers] if isinstance(layers, str) else list(layers)
    words = {"taps", "last"} & set(candidates(study.space, _LAYERS, fixed))
    # Of networks whose taps are known by name all are usable.
    if not words or taps or taps is None or not _compares_maps(study):
        return
    from ablate.model.build import describe_layers  # which loads torch

    shown = ""
    try:
        described = describe_layers(study.model, base=base)
        maps = [layer.name for layer in described if layer.shape[1:]]
        shown = f" such as [{', '.join(maps[-3:])}]" if maps else ""
    except NotImportedError:
        return
    except UsageError:  # not run without images of the right size
        pass
    path = searched_paths(study.space).get(_LAYERS, tuple(_LAYERS.split(".")))
    rule = f"needs a network whose taps give feature maps, got {show(words.pop())} for {model}"
    fix = f"Name modules{shown}; `ablate layers {model}` lists them."
    yield Finding(path, f"{rule}, which has none. {fix}")


def network_notes(study: Study, base: Path) -> Iterator[str]:
    """What to say of a study's network that is not wrong, but may not be meant so."""
    model, scales = study.model.name, _values_of(study, "loss.fma.scale", study.loss.fma.scale)
    is_by_value = study.trainable is None and "value" in scales and _compares_maps(study)
    if is_by_value and _has_norm(model, base) is False:
        yield (
            f"loss.fma.scale: value was calibrated on networks with batch norm, and {model} has "
            "none: at the same weight its gradient may be several times as large. Write scale: "
            "gradient, which measures it"
        )
    if study.baseline.checkpoint or study.baseline.backbone:
        from ablate.model.weights.preprocessing import weights_notes  # which loads torch

        with suppress(UsageError):
            yield from weights_notes(study, base)
    if study.trainable is None and not _compares_maps(study) and taps_of(model) is None:
        with suppress(UsageError):
            if not usable_taps(model, base):
                yield f"model.name: {no_feature_map(model)}, so no trial can have FMA"


def _has_norm(model: str, base: Path) -> bool | None:
    """Whether a network has batch norm; None if it cannot be built, which is refused elsewhere."""
    with_norm = has_batch_norm(model)
    with suppress(UsageError):
        return has_adaptable_norm(model, base) if with_norm is None else with_norm
    return None


def _compares_maps(study: Study) -> bool:
    return any("fma" in str(terms) for terms in _values_of(study, "loss.terms", study.loss.terms))


def _values_of(study: Study, key: str, fixed: str) -> Collection[Any]:
    """The values of a key in an ablation's configurations, else in the space, else its own."""
    ablation = None if study.ablation is None else study.ablation.model_dump(mode="json")
    configured = [value for path, value in _leaves(ablation) if key in path]
    return configured or candidates(study.space, key, [fixed])


def _learning_rules(study: Study, space: Space, base: Path) -> Iterator[Finding]:
    """What leaves nothing to learn, to probe or to adapt; of cells an ablation does it."""
    domains = {parameter.key: parameter.domain for parameter in space.parameters}
    frozen, ranks = domains.get("finetune.frozen"), domains.get("finetune.lora.rank")
    tried = [study.finetune.frozen] if frozen is None else getattr(frozen, "choices", ())
    if ranks is not None:
        study = study.with_values({"finetune.lora.rank": max(telling_values(ranks))})
    sections = study.baseline, study.finetune
    baseline = study.baseline
    if any(tried) or any(one.frozen or one.probe_fraction or one.lora.rank for one in sections):
        from ablate.finetune.depth import learning_problem  # which loads torch

        found = {learning_problem(study, "finetune", layers, base) for layers in tried}
        found.add(learning_problem(study, "baseline", baseline.frozen, base))
        paths = searched_paths(study.space)
        for key, rule in filter(None, found):
            yield Finding(paths.get(key, tuple(key.split("."))), rule)


def _own_type_rules(study: Study, base: Path) -> Iterator[Finding]:
    """Distortions and corruptions of the user's own that break the contract, on images of noise."""
    for path, key, name in own_types(study.model_dump(mode="json")):
        from ablate.distortion.own import check_on_noise  # which loads torch

        try:
            check_on_noise(key, name, base, study.dataset.image_size or 32)
        except NotImportedError:
            continue
        except ParameterError as error:
            yield Finding(path, str(error).removeprefix(f"{key}: "))


# -- What is in the image files that it names -----------------------------------------------


DECODED_BY_CHECK = 1000
"""Number of image files up to which all of them are decoded, in seconds; of more, a sample of about
as many."""


def image_lines(study: Study, base: Path) -> tuple[list[str], list[str]]:
    """What is in the study's image files: classes and counts, and notes; of missing folders, a note
    alone.

    Raises:
        DataError: naming what a launch would refuse: classes, unreadable files, mixed sizes.
    """
    settings = study.dataset
    named = {"path": settings.path, "unlabeled": settings.unlabeled}
    folders = {
        f"dataset.{key}": path_from(base, path).resolve()
        for key, path in named.items()
        if path is not None
    }
    missing = [key for key in folders if not folders[key].is_dir()]
    if missing or not (settings.name == "image_folder" or settings.unlabeled):
        return [], [f"{key} does not exist yet: {show_name(folders[key])}" for key in missing]
    from ablate.data.load import scan_files  # which loads torch
    from ablate.data.scan import too_large
    from ablate.model.build import own_image_size

    scan = scan_files(settings, base, most=DECODED_BY_CHECK, cache=cache_folder())
    if scan is None:
        return [], []
    scan.refuse(
        skip_unreadable=settings.skip_unreadable,
        resize=settings.resize,
        image_size=settings.image_size or 32,
    )
    notes = [*scan.notes(skip_unreadable=settings.skip_unreadable, advises=is_by_image(study))]
    count = sum(sum(split.counts.values()) for split in scan.splits.values())
    side = settings.image_size or own_image_size(study.model) or 32
    if settings.loading == "resident" and (large := too_large(count, side)):
        notes.append(f"dataset.loading: {large}. Write loading: streamed")
    return list(scan.summary()), notes

"""The ablation of a finished search, as a study file: `ablate init --ablation-of runs/mine`.

It names a trial of the search as its reference, keeps the search's own settings, as it must, and
leaves out each part that the trial has.
"""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Any

from ablate.ablation.components import COMBINED, LAYER
from ablate.ablation.design import make_design
from ablate.ablation.searches import pick_rule, pick_trial
from ablate.errors import ParameterError, UsageError
from ablate.errors.masking import has_secret
from ablate.files.durable import is_uri
from ablate.finetune.loss import TERMS
from ablate.lifecycle.known_names import names_for
from ablate.lifecycle.open_study import open_ledger, open_study
from ablate.lifecycle.place import Place
from ablate.lifecycle.shipped import PATHS, write_new
from ablate.model import chosen_layers
from ablate.study.document import show
from ablate.study.settings import Study, path_from
from ablate.study.yaml_source import write_yaml

_LEFT_TO_THE_SEARCH = ("space", "search", "objectives", "constraints")
_MOST_LAYERS = 4
"""Each is a cell: a transformer may have a tap for every block."""
_ABOUT = """\
# Which part of trial {number} of the search {search} earns its gain?  Each part is left out in
# turn, and the whole is trained again with the same 8 seeds.  Data, model, baseline and training
# are those of the search: a reference that is a trial needs them so.
# Decide before it runs what you will claim: only contrasts under `primary` get a verdict.
"""


def write_ablation_of(search: str, folder: Path, name: str | None, pick: str) -> Path:
    """Write the ablation of a search's trial into a folder, to be edited.

    Args:
        search: as `locate` takes it.
        folder: made if it does not exist.
        name: of the new study and its file; None: NAME_ablation.
        pick: "knee", "best METRIC" or "trial N".

    Returns:
        The file.

    Raises:
        StudyNotFoundError: if there is no such search.
        UsageError: if it has no part that could be left out, or the file exists.
        ParameterError: if it is no search of networks, or has no such trial.
    """
    if (rule := pick_rule(pick)) is not None:
        raise ParameterError(f"`pick`: {rule.replace('Write pick: knee', 'Give `pick=knee`')}")
    opened = open_study(search)
    place, record = opened.place, opened.record
    where = f"`search`: study {record.name}"
    if record.study.trainable is not None:
        raise ParameterError(
            f"{where}: must be a search of networks, whose parts are known, got your own training "
            "loop. Write its ablation with components: {NAME: {KEY: VALUE}}, the values without "
            "each."
        )
    if record.parent is not None:
        raise ParameterError(
            f"{where}: must be a search of its own, got a part of {record.parent}. Name that one."
        )
    with closing(open_ledger(place)) as ledger:
        ledger.check_writable("to be the reference of an ablation")
        base = Path(ledger.head.base)
    point = pick_trial(record, pick, key="`search`")
    components = _components(record.study, point.params, base)
    name = name or f"{record.name}_ablation"
    data = moved_study(record.study, base, folder)
    data |= {
        "name": name,
        "question": f"Which part of trial {point.number} of {record.name} counts?",
    }
    given = place.given
    if given is not None and "ABLATE_STORAGE" not in given and not has_secret(given):
        data["storage"] = given
    data["ablation"] = {
        "design": "leave_one_out",
        "reference": {"study": _from(place, search, folder), "pick": f"trial {point.number}"},
        "components": components,
        "seeds": 8,
        "primary": [
            {"compare": f"without {part}"} for part in components if part in (*TERMS, COMBINED)
        ],
        "noninferior": {
            "metric": "val_clean_accuracy",
            "margin": record.study.answer.clean_margin or 0.01,
        },
    }
    file = folder / f"{name}.yaml"
    about = _ABOUT.format(number=point.number, search=record.name)
    write_new(folder, {file: about + write_yaml(data)})
    return file


def _components(study: Study, values: Any, base: Path) -> list[str]:
    """The parts of a trial that can be left out, each of which changes its training.

    Raises:
        UsageError: if there is none.
    """
    settings = study.with_values(dict(values))
    augment, names = settings.augment, names_for(study.model.name, base)
    taps = chosen_layers(settings.loss.fma.layers, names["loss.fma.layers"])
    parts = [term for term in settings.loss.term_names if term != "clean"]
    parts.append(COMBINED)
    if "fma" in parts and 1 < len(taps) <= _MOST_LAYERS:
        parts += [f"{LAYER}{tap}" for tap in taps]
    parts += augment.types if augment.types is not None else augment.families
    whole = study.model_dump(mode="json") | {"space": {}, "constraints": []}
    wrong: set[Any] = set()
    while parts:
        section = {"design": "leave_one_out", "components": parts}
        planned = Study.model_validate(whole | {"ablation": section})
        _, problems = make_design(planned, names, values)
        if not problems:
            return parts
        wrong = {path[2] for path, _ in problems if path[:2] == ("ablation", "components")}
        parts = [part for place, part in enumerate(parts) if place not in wrong] if wrong else []
    raise UsageError(
        "`search`: must have a trial with a part that can be left out, got loss.terms "
        f"{show(settings.loss.terms)}. Pick another with `pick='trial N'`."
    )


def moved_study(study: Study, base: Path, folder: Path) -> dict[str, Any]:
    """A study as written, for a file in another folder, without what belongs to a search.

    Raises:
        UsageError: if it imports a module that is beside its own file.
    """
    for key in (study.dataset.name, study.model.name):
        module = base / f"{key.partition(':')[0].partition('.')[0]}.py"
        if ":" in key and module.exists() and base.resolve() != folder.resolve():
            raise UsageError(
                f"FOLDER: must be the folder of {module.name}, which the study imports, got "
                f"{folder}. Name {base}."
            )
    data = {key: part for key, part in study.written().items() if key not in _LEFT_TO_THE_SEARCH}
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


def _from(place: Place, search: str, folder: Path) -> str:
    """How a file in the folder names the search."""
    if place.archive is not None:
        return str(place.archive.absolute())
    if place.folder.is_dir():
        return relative_to(place.folder, folder)
    if has_secret(search):
        raise UsageError(
            "`search`: must hold no password, which the new file would keep, got one. Set "
            "ABLATE_STORAGE, and write '#NAME'."
        )
    return search

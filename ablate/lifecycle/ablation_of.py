"""The ablation of a finished search, as a study file: `ablate init --ablation-of runs/mine`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from ablate.ablation.components import COMBINED, LAYER
from ablate.ablation.design import make_design
from ablate.ablation.info import rank_metric
from ablate.ablation.searches import pick_rule, pick_trial
from ablate.errors import ParameterError, UsageError
from ablate.errors.masking import has_secret
from ablate.finetune.loss import TERMS
from ablate.lifecycle.known_names import names_for
from ablate.lifecycle.open_study import open_ledger, open_study
from ablate.lifecycle.shipped import moved_paths, relative_to, write_new
from ablate.model import chosen_layers
from ablate.study.document import show
from ablate.study.scores import clean_metric
from ablate.study.settings import Study
from ablate.study.yaml_source import write_yaml

_ABOUT = "# Decide before it runs what you claim: only contrasts under `primary` get a verdict.\n"


def write_ablation_of(search: str, folder: Path, name: str | None, pick: str) -> Path:
    """Write the ablation of a search's trial into a folder, to be edited: each part of the trial is
    left out in turn; data, model, baseline and training are the search's, as they must be.

    Args:
        search: as `locate` takes it.
        name: of the new study and its file; None: NAME_ablation.

    Raises:
        StudyNotFoundError: if there is no such search.
        UsageError: if it has no part that could be left out, or the file exists.
        ParameterError: if it is no search of networks, or has no such trial.
    """
    if (rule := pick_rule(pick)) is not None:
        raise ParameterError(f"`pick`: {rule.replace('Write pick: knee', 'Give `pick=knee`')}")
    place, record = (opened := open_study(search)).place, opened.record
    if record.study.trainable is not None or record.parent is not None:
        raise ParameterError(
            f"`search`: study {record.name}: must be a search of networks, on its own, got "
            f"{record.study.trainable or f'a part of {record.parent}'}. Name another, or write its "
            "ablation with components: {NAME: {KEY: VALUE}}, the values without each."
        )
    with closing(open_ledger(place)) as ledger:
        ledger.check_writable("to be the reference of an ablation")
        base = Path(ledger.head.base)
    point = pick_trial(record, pick, key="`search`")
    parts = _parts(record.study, dict(point.params), base)
    data = moved_paths(record.study, base, folder)
    outcome = rank_metric([objective.metric for objective in record.study.objectives], "val")
    for key in ("space", "search", "constraints"):
        data.pop(key, None)
    if outcome == "val_robust_accuracy":  # the two that an ablation has by itself
        data.pop("objectives", None)
    data["name"] = name or f"{record.name}_ablation"
    data["question"] = f"Which part of trial {point.number} of {record.name} counts?"
    if place.given and "ABLATE_STORAGE" not in place.given and not has_secret(place.given):
        data["storage"] = place.given
    margin = record.study.answer.clean_margin or 0.01
    source = relative_to(place.folder, folder) if place.folder.is_dir() else search
    source = source if place.archive is None else str(place.archive.absolute())
    if has_secret(source):
        raise UsageError(
            "`search`: must hold no password, which the new file would keep, got one. Set "
            "ABLATE_STORAGE, and write '#NAME'."
        )
    data["ablation"] = {
        "design": "leave_one_out",
        "reference": {"study": source, "pick": f"trial {point.number}"},
        "components": parts,
        "seeds": 8,
        "primary": [
            {"compare": f"without {part}", "metric": outcome}
            for part in parts
            if part in (*TERMS, COMBINED)
        ],
        "noninferior": {"metric": clean_metric(outcome), "margin": margin},
    }
    file = folder / f"{data['name']}.yaml"
    write_new(folder, {file: _ABOUT + write_yaml(data)})
    return file


def _parts(study: Study, values: dict[str, Any], base: Path) -> list[str]:
    """The parts of a trial that can be left out, each of which changes its training."""
    settings, names = study.with_values(values), names_for(study.model.name, base)
    layers = chosen_layers(settings.loss.fma.layers, names["loss.fma.layers"])
    parts = [term for term in settings.loss.term_names if term != "clean"] + [COMBINED]
    if "fma" in parts and 1 < len(layers) <= 4:  # each is a cell, and a transformer may have many
        parts += [f"{LAYER}{layer}" for layer in layers]
    parts += settings.augment.types or settings.augment.families
    whole = study.model_dump(mode="json") | {"space": {}, "constraints": []}
    while parts:
        whole["ablation"] = {"design": "leave_one_out", "components": parts}
        _, problems = make_design(Study.model_validate(whole), names, values)
        if not problems:
            return parts
        wrong = {path[2] for path, _ in problems if path[:2] == ("ablation", "components")}
        parts = [part for place, part in enumerate(parts) if place not in wrong] if wrong else []
    raise UsageError(
        "`search`: must have a trial with a part that can be left out, got loss.terms "
        f"{show(settings.loss.terms)}. Pick another with `pick='trial N'`."
    )

"""A study that is written in Python, instead of a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePath
from typing import Any, Literal

from pydantic import BaseModel

from ablate.errors import ParameterError
from ablate.errors.masking import keep_secrets_in
from ablate.lifecycle.known_names import names_for
from ablate.lifecycle.study_file import study_of
from ablate.study import settings
from ablate.study.callables import name_function
from ablate.study.document import Document, Finding, show, unstorable
from ablate.study.document import Path as DataPath
from ablate.study.yaml_source import MAX_DEPTH

Keys = Mapping[str, Any]


def parse_data(
    data: Mapping[str, Any], overrides: Sequence[str] = (), *, must_search: bool = False
) -> settings.Study:
    """Check the data of a study; relative paths start from the current folder.

    Args:
        data: keys as in a study file; `version` may be left out.  Sections may be objects of
            `ablate.study.settings`; a tuple is a list, a path is text, a number of NumPy is a
            number, and a function stands for its name (`ablate.study.callables.name_function`).
        overrides, must_search: as for `ablate.lifecycle.study_file.read_study`.

    Raises:
        StudyFileError: with all problems, each with the path of its key.
    """
    findings: list[Finding] = []
    document = Document("", {"version": 1, **_plain(data, (), findings)})
    document.report(findings)
    keep_secrets_in(document.data)
    base = Path.cwd()
    names = partial(names_for, base=base)
    return study_of(document, overrides, names, base, must_search=must_search)


def _plain(value: Any, path: DataPath, findings: list[Finding]) -> Any:
    """A value in the types that YAML has."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", exclude_unset=True)
    elif isinstance(value, PurePath):
        value = str(value)
    elif type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        value = value.item()
    rule = unstorable(value)
    if len(path) > MAX_DEPTH:
        rule = f"must have at most {MAX_DEPTH} levels. Make it flatter."
    elif isinstance(value, list | tuple):
        return [_plain(item, (*path, i), findings) for i, item in enumerate(value)]
    elif isinstance(value, Mapping):
        for key in [key for key in value if not isinstance(key, str)]:
            rule = f"keys must be text, got {show(key)}. Put it in quotes."
            findings.append(Finding((*path, str(key)), rule))
        items = ((key, item) for key, item in value.items() if isinstance(key, str))
        return {key: _plain(item, (*path, key), findings) for key, item in items}
    elif callable(value):
        try:
            return name_function(value)
        except ParameterError as error:
            findings.append(Finding(path, str(error)))
            return "refused:refused"  # still a name, so that no other rule is broken
    elif not isinstance(value, str | int | float | None):
        kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
        rule = f"must be text, a number, a list or a mapping, got an object of {kind}"
        rule += ". Write its value."
    if rule is None:
        return value
    findings.append(Finding(path, rule))
    return None


class Study(settings.Study):
    """A study with the keys of a study file; `ablate schema` lists those of all sections.

    It is checked when it is made, and goes wherever a study file goes, as a plain dict of the same
    keys does.  Relative paths start from the current folder.  A section is a dict of its keys, or
    an object of `ablate.study.settings`, whose keys an editor completes.

    A function (a training loop, a data set, a network) is given as it is.  One that no module
    holds, such as a notebook's, is sent to the workers, and a digest of its source is part of the
    study: such a study is resumed only from Python, with the same function.

    Args:
        name: of the study, and of its folder in `runs/`.
        question: what it is to answer.
        trainable: your own training loop, a function of an `ablate.TrialContext`, or
            "package.module:function"; instead of `dataset`, `model` and the robustness finetuning.
        dataset: the images; required without `trainable`.  Its `name` may be a function.
        model: the network; required without `trainable`.  Its `name` may be a function or a class.
        baseline: how the network to start from is trained, or its checkpoint.
        finetune: how trials are trained: `budget`, `batch_size`, `learning_rate`, ...
        loss: the terms of the loss and their settings.
        augment: the copies that are trained on.
        space: what is searched, by dotted key: domains of `ablate.space`, or a file's name.
        objectives: metrics and directions; default: clean and robust validation accuracy.
        constraints: bounds on metrics.
        answer: the rule that names a winner.
        search: number of trials, sampler, seed, pruner.
        ablation: instead of `search`: a design that is run over paired seeds.
        robustness: suite and severities of the evaluation.
        run: how it is carried out; does not affect scores.
        storage: URL of the database; default: `runs/NAME/study.db`.

    Raises:
        StudyFileError: with all problems, each with the path of its key.

    Example:
        >>> study = ablate.Study(
        ...     name="mix",
        ...     dataset={"name": "digits"},
        ...     model={"name": "resnet8"},
        ...     space={"finetune.learning_rate": ablate.space.float(0.001, 0.1, log=True)},
        ...     search={"trials": 8},
        ... )
        >>> study.search.sampler
        'auto'
        >>> ablate.Study(name="mix", dataset={"nam": "digits"}, model={"name": "resnet8"})
        Traceback (most recent call last):
            ...
        ablate.errors.StudyFileError: dataset.nam: unknown key. Did you mean name?
        dataset.name: is required, got nothing. Add it.
    """

    def __init__(
        self,
        *,
        name: str,
        version: Literal[1] = 1,
        question: str = "",
        trainable: Callable[..., object] | str | None = None,
        dataset: Keys | settings.DatasetSettings | None = None,
        model: Keys | settings.ModelSettings | None = None,
        baseline: Keys | settings.BaselineSettings | None = None,
        finetune: Keys | settings.FinetuneSettings | None = None,
        loss: Keys | settings.LossSettings | None = None,
        augment: Keys | settings.AugmentSettings | None = None,
        space: Mapping[str, Any] | str | None = None,
        objectives: Sequence[Keys | settings.ObjectiveSettings] | None = None,
        constraints: Sequence[Keys | settings.ConstraintSettings] | None = None,
        answer: Keys | settings.AnswerSettings | None = None,
        search: Keys | settings.SearchSettings | None = None,
        ablation: Keys | settings.AblationSettings | None = None,
        robustness: Keys | settings.RobustnessSettings | None = None,
        run: Keys | settings.RunSettings | None = None,
        storage: str | None = None,
    ) -> None:
        arguments = locals()
        given = {key: arguments[key] for key in settings.Study.model_fields}
        data = {key: value for key, value in given.items() if value is not None}
        super().__init__(**parse_data(data).model_dump(mode="json"))

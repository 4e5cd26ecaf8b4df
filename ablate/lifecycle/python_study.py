"""A study that is written in Python, instead of a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from ablate.errors.masking import keep_secrets_in
from ablate.lifecycle.known_names import names_for
from ablate.lifecycle.study_file import study_of
from ablate.study import settings, typed
from ablate.study.python_source import read_python

_NOT_GIVEN: Any = None
"""A type checker names the wrong key of a section; of `section | None` it would name only that."""


def parse_data(
    data: Mapping[str, Any], overrides: Sequence[str] = (), *, must_search: bool = False
) -> settings.Study:
    """Check the data of a study; relative paths start from the current folder.

    Args:
        data: keys as in a study file (`ablate.study.python_source`).
        overrides, must_search: as for `ablate.lifecycle.study_file.read_study`.

    Raises:
        StudyFileError: with all problems, each with the path of its key.
    """
    document = read_python(data)
    keep_secrets_in(document.data)
    base = Path.cwd()
    names = partial(names_for, base=base)
    return study_of(document, overrides, names, base, must_search=must_search)


class Study(settings.Study):
    """A study with the keys of a study file; `ablate schema` lists those of all sections.

    It is checked when it is made, and goes wherever a study file goes, as a plain dict of the same
    keys does.  Relative paths start from the current folder.

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
        dataset: typed.DatasetKeys = _NOT_GIVEN,
        model: typed.ModelKeys = _NOT_GIVEN,
        baseline: typed.BaselineKeys = _NOT_GIVEN,
        finetune: typed.FinetuneKeys = _NOT_GIVEN,
        loss: typed.LossKeys = _NOT_GIVEN,
        augment: typed.AugmentKeys = _NOT_GIVEN,
        space: Mapping[str, Any] | str | None = None,
        objectives: Sequence[typed.ObjectiveKeys] = _NOT_GIVEN,
        constraints: Sequence[typed.ConstraintKeys] = _NOT_GIVEN,
        answer: typed.AnswerKeys = _NOT_GIVEN,
        search: typed.SearchKeys = _NOT_GIVEN,
        ablation: typed.AblationKeys = _NOT_GIVEN,
        robustness: typed.RobustnessKeys = _NOT_GIVEN,
        run: typed.RunKeys = _NOT_GIVEN,
        storage: str | None = None,
    ) -> None:
        said = {key: value for key, value in locals().items() if value is not None}
        given = {key: said[key] for key in settings.Study.model_fields if key in said}
        super().__init__(**parse_data(given).model_dump(mode="json"))

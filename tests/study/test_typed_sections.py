"""The sections of `ablate.Study` for editors and type checkers: made from the settings, compared.

`python tests/study/test_typed_sections.py` writes them again.  mypy reads this file too: it fails
where it no longer refuses what a `type: ignore` says.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

import ablate
from ablate.errors import StudyFileError
from ablate.study import settings

FILE = Path(settings.__file__).with_name("typed.py")
HEAD = '''"""The sections of a study as mappings with known keys, for editors and type checkers.

Made from `ablate.study.settings` by `python tests/study/test_typed_sections.py`; do not edit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Any, Literal, Required, TypedDict

Text = str | PurePath
'''
MAY_BE_FUNCTIONS = {(settings.DatasetSettings, "name"), (settings.ModelSettings, "name")}


def written_types() -> str:
    """The file that the settings of today make."""
    fields = settings.Study.model_fields.values()
    sections = dict.fromkeys(one for field in fields for one in sections_in(field.annotation))
    return HEAD + "".join(map(typed_dict, sections))


def sections_in(kind: Any) -> Iterator[type[BaseModel]]:
    """The sections that a type names, each after those within it."""
    if inspect.isclass(kind) and issubclass(kind, BaseModel):
        for field in kind.model_fields.values():
            yield from sections_in(field.annotation)
        yield kind
    for part in get_args(kind):
        yield from sections_in(part)


def typed_dict(section: type[BaseModel]) -> str:
    lines = []
    for key, field in section.model_fields.items():
        names = ["Callable[..., object]"] if (section, key) in MAY_BE_FUNCTIONS else []
        said = " | ".join([type_text(field.annotation), *names])
        lines.append(f"    {key}: {f'Required[{said}]' if field.is_required() else said}\n")
    return f"\n\nclass {keys_of(section)}(TypedDict, total=False):\n{''.join(lines)}"


def keys_of(section: type[BaseModel]) -> str:
    return section.__name__.replace("Settings", "Keys")


def type_text(kind: Any) -> str:
    """A type as what may be given from Python: a list for a tuple, a path for text."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " | ".join(dict.fromkeys(map(type_text, parts)))
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, parts))}]".replace("'", '"')
    if origin in (tuple, list):
        items = dict.fromkeys(type_text(part) for part in parts if part is not Ellipsis)
        return f"Sequence[{' | '.join(items)}]"
    if origin is dict:
        return f"Mapping[{', '.join(map(type_text, parts))}]".replace("[Text, ", "[str, ")
    if origin is Annotated:
        text = type_text(parts[0])
    elif inspect.isclass(kind) and issubclass(kind, BaseModel):
        by_name = kind is settings.TrackerSettings
        names = [type_text(Literal[*kind.model_fields])] if by_name else []
        text = " | ".join([*names, keys_of(kind)])
    else:
        text = {str: "Text", NoneType: "None", Any: "Any"}.get(kind) or str(kind.__name__)
    return text


def test_the_file_is_what_the_settings_make() -> None:
    written, made = (ast.dump(ast.parse(text)) for text in (FILE.read_text(), written_types()))
    assert written == made, "python tests/study/test_typed_sections.py; ruff format"


def test_a_type_checker_takes_what_a_study_takes() -> None:
    study = ablate.Study(
        name="typed",
        dataset={"name": "image_folder", "path": Path("images")},
        model={"name": "resnet8"},
        finetune={"budget": {"epochs": 3}, "interpolation": {"alphas": (0.5, 1)}},
        loss={"terms": "clean+fma", "fma": {"layers": ["stem"], "layer_weights": {"stem": 1}}},
        objectives=[{"metric": f"val_{name}_accuracy"} for name in ("clean", "robust")],
        run={"trackers": ["tensorboard", {"mlflow": {"experiment": "one"}}]},
    )
    assert study.finetune.budget.epochs == 3


def test_a_type_checker_refuses_what_a_study_refuses() -> None:
    with pytest.raises(StudyFileError) as raised:
        ablate.Study(
            name="typed",
            dataset={"path": "images"},  # type: ignore[typeddict-item]
            model={"name": "resnet8", "depth": 8},  # type: ignore[typeddict-unknown-key]
            finetune={"budget": {"epoch": 3}},  # type: ignore[typeddict-unknown-key]
            search={"trials": "3"},  # type: ignore[typeddict-item]
        )
    refused = {line.partition(": ")[0] for line in str(raised.value).splitlines()}
    assert refused == {"dataset.name", "model.depth", "finetune.budget.epoch", "search.trials"}


if __name__ == "__main__":
    FILE.write_text(written_types())

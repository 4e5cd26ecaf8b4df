"""Study files and `--set` that nobody would write: each is a study or a few lines of refusal.

    ABLATE_MUTATIONS=20000 python -m pytest tests/study/test_fuzz.py

tries more of them; the first ones are always the same.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ablate.errors import AblateError
from ablate.lifecycle.known_names import names_for
from ablate.lifecycle.place import locate, place_of_file
from ablate.space.domain import CategoricalDimension, Dimension
from ablate.space.parse import parse_space
from ablate.study.keys import all_keys

MUTATIONS = int(os.environ.get("ABLATE_MUTATIONS", "300"))
LONGEST_LINE = 500
ROOT = Path(__file__).parents[2]

WORDS = (
    *("", "~", "null", "true", "no", "0", "-1", "1e3", "1e308", "-1e400", ".nan", ".inf", "010"),
    *("0x7fffffffffffffff", "9" * 400, "1e-300", "2**3", "1:30", "2020-01-01", "NaN", "1_000"),
    *("[]", "{}", "[[[]]]", "{a: {b: {c: 1}}}", "[1, 2", "{a: ", "'", '"', "&a", "*a"),
    *(
        "!!python/x",
        "!!int x",
        "!!float [1]",
        "!!set {a}",
        "<<: *a",
        "? a",
        "- - - a",
        "|",
        ">-",
        "%YAML 1.1",
    ),
    *("---", "...", "#", "\t", "\u0000", "\u0085", "\ufeff", "\ud83d", "é", "日本", "a" * 5000),
    *("x." * 3000, "[" * 300, "{float: [0, 1]}", "{subset: taps}", "{simplex: augment.families}"),
    *("{choice: [a, a]}", "{int: [5, 1]}", "{float: [1e-320, 1e308], log: true}", "{float: []}"),
    *("{float: [0, 1], step: 1e-300}", "{when: {loss.terms: clean}}", "resnet18", "timm:nope"),
    *("torchvision:nope", "os:system", "no.module:at_all", ":", "a:b:c", "../..", "/", "/dev/null"),
    *("${NOT_SET}", "sqlite://", "postgresql://u@h:bad/db", "clean+", "+", "clean+clean"),
)


def mutated(text: str, rng: random.Random) -> str:
    """A text with one thing done to it, somewhere."""
    lines = text.splitlines()
    at = rng.randrange(len(lines))
    line = lines[at]
    word = rng.choice(WORDS)
    kind = rng.randrange(9)
    if kind == 0:  # another value
        key, colon, _ = line.partition(":")
        lines[at] = f"{key}{colon} {word}"
    elif kind == 1:  # another key
        _, colon, value = line.partition(":")
        indent = line[: len(line) - len(line.lstrip())]
        lines[at] = f"{indent}{word}{colon}{value}"
    elif kind == 2:  # noise anywhere
        place = rng.randrange(len(line) + 1)
        lines[at] = line[:place] + word + line[place:]
    elif kind == 3:
        del lines[at]
    elif kind == 4:
        lines.insert(rng.randrange(len(lines)), line)
    elif kind == 5:
        lines[at] = " " * rng.randrange(9) + line.lstrip()
    elif kind == 6:
        place = rng.randrange(len(line) + 1)
        lines[at] = line[:place]
    elif kind == 7:  # a character for another
        characters = list(line) or [""]
        characters[rng.randrange(len(characters))] = rng.choice(":{}[],&*#?|-<>=!%@`'\"\\ \t\x00x9")
        lines[at] = "".join(characters)
    else:
        lines.insert(at, f"{rng.choice(all_keys()).partition('.')[0]}: {word}")
    return "\n".join(lines) + "\n"


def override(rng: random.Random) -> str:
    """What follows a `--set`."""
    key = rng.choice([*all_keys(), *WORDS, "space.loss.st.weight", "ablation.reference.x", "lr"])
    sign = rng.choice(["=", "=", "=", "=", "", "==", ":"])
    return f"{key}{sign}{rng.choice(WORDS)}"


def first_of(dimension: Dimension) -> Any:
    """A value that a sampler may draw."""
    return dimension.choices[0] if isinstance(dimension, CategoricalDimension) else dimension.low


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A copy of the shipped studies and spaces."""
    for folder in ("studies", "search_spaces"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("*.png"))
    return tmp_path


def said(call: Callable[[], object]) -> str:
    """What a call refuses; empty where it does not."""
    try:
        call()
    except AblateError as error:
        return str(error)
    return ""


@pytest.mark.long
@pytest.mark.timeout(900)
def test_any_file_and_any_override_is_a_study_or_a_few_lines(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository)
    rng = random.Random(0)
    files = sorted([*repository.glob("studies/*.yaml"), *repository.glob("search_spaces/*.yaml")])
    texts = {file: file.read_text() for file in files}
    quick = repository / "studies" / "quickstart.yaml"
    refused = 0
    for number in range(MUTATIONS):
        file, overrides = rng.choice(files), []
        if number % 3 == 2:
            overrides = [override(rng) for _ in range(rng.choice([1, 1, 2]))]
        else:
            text = texts[file]
            for _ in range(rng.choice([1, 1, 2, 4])):
                text = mutated(text, rng)
            content = text.encode("utf-8", "surrogatepass")
            if rng.random() < 0.05:
                content += bytes([rng.randrange(128, 256)])
            file.write_bytes(content)
        study = file if file.parent.name == "studies" else quick

        def check(study: Path = study, overrides: list[str] = overrides) -> None:
            found = place_of_file(study, overrides).study
            assert found is not None
            space = parse_space(found, names_for(found.model.name, study.parent))
            # What is let through can be drawn from, and each point of it is a study.
            values = dict(space.draw(first_of).values)
            space.encode(values)
            found.with_values(values if found.trainable is None else {})

        text = said(check)
        refused += bool(text)
        for line in text.splitlines():
            shown = f"mutation {number}: {len(line)} characters: {line[:300]}"
            assert len(line) <= LONGEST_LINE, shown
        file.write_text(texts[file])
    assert MUTATIONS / 4 < refused < MUTATIONS


def test_any_word_is_a_study_or_a_line(work: Path) -> None:
    for word in WORDS:
        if "\0" in word or word.startswith("/dev"):
            continue
        text = said(lambda word=word: locate(word))
        assert len(text) <= LONGEST_LINE
        assert "\n" not in text


def test_a_study_that_is_not_there_has_a_nearest(work: Path) -> None:
    (work / "runs" / "gradients").mkdir(parents=True)
    (work / "runs" / "gradients" / "run.json").write_text('{"name": "gradients"}')
    (work / "studies").mkdir()
    (work / "studies" / "joint.yaml").write_text("version: 1")
    for asked, near in (
        ("gradients", "runs/gradients"),
        ("run/gradients", "runs/gradients"),
        ("runs/gradint", "runs/gradients"),
        ("runs/joint", "studies/joint.yaml"),
    ):
        text = said(lambda asked=asked: locate(asked))
        assert text.endswith(f"not recognised. Did you mean {near}?")
    assert said(lambda: locate("runs/nothing_like_it")).endswith("Check the path.")

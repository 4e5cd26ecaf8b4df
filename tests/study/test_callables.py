"""What a study names as `package.module:callable`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ablate.errors import ParameterError
from ablate.study.callables import code_digest, import_callable, import_current, own_types

Write = Callable[[str, str], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a module beside the study and gives its name."""

    def make(name: str, text: str) -> str:
        file = tmp_path / f"{name.replace('.', '/')}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        return name

    return make


def message(spec: str, base: Path | None = None) -> str:
    with pytest.raises(ParameterError) as error:
        import_callable("model.name", spec, base)
    text = str(error.value)
    assert "\n" not in text
    return text


def test_an_installed_module() -> None:
    assert import_callable("model.name", "pathlib:Path", None) is Path
    assert import_callable("model.name", "pathlib:Path.cwd", None)() == Path.cwd()


def test_a_module_beside_the_study(write: Write, tmp_path: Path) -> None:
    write("beside_one", "def make():\n    return 'made'\n")
    path = list(sys.path)
    assert import_callable("model.name", "beside_one:make", tmp_path)() == "made"
    assert sys.path == path
    assert import_callable("model.name", "beside_one:make", None)() == "made"


def test_two_studies_may_have_a_module_of_one_name(tmp_path: Path) -> None:
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "namesake.py").write_text(f"def make():\n    return {folder!r}\n")
    for folder in ("one", "other", "one"):
        assert import_callable("model.name", "namesake:make", tmp_path / folder)() == folder


def test_what_is_installed_goes_first(write: Write, tmp_path: Path) -> None:
    write("statistics", "def mean(values):\n    return 'beside'\n")
    assert import_callable("model.name", "statistics:mean", tmp_path)([1, 3]) == 2


@pytest.mark.parametrize("spec", ["nets", "nets:", ":make", "a b:make", "nets:make it", "a..b:c"])
def test_another_form(spec: str) -> None:
    assert message(spec) == (
        f"model.name: must be package.module:callable, got {spec!r}. "
        "Write the module, a colon and the callable's name."
    )


def test_no_such_module(tmp_path: Path) -> None:
    assert message("nowhere.nets:make") == (
        "model.name: must name a module that can be imported, got 'nowhere.nets:make' and no "
        "module nowhere. Install it."
    )
    assert message("nowhere.nets:make", tmp_path) == (
        "model.name: must name a module that can be imported, got 'nowhere.nets:make' and no "
        f"module nowhere. Install it or put nowhere/nets.py into {tmp_path}."
    )


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("raise ValueError('two\\nlines')\n", "ValueError: two lines"),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
        ("def make(:\n", "SyntaxError: invalid syntax (broken_one.py, line 1)"),
    ],
)
def test_an_import_that_fails(write: Write, tmp_path: Path, text: str, got: str) -> None:
    write("broken_one", text)
    assert message("broken_one:make", tmp_path) == (
        f"model.name: broken_one must be importable, got {got}. "
        "Fix it: python -c 'import broken_one'."
    )


def test_no_such_callable(write: Write, tmp_path: Path) -> None:
    write("beside_two", "def make_net():\n    pass\n")
    assert message("beside_two:make_nets", tmp_path) == (
        "model.name: beside_two must have make_nets, got a module without it "
        f"({tmp_path / 'beside_two.py'}). Did you mean make_net?"
    )


# -- The code of a callable -------------------------------------------------------------------


def digest(name: str, base: Path) -> str:
    return code_digest("augment.types", name, base)


def test_code_is_that_of_the_modules_of_its_folder_and_package(
    write: Write, tmp_path: Path
) -> None:
    write("code_of.__init__", "")
    write("code_of.below", "VALUE = 1\n")
    write("beside_code", "SIZE = 1\n")
    write("unused_code", "SIZE = 1\n")
    write("code_of.top", "import json\nfrom .below import VALUE\nfrom beside_code import SIZE\n")
    (tmp_path / "code_of" / "top.py").open("a").write(
        "def make():\n    import unused_code\n    return VALUE, SIZE\n"
    )
    write("shown_code", "from code_of.top import make\nfrom beside_code import SIZE\n")
    for name in ("shown_code:make", "code_of.top:make"):
        first = digest(name, tmp_path)
        assert len(first) == 64
        write("unused_code", "SIZE = 2\n")
        assert digest(name, tmp_path) == first  # it is imported by the call
    names = ("code_of.below", "beside_code", "shown_code")
    for number, changed in enumerate(names):
        name = "shown_code:make"
        before = digest(name, tmp_path)
        file = tmp_path / f"{changed.replace('.', '/')}.py"
        text = file.read_text()
        file.write_text(f"{text}# {number}\n")
        # What the package imports from beside it is outside of it.
        assert digest(name, tmp_path) != before, changed
        file.write_text(text)
        assert digest(name, tmp_path) == before


def test_an_edited_module_is_imported_again_with_what_it_uses(write: Write, tmp_path: Path) -> None:
    write("edited_tools", "VALUE = 1\n")
    write("edited_top", "from edited_tools import VALUE\ndef make():\n    return VALUE\n")

    def made() -> int:
        return int(import_current("augment.types", "edited_top:make", tmp_path)())

    assert (made(), made()) == (1, 1)
    write("edited_tools", "VALUE = 222\n")
    assert made() == 222


def test_the_types_that_a_study_names() -> None:
    data = {
        "augment": {"types": ["jpeg", "a:one"], "families": ["noise"], "strengths": {"a:one": 1}},
        "model": {"name": "nets:make"},
        "space": {"augment.families": {"subset": ["blur", "b.c:two"]}, "x": {"choice": ["no:no"]}},
        "ablation": {"stop": {"confirm": {"suite": ["fog", "d:three"]}}},
        "robustness": {"suite": "all"},
    }
    assert list(own_types(data)) == [
        (("augment", "types", 1), "augment.types", "a:one"),
        (("space", "augment.families", "subset", 1), "augment.families", "b.c:two"),
        (("ablation", "stop", "confirm", "suite", 1), "confirm.suite", "d:three"),
    ]

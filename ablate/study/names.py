"""Names that a study uses and other packages own: models, losses, layers, metrics and so on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from ablate.errors import UsageError, did_you_mean
from ablate.study.document import Document, Path, show
from ablate.study.keys import BY_NAME, all_keys

# By dotted key, the names that exist; a key without any is not checked.
KnownNames = Mapping[str, Sequence[str]]

# The names for a study of this model: its layers are its own.
NamesFor = Callable[[str], KnownNames]

_NOUNS = {
    "dataset.name": "data set",
    "model.name": "model",
    "augment.families": "family",
    "finetune.frozen": "layer",
}
# A key whose list is of other names than its text is.
LISTED = {"robustness.suite": "robustness.corruptions"}
# Keys of the items of a list.
_OF_ITEMS = ("objectives.metric", "constraints.metric")
# Values of a key that are not names.
_WORDS = {"loss.fma.layers": ("taps", "last")}


class OpenNames(Sequence[str]):
    """Listed names, and others that can only be checked individually.

    Args:
        listed: computed on first use; the value of `taps` or of an enumeration.
        accepts: whether a name that is not listed exists.
        others: names similar to an unknown one, for the message.
        refusal: why an existing name cannot be used, as `rule, got X. Fix.`, or None.

    Attributes:
        failure: why the names could not be determined, as `KEY: rule, got X. Fix.`, or empty.  Then
            every name is accepted, and the failure is reported once (`refuse_failures`).
    """

    def __init__(
        self,
        listed: Callable[[], Sequence[str]],
        accepts: Callable[[str], bool],
        others: Callable[[str], Sequence[str]] = lambda _: (),
        refusal: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self._list = listed
        self._accepts = accepts
        self.others = others
        self.refusal = refusal
        self.failure = ""

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        try:
            return name in self._listed or self._accepts(name) or bool(self.failure)
        except UsageError as error:
            self.failure = str(error)
            return True

    def __getitem__(self, place: Any) -> Any:
        return self._listed[place]

    def __len__(self) -> int:
        return len(self._listed)

    @cached_property
    def _listed(self) -> tuple[str, ...]:
        try:
            return tuple(self._list())
        except UsageError as error:
            self.failure = str(error)
            return ()


class ImportedNames(OpenNames):
    """Names that are imported.

    Args:
        refusal: why a name cannot be imported, as `rule, got X. Fix.`, or None.
    """

    def __init__(self, refusal: Callable[[str], str | None]) -> None:
        super().__init__(lambda: (), lambda name: refusal(name) is None, refusal=refusal)


def nearest(name: str, known: Sequence[str]) -> str:
    """The fix for an unknown name, from all that there are."""
    others = known.others(name) if isinstance(known, OpenNames) else ()
    outer_first = sorted(others, key=lambda one: one.count("."))  # the modules before their parts
    return did_you_mean(name, [*dict.fromkeys([*known, *outer_first])])


def name_rules(key: str, value: Any, names: KnownNames) -> Iterator[tuple[Path, str]]:
    """The unknown names in a value.

    Args:
        key: dotted key of the study.
        value: of that key; values of another type are skipped.
        names: known names by dotted key.

    Yields:
        The path below the value, and `rule, got X. Fix.`
    """
    if key == "loss.terms" and isinstance(value, str):
        yield from (((), rule) for rule in _term_rules(value, names.get(key)))
        return
    if key in LISTED and isinstance(value, list | tuple):
        key = LISTED[key]
    known = names.get(key)
    if isinstance(known, OpenNames) and isinstance(value, str):
        rule = known.refusal(value)
        if rule is not None:
            yield (), rule
            return
    if isinstance(known, ImportedNames):
        return
    if value in _WORDS.get(key, ()):
        return
    if key in BY_NAME:
        entries = value if isinstance(value, dict) else {}
        found: Iterable[tuple[Path, str]] = (((name,), name) for name in entries)
    else:
        found = _named(value)
    kinds = [kind for kind in BY_NAME.get(key, (key,)) if _has_names(names.get(kind))]
    if not kinds:
        return
    for path, name in found:
        if not any(name in names[kind] for kind in kinds):
            every = [other for kind in kinds for other in names[kind]]
            noun = " or ".join(_noun(kind) for kind in kinds)
            fix = nearest(name, names[kinds[0]] if len(kinds) == 1 else every)
            yield path, f"unknown {noun}, got {show(name)}. {fix}"


def check_names(document: Document, names: KnownNames, refused: set[Path]) -> set[Path]:
    """Report every unknown name in a study's data.

    Args:
        refused: paths that the schema refused, which are skipped.

    Returns:
        The paths of the unknown names.
    """
    unknown: set[Path] = set()
    for key in dict.fromkeys([*names, *BY_NAME, "loss.terms"]):
        path = tuple(key.split("."))
        if key in _OF_ITEMS:
            items = document.get(path[:-1])
            count = len(items) if isinstance(items, list) else 0
            paths: list[Path] = [(*path[:-1], i, *path[-1:]) for i in range(count)]
        else:
            paths = [path]
        for at in paths:
            for below, rule in name_rules(key, document.get(at), names):
                where = at + below
                if not any(where[: len(path)] == path for path in refused):
                    document.refuse(where, rule)
                    unknown.add(where)
    return unknown


def refuse_failures(document: Document, names: KnownNames) -> None:
    """Report once why names could not be determined, for example because a network cannot be
    built."""
    seen: set[str] = set()  # keys may share their names
    for key, known in names.items():
        if isinstance(known, OpenNames) and known.failure and known.failure not in seen:
            seen.add(known.failure)
            where, _, rule = known.failure.partition(": ")
            at, rule = (where, rule) if where in all_keys() else (key, known.failure)
            document.refuse(tuple(at.split(".")), rule)


def _has_names(known: Sequence[str] | None) -> bool:
    return bool(known) or (isinstance(known, OpenNames) and bool(known.failure))


def _term_rules(terms: str, known: Sequence[str] | None) -> Iterator[str]:
    parts = terms.split("+")
    if "" in parts:
        yield f"empty term, got {show(terms)}. Join terms with one +, such as clean+fma."
    for term in dict.fromkeys(part for part in parts if part):
        if known is not None and term not in known:
            yield f"unknown term, got {show(term)}. {did_you_mean(term, known)}"
        elif parts.count(term) > 1:
            yield f"term given twice, got {show(terms)}. Name {term} once."


def _named(value: Any) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield (), value
    elif isinstance(value, list | tuple):
        yield from (((i,), item) for i, item in enumerate(value) if isinstance(item, str))


def _noun(key: str) -> str:
    return _NOUNS.get(key, key.rpartition(".")[2].removesuffix("s"))

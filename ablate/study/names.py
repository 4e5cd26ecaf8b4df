"""Names that a study uses and other packages own: models, losses, layers, metrics and so on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from ablate.errors import UsageError, did_you_mean
from ablate.study.document import Finding, Path, get, show
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
    "baseline.frozen": "layer",
}
# A key whose list is of other names than its text is.
_CORRUPTIONS = "robustness.corruptions"
LISTED = {"robustness.suite": _CORRUPTIONS, "ablation.stop.confirm.suite": _CORRUPTIONS}
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
            every name is accepted, and the failure is reported once (`failures`).
    """

    def __init__(
        self,
        listed: Callable[[], Sequence[str]] = tuple,
        accepts: Callable[[str], bool] = lambda _: True,
        others: Callable[[str], Sequence[str]] = lambda _: (),
        refusal: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self._list, self._accepts = listed, accepts
        self.others, self.refusal = others, refusal
        self.failure = ""

    def __contains__(self, name: object) -> bool:
        try:
            return name in self._listed or self._accepts(str(name)) or bool(self.failure)
        except UsageError as error:
            self.failure = str(error)
            return True

    def __getitem__(self, index: Any) -> Any:
        return self._listed[index]

    def __len__(self) -> int:
        return len(self._listed)

    @cached_property
    def _listed(self) -> tuple[str, ...]:
        try:
            return tuple(self._list())
        except UsageError as error:
            self.failure = str(error)
            return ()


def name_rules(key: str, value: Any, names: KnownNames) -> Iterator[Finding]:
    """The unknown names in a value; paths are below the value.

    Args:
        key: dotted key of the study.
        value: of that key; values of another type are skipped.
        names: known names by dotted key.
    """
    if key == "loss.terms" and isinstance(value, str):
        yield from (Finding((), rule) for rule in _term_rules(value, names.get(key)))
        return
    if isinstance(value, list | tuple):
        key = LISTED.get(key, key)
    known = names.get(key)
    if isinstance(known, OpenNames) and isinstance(value, str) and (rule := known.refusal(value)):
        yield Finding((), rule)
        return
    kinds = [kind for kind in BY_NAME.get(key, (key,)) if names.get(kind)]
    if not kinds or value in _WORDS.get(key, ()):
        return
    for path, name in _named(key, value):
        if not any(name in names[kind] for kind in kinds):
            listed = [known_name for kind in kinds for known_name in names[kind]]
            first = names[kinds[0]]
            others = first.others(name) if isinstance(first, OpenNames) else ()
            # The modules before their parts.
            others = sorted(others, key=lambda module: module.count("."))
            fix = did_you_mean(name, [*dict.fromkeys([*listed, *others])])
            nouns = (_NOUNS.get(kind, kind.rpartition(".")[2].removesuffix("s")) for kind in kinds)
            yield Finding(path, f"unknown {' or '.join(nouns)}, got {show(name)}. {fix}")


def unknown_names(data: Any, names: KnownNames) -> Iterator[Finding]:
    """Every unknown name in a study's data, as written."""
    for key in dict.fromkeys([*names, *BY_NAME, "loss.terms"]):
        path: Path = tuple(key.split("."))
        paths = [path]
        if key in _OF_ITEMS:
            items = get(data, path[:-1])
            count = len(items) if isinstance(items, list) else 0
            paths = [(*path[:-1], i, path[-1]) for i in range(count)]
        for at in paths:
            for below, rule in name_rules(key, get(data, at), names):
                yield Finding(at + below, rule)


def failures(names: KnownNames) -> Iterator[Finding]:
    """Why names could not be determined, for example because a network cannot be built; once."""
    texts: dict[str, str] = {}  # keys may share their names
    for key, known in names.items():
        if isinstance(known, OpenNames) and known.failure:
            texts.setdefault(known.failure, key)
    for text, key in texts.items():
        where, _, rule = text.partition(": ")
        at, rule = (where, rule) if where in all_keys() else (key, text)
        yield Finding(tuple(at.split(".")), rule)


def _term_rules(terms: str, known: Sequence[str] | None) -> Iterator[str]:
    parts = terms.split("+")
    if "" in parts:
        yield f"empty term, got {show(terms)}. Join terms with one +, such as clean+fma."
    for term in dict.fromkeys(part for part in parts if part):
        if known is not None and term not in known:
            yield f"unknown term, got {show(term)}. {did_you_mean(term, known)}"
        elif parts.count(term) > 1:
            yield f"term given twice, got {show(terms)}. Name {term} once."


def _named(key: str, value: Any) -> Iterable[tuple[Path, str]]:
    """The names in a value: its keys, its items or itself."""
    if key in BY_NAME:
        return [((name,), name) for name in value] if isinstance(value, dict) else []
    if isinstance(value, str):
        return [((), value)]
    items = enumerate(value if isinstance(value, list | tuple) else ())
    return [((i,), item) for i, item in items if isinstance(item, str)]

"""Every number of an answer, recomputed from the ledgers of recorded studies.

`ledgers/*.sql.xz` are dumps of the ledgers of real runs, without their leases and with other names
of folders and machines. On two CPU cores with Python 3.11, torch 2.13, torchvision 0.28, optuna
5.0, ray 2.60 and numpy 2.4:

    quickstart           ablate launch studies/quickstart.yaml; ablate confirm quickstart --seeds 5
                         at commit a137a59: a search of 16 trials, and its confirmed front
    ablation_quickstart  ablate launch studies/ablation_quickstart.yaml, at commit 7337473
    cifar10_arms         DA, ST, FMA and DA+FMA over 8 seeds of 24,000 images, with the networks
                         between them and one baseline (CIFAR-10, resnet20); its settings are in
                         the ledger, its commit is not known
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest
from example_results import images_right
from recompute import ADDED_IMAGES
from recomputed_arms import CLEAN, ROBUST, Arms, Name, Triple, counts, told
from scipy import stats

from ablate.ablation.design import COMBINED_DA
from ablate.ablation.study_source import StudySource
from ablate.ledger.record import StudyRecord
from ablate.lifecycle.open_study import OpenStudy, read_bits, read_outcomes
from ablate.report.answer import study_answer
from ablate.robustness.bits import Scored

MOST = (
    "Most of the gain comes from training on distorted copies{}, without FMA or ST ({}). "
    "Compared with that"
)
BY = "changes by (95 % intervals)"


def verdict(of: Triple, n: int, *, loses: bool) -> str:
    """Of a difference that was not declared."""
    if of[1] < 0 < of[2] or abs(of[0]) * n <= 1:
        return ", no difference is shown"
    if of[0] < 0:
        return ", less robust"
    return ", more robust" + " and a clean loss is not excluded" * loses


# -- a search: one training a point, so the images alone vary


@dataclass(frozen=True)
class Search:
    """A search; `scored`: trials by number, and "baseline" and "plain"."""

    record: StudyRecord
    scored: Mapping[Name, Scored]

    def right(self, name: Name, metric: str) -> np.ndarray:
        return images_right(self.scored[name].bits, self.scored[name].scores, metric)

    def value(self, name: Name, metric: str = ROBUST) -> float:
        return float(self.right(name, metric).mean())

    def less(self, one: Name, other: Name, metric: str = ROBUST, pairs: int = 1) -> Triple:
        """Mean and interval over images, with the added images of `ADDED_IMAGES`."""
        bits = self.right(one, metric) - self.right(other, metric)
        n, mean, squares = len(bits), bits.mean(), (bits**2).sum()
        size = (bits**4).sum() / squares if squares else 1.0
        variance = (squares - n * mean**2 + ADDED_IMAGES * size) / (n + ADDED_IMAGES - 1)
        half = stats.t.isf(0.025 / pairs, n - 1) * math.sqrt(variance / n)
        return mean, mean - half, mean + half

    def bests(self) -> dict[str, Name]:
        """The most robust trial of each set of terms that keeps clean accuracy, the most robust
        set first; here each set has one."""
        margin = self.record.study.answer.clean_margin
        found: dict[str, Name] = {}
        order = sorted(self.record.complete, key=lambda row: -self.value(row.number))
        for row in order:
            loss = self.value("baseline", CLEAN) - self.value(row.number, CLEAN)
            if loss <= margin + 1e-9:
                found.setdefault(self.record.loss_terms(row), row.number)
        assert {*found} == {*map(self.record.loss_terms, self.record.complete)}
        return found

    def first(self, split: str = "validation") -> str:
        best = next(iter(self.bests().values()))
        pairs = [(self.value("baseline", one), self.value(best, one)) for one in (ROBUST, CLEAN)]
        loss = self.less(best, "baseline", CLEAN)
        is_open = loss[1] <= 0 <= loss[2] and loss[0] != 0
        chance = f" (the {'loss' if loss[0] < 0 else 'gain'} may be chance)" * bool(is_open)
        return counts(split, *pairs) + chance  # type: ignore[arg-type]

    def part(self) -> str:
        """FMA and ST over data augmentation alone, at a level for all pairs of sets."""
        bests = self.bests()
        pairs = math.comb(len(bests), 2)
        parts = []
        for term, other in (("fma", "st"), ("st", "fma")):
            having = [terms for terms in bests if term in terms.split("+")]
            alone = [terms for terms in having if other not in terms.split("+")]
            terms = (alone or having)[0]
            robust, clean = (
                self.less(bests[terms], bests["clean+da"], one, pairs) for one in (ROBUST, CLEAN)
            )
            words = term.upper() + " with DA" * ("da" in terms.split("+"))
            loses = not clean[1] > -self.record.study.answer.clean_margin
            n = len(self.right("baseline", ROBUST))
            parts.append(f"{words} {told(robust)}{verdict(robust, n, loses=loses)}")
        return "; ".join(parts)


def recorded_search(study: OpenStudy) -> Search:
    bits, of_references = read_bits(study.place)
    scored: dict[Name, Scored] = {
        row.number: Scored(row.scores, bits[row.number]["val"])  # type: ignore[arg-type]
        for row in study.record.complete
    }
    for name, scores in study.record.references.items():
        scored[name] = Scored(scores, of_references[name]["val"])
    return Search(study.record, scored)


def test_every_number_of_the_quickstart(recorded: Callable[[str], OpenStudy]) -> None:
    study = recorded("quickstart")
    search = recorded_search(study)
    first, part, once = study_answer(
        replace(study.source, confirmation=None, confirming=None)
    ).sentences
    best = next(iter(search.bests().values()))
    assert first.startswith(f"Take trial {best} (")
    assert first.endswith(f": {search.first()}.")
    assert part.endswith(f"on the validation images, robust accuracy {BY}: {search.part()}.")
    assert f"the best of {len(search.record.complete)} trials" in once


# -- an ablation


def check_ablation(arms: Arms, source: StudySource, methods: list[str], to: str) -> None:
    """Args: methods: that are shown, in order; to: the reference."""
    first, part, *_ = study_answer(source).sentences
    taken = first.removeprefix("Take ").partition(":")[0].partition(",")[0]
    others = [one.name for one in source.ablation.arms if not one.is_one_network]  # type: ignore[union-attr]
    margin = arms.record.study.answer.clean_margin
    kept = [one for one in others if arms.mean("baseline", CLEAN) - arms.mean(one, CLEAN) <= margin]
    assert taken == max(kept or others, key=lambda one: arms.mean(one, ROBUST))
    both = [(arms.mean("baseline", one), arms.mean(taken, one)) for one in (ROBUST, CLEAN)]
    assert counts("validation", *both) in first
    claims = {(arm, ref): (of, p, metric) for (arm, ref, metric), (of, p) in arms.claims().items()}
    texts = []
    for arm in methods:
        of, p, metric = claims[arm, to]
        assert metric == ROBUST
        said = "more robust" if of[0] > 0 else "less robust"
        said = "not shown to differ" if p >= 0.05 else said
        if (declared := arms.record.study.ablation_section.noninferior) is not None:
            lost = -arms.less(arm, to, declared.metric).bounds()[0]
            is_kept = lost < declared.margin
            said += " and clean " + (
                f"accuracy is kept compared with {to}" if is_kept else "loss is not excluded"
            )
        texts.append(f"{arm} {told(of)}, {said}")
    assert f"{BY}: {'; '.join(texts)}" in part
    is_any = any(p < 0.05 for arm, (_, p, _) in ((arm, claims[arm, to]) for arm in methods))
    assert part.startswith("No claim is supported. ") is not is_any


@pytest.mark.parametrize(
    ("name", "methods", "to"),
    [
        ("ablation_quickstart", ["DA+FMA+CA", "ST+CA"], "DA+CA"),
        ("defaults_methods_cifar10_12", ["DA+FMA", "ST"], "DA"),
    ],
)
def test_every_number_of_a_recorded_ablation(
    name: str, methods: list[str], to: str, recorded: Callable[..., OpenStudy]
) -> None:
    study = recorded(name, "_interpolated")  # a metric of an earlier version
    bits, of_references = read_bits(study.place)
    arms = Arms(study.record, {**bits, **of_references})
    check_ablation(arms, study.source, methods, to)
    assert (
        MOST.format(" of several types" * (to == "DA+CA"), to)
        in study_answer(study.source).sentences[1]
    )


def test_a_method_that_was_not_declared_against_the_reference(
    recorded: Callable[[str], OpenStudy],
) -> None:
    """FMA+CA is declared against plain; over DA+CA it is compared all the same."""
    study = recorded("ablation_quickstart")
    bits, of_references = read_bits(study.place)
    expected = Arms(study.record, {**bits, **of_references}).triple("FMA+CA", "DA+CA")
    info = study.source.ablation
    assert info is not None
    assert info.compare is not None
    found = info.compare("FMA+CA", "DA+CA", ROBUST, 0.95)
    assert (found.mean, found.low, found.high) == pytest.approx(expected, abs=1e-9)


# -- a confirmed front


def test_every_number_of_the_confirmed_quickstart(recorded: Callable[[str], OpenStudy]) -> None:
    study = recorded("quickstart")
    record, bits, of_references = read_outcomes(study.place.confirmation)
    arms = Arms(record, {**bits, **of_references}, "test")
    first, part, _ = study_answer(study.source).sentences
    both = [(arms.mean("baseline", one), arms.mean("trial 3", one)) for one in (ROBUST, CLEAN)]
    assert first.startswith(f"Take trial 3 (FMA with DA, on stage3): {counts('test', *both)}")
    loss = arms.triple("trial 3", "baseline", CLEAN, level=1 - 0.05 / 4)
    assert ("may be chance" in first) is bool(loss[1] <= 0 <= loss[2])
    validation = Arms(record, {**bits, **of_references})
    search = recorded_search(study)
    luck = [search.value(3) - one for one in validation.table("trial 3", ROBUST).mean(axis=1)]
    half = stats.t.isf(0.025, len(luck) - 1) * np.std(luck, ddof=1) / math.sqrt(len(luck))
    assert ("no sign that the search was lucky" in first) is bool(np.mean(luck) - half <= 0)
    n = arms.table("plain", ROBUST).shape[1]
    texts = []
    for name, words in (("trial 3", "FMA with DA"), ("trial 6", "ST")):
        of = arms.triple(name, COMBINED_DA, level=1 - 0.05 / 4)
        texts.append(f"{words} {told(of)}{verdict(of, n, loses=False)}")
    assert part == (
        f"{MOST.format(' of several types', 'DA+CA')}, on the test images, robust accuracy {BY}: "
        f"{'; '.join(texts)}."
    )
    gains = [arms.mean(one, ROBUST) for one in ("baseline", COMBINED_DA, "trial 3")]
    assert gains[1] - gains[0] > (gains[2] - gains[0]) / 2

"""What the trials of a study share: data, baseline, corrupted images, each prepared once.

A workbench is reused between trials; trials do not modify it, so a reused worker gives the same
bits as a new one.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from ablate.data.dataset import Dataset, Split, TrainingImages, draw_stratified, take_fraction
from ablate.data.load import load_dataset, scan_files
from ablate.data.scan import FolderScan
from ablate.distortion.own import check_contract
from ablate.errors import FingerprintError, ParameterError
from ablate.files.cache import DamagedError
from ablate.files.shown import show_name
from ablate.finetune.baseline import Baseline, load_baseline, obtain_baseline
from ablate.finetune.loop import EpochReport
from ablate.finetune.loss.fma import check_layers
from ablate.finetune.loss.objective import RobustLoss, build_loss
from ablate.model.build import own_image_size
from ablate.model.environment import Environment, environment_of
from ablate.model.modes import adaptable_norms
from ablate.model.normalization import carried_statistics, channels_of
from ablate.model.taps import layer_names
from ablate.model.weights.preprocessing import unstated_sizes, weights_notes
from ablate.robustness.bits import Scored, kept_scores, pack_bits
from ablate.robustness.corruption.frost import FrostPhotographs, load_frost
from ablate.robustness.evaluation_set import EvaluationSet
from ablate.robustness.measures import measure_network
from ablate.robustness.score import CorruptedImages, fewer_images, score_set
from ablate.robustness.sparse import dealing_order, images_of_cells
from ablate.robustness.suites import Suite, cells_rule, exposures, find_suite
from ablate.study.baseline_checks import guess_rule
from ablate.study.callables import code_digest, is_callable_name, own_types
from ablate.study.checks import no_batch_norm
from ablate.study.interpolation import accuracies
from ablate.study.keys import searched
from ablate.study.metrics import is_by_image
from ablate.study.preparation import OnStep, PreparationStep, Preprocessing, ignore_step
from ablate.study.scores import Scores
from ablate.study.settings import Study, path_from
from ablate.trial.task import Prepared

_IMAGE_SIZE = 32
"""Default input size in pixels, if neither study nor network defines one."""

_KEPT = 4
"""Number of workbenches kept per process: more than one only if the space contains keys of data,
model or baseline."""


class Workbench:
    """Data, baseline and corrupted images of a study, each prepared on first use.

    Args:
        study: defines them in `dataset`, `model`, `baseline` and `robustness`.
        base: folder that the study's relative paths start from.
        cache: folder shared with other studies and processes.
        environment: for training and scoring.
        baseline_threads: torch threads for training the baseline; None: those of a trial.
    """

    _kept: ClassVar[OrderedDict[tuple[str, Path, Path, int | None], Workbench]] = OrderedDict()

    def __init__(
        self,
        study: Study,
        base: Path,
        cache: Path,
        environment: Environment,
        baseline_threads: int | None = None,
    ) -> None:
        self.study = study
        self.base = base
        self.cache = cache
        self.environment = environment
        self.baseline_threads = baseline_threads
        self._on_step: OnStep = ignore_step
        self.suite = find_suite(study.robustness.suite, base)
        self._frost: FrostPhotographs | None = None
        self._sets: dict[object, EvaluationSet] = {}
        self._baseline_scored: dict[int | None, Scored] = {}

    @classmethod
    def get(
        cls,
        study: Study,
        base: Path,
        cache: Path,
        *,
        baseline_threads: int | None = None,
        fresh: bool = False,
    ) -> Workbench:
        """The existing workbench of this process for the study, or a new one.

        Args:
            baseline_threads: of torch while the baseline is trained; None: those of a trial.
            fresh: make a new one, because the data on disk may have changed.

        Its environment follows the study's `run` section.

        Raises:
            ResourceError: if torch sees no GPU where one is asked for.
        """
        key = (study.model_dump_json(), base, cache, baseline_threads)
        kept = None if fresh else cls._kept.pop(key, None)
        if kept is None:
            kept = cls(study, base, cache, environment_of(study.run), baseline_threads)
        cls._kept[key] = kept
        while len(cls._kept) > _KEPT:
            cls._kept.popitem(last=False)
        return kept

    def fitting(self, study: Study) -> Workbench:
        """This workbench, or the one for the data, model and baseline of `study`."""
        sections = ("model", "baseline", "robustness")
        update: dict[str, Any] = {section: getattr(study, section) for section in sections}
        # Finetuning on fewer images changes nothing that is shared.
        fraction = self.study.dataset.train_fraction
        update["dataset"] = study.dataset.model_copy(update={"train_fraction": fraction})
        if all(value == getattr(self.study, section) for section, value in update.items()):
            return self
        other = self.study.model_copy(update=update)
        return Workbench.get(other, self.base, self.cache, baseline_threads=self.baseline_threads)

    @property
    def image_size(self) -> int:
        """Input size of the network in pixels."""
        return self.study.dataset.image_size or own_image_size(self.study.model) or _IMAGE_SIZE

    @cached_property
    def dataset(self) -> Dataset:
        size = self.image_size
        found = load_dataset(self.study.dataset, self.base, self.cache, image_size=size)
        if self.study.search.pruner is not None:
            self.study.search.pruner.check_images(len(found.validation))
        if rule := cells_rule(self.study, len(found.validation)):
            raise ParameterError(f"robustness.cells: {rule}")
        return found

    @cached_property
    def baseline(self) -> Baseline:
        threads, total = self.baseline_threads, self.study.baseline.epochs
        if threads is None or self.environment.device != "cpu":
            threads = self.environment.threads

        def say(report: EpochReport) -> None:
            rate = report.images / report.seconds if report.seconds else None
            left = report.seconds * (total - report.epoch)
            what = "training the baseline"
            self._on_step(PreparationStep(what, report.epoch, total, "epochs", rate, left))

        try:
            return obtain_baseline(
                self.dataset,
                self.study.dataset,
                self.study.model,
                self.study.baseline,
                environment=replace(self.environment, threads=threads),
                cache=self.cache,
                base=self.base,
                on_epoch=say,
                checkpoint_seconds=self.study.run.checkpoint_seconds,
            )
        finally:
            self.environment.apply()  # training has set its own threads

    def score_baseline(self, images: int | None = None) -> Scored:
        """Scores of the baseline on the validation split, or on a number of its images; once."""
        if images not in self._baseline_scored:
            about: Any = {"images": images, "train_seconds": self.baseline.train_seconds}
            scored = self.score(self.build_baseline(), **about)
            if self.study.asks_at_clean_loss:  # which it has not lost
                own = replace(scored.scores, at_clean_loss=accuracies(scored.scores))
                scored = replace(scored, scores=own)
            self._baseline_scored[images] = scored
        return self._baseline_scored[images]

    def frost_for(self, suite: Suite) -> FrostPhotographs | None:
        """The photographs that the study names, if the suite contains frost."""
        folder = self.study.robustness.frost_images
        if folder is None or "frost" not in suite.types:
            return None
        if self._frost is None:
            self._frost = load_frost(path_from(self.base, folder))
        return self._frost

    @cached_property
    def evaluation_set(self) -> EvaluationSet:
        """The corrupted validation images."""
        severities = self.study.robustness.severities
        return self._evaluation_set(self.dataset.validation, self.suite, severities)

    @cached_property
    def test_split(self) -> Split:
        """The test images, only for a confirmation."""
        return self.dataset.test()

    def _evaluation_set(
        self, split: Split, suite: Suite, severities: Sequence[int]
    ) -> EvaluationSet:
        """Corrupted copies of a split, or of a number of its images; made once."""
        key = (split is self.dataset.validation, suite.name, suite.types, tuple(severities))
        if key not in self._sets:
            robustness, places = self.study.robustness, self.corrupted_places(split)
            images = split if places is None else split.take(places)
            frost, seed = self.frost_for(suite), robustness.seed
            made = EvaluationSet(images, suite, tuple(severities), seed, self.cache, frost)
            self._sets[key] = made.stored_up_to(robustness.stored_gb)
        return self._sets[key]

    def _test_set(self, test: Mapping[str, Any]) -> EvaluationSet:
        suite, severities = find_suite(test["suite"], self.base), test["severities"]
        return self._evaluation_set(self.test_split, suite, severities)

    def corrupted_places(self, split: Split) -> torch.Tensor | None:
        """Indices of the images in each corrupted copy; None: all of the split."""
        robustness = self.study.robustness
        if robustness.images is None or robustness.images >= len(split):
            return None
        return draw_stratified(split.labels, robustness.images, robustness.seed)

    def _dealt(self, split: Split) -> np.ndarray:
        """Indices of a split, first of the corrupted images, as they are dealt cells."""
        every = np.arange(len(split))
        places = self.corrupted_places(split)
        own = every if places is None else places.numpy()
        order = dealing_order(split.labels.numpy()[own], self.study.robustness.seed)
        return np.concatenate([own[order], np.setdiff1d(every, own)])

    def build_baseline(self) -> nn.Module:
        """A new network with the baseline's weights, on the CPU.

        Weights that were damaged or removed meanwhile are retrained.

        Raises:
            FingerprintError: if retraining gives other bits.
        """
        try:
            return self._load_baseline()
        except DamagedError:
            before = self.__dict__.pop("baseline").sha256
        if self.baseline.sha256 != before:
            raise FingerprintError(
                f"{self.baseline.path}: the baseline must have the weights that the study started "
                "with, got different ones: the file was damaged, and retraining gave different "
                "weights. Restore it from a backup, or launch under another name."
            )
        return self._load_baseline()

    def _load_baseline(self) -> nn.Module:
        return load_baseline(self.baseline, self.dataset, self.study.model, base=self.base)

    def finetuning_images(self, study: Study, loss: RobustLoss) -> TrainingImages:
        """The images for finetuning.

        Unlabelled images, if there are any and the objective needs no labels; the plain finetune
        needs labels, so it uses the training images.
        """
        train, unlabeled = self.dataset.train, self.dataset.unlabeled
        images = train if unlabeled is None or loss.needs_labels else unlabeled
        settings = study.dataset
        return take_fraction(images, settings.train_fraction, settings.validation.seed)

    def prepare(
        self,
        on_step: OnStep = ignore_step,
        *,
        cores: int | None = None,
        test: Mapping[str, Any] | None = None,
    ) -> Prepared:
        """Prepare everything that the trials share, or find it in the cache.

        Args:
            on_step: called with each step.
            cores: as `Worker.prepare` has it.
            test: suite and severities that the test images are scored under; None: they stay shut.

        Raises:
            DataError: if the data set is missing or inconsistent.
            ParameterError: if a layer that a trial may use cannot be read, a distance compares more
                images than a batch has, or rungs have too many images.
            UsageError: if the cache cannot be written.
        """
        study = self.study

        def corrupt(what: str, copies: EvaluationSet) -> None:
            """Generate them, unless they are intact in the cache."""
            what = f"corrupting the {what} images"
            if cores is not None:
                copies.make_all(
                    cores,
                    lambda done, total: on_step(PreparationStep(what, done, total, "copies")),
                )
            on_step(PreparationStep(f"{what} and scoring the baseline"))

        self._on_step = on_step
        self.environment.apply()
        on_step(PreparationStep("reading the data"))
        scan, skips = self.scan_files(on_step), study.dataset.skip_unreadable
        code = self.check_own_types(() if test is None else test["suite"])
        on_step(PreparationStep("obtaining the baseline"))
        model = self.build_baseline()
        check_layers(model, self.dataset.validation.images[:2].float() / 255, study)
        if not any(key.startswith(("loss.", "finetune.")) for key in searched(study.space)):
            batch_size = study.finetune.batch_size // study.finetune.accumulation_steps
            build_loss(study.loss, layer_names(model)).check_batch(batch_size)
        adapts = study.robustness.adapt_batch_norm
        if adapts is not None and not adaptable_norms(model):
            rule = no_batch_norm(study.model.name, adapts)
            raise ParameterError(f"robustness.adapt_batch_norm: {rule}")
        corrupt("validation", self.evaluation_set)
        scored, tested = self.score_baseline(), None
        if test is not None:
            corrupt("test", self._test_set(test))
            tested = self.score(self.build_baseline(), test=test)
        adapted = adapted_on_test = None
        if adapts is not None:
            on_step(PreparationStep("scoring the baseline with batch norm adapted"))
            adapted = self.score(model, adapt=adapts)
            if test is not None:
                adapted_on_test = self.score(model, test=test, adapt=adapts)
        frost, digest = self.frost_for(self.suite), self.dataset.digest
        if frost is not None:
            digest = hashlib.sha256(f"{digest} {frost.digest}".encode()).hexdigest()
        name, own = study.dataset.name, {"backbone": self.baseline.backbone}
        own |= {"contents": self.dataset.contents}
        of_files: dict[str, Any] = {key: value for key, value in own.items() if value is not None}
        if name == "image_folder" or is_callable_name(name):
            of_files["classes"] = list(self.dataset.classes)
        counts = self.dataset.validation.labels.bincount()
        frequent = show_name(self.dataset.classes[int(counts.argmax())])
        share = float(counts.max() / counts.sum())
        guess = guess_rule(scored.scores.clean_accuracy, frequent, share)
        notes = (
            () if scan is None else scan.notes(skip_unreadable=skips, advises=is_by_image(study))
        ) + weights_notes(study, self.base, len(self.dataset.classes))
        pruner, rung_scores = study.search.pruner, None
        if (
            pruner
            and pruner.images
            and any(constraint.reads_baseline for constraint in study.constraints)
        ):
            rung_scores = self.score_baseline(pruner.images).scores
        return Prepared(
            data_digest=digest,
            baseline_sha256=self.baseline.sha256,
            baseline_scores=scored.scores,
            environment=self.environment.to_json(),
            kept=kept_scores(scored, tested),
            adapted_scores=None if adapted is None else adapted.scores,
            adapted_kept=None if adapted is None else kept_scores(adapted, adapted_on_test),
            rung_scores=rung_scores,
            preprocessing=self.preprocessing_of(model),
            unstated=unstated_sizes(study, self.base, self.image_size, self.dataset.stored_size),
            code=code,
            of_files=of_files,
            left_out=self.dataset.left_out,
            notes=notes if guess is None else (*notes, f"warning: {guess}"),
        )

    def check_own_types(self, tested: str | Sequence[str] = ()) -> dict[str, str]:
        """Check the user's own distortions and corruptions, those of the suite that is `tested`
        too, on the first images of the study, on the CPU and on its device; raises as
        `check_contract`, returns the digest of the code of each."""
        images, code = self.dataset.validation.images[:4], dict[str, str]()
        asked = {"confirm": {"suite": tested if isinstance(tested, str) else [*tested]}}
        data = [self.study.model_dump(mode="json"), asked]
        for key, name in dict.fromkeys((key, name) for _, key, name in own_types(data)):
            for device in dict.fromkeys(("cpu", self.environment.device)):
                check_contract(key, name, self.base, images.to(device))
            code[name] = code_digest(key, name, self.base)
        return code

    def scan_files(self, on_step: OnStep = ignore_step) -> FolderScan | None:
        """Decode every image file of the study's data once, to find all that are wrong before
        anything is trained; the test images are not kept.  None if it has no such files.

        Raises:
            DataError: naming what is missing, unreadable or of another size.
        """

        def say(done: int, total: int) -> None:
            on_step(PreparationStep("examining the images", done, total, "files"))

        settings = self.study.dataset
        scan = scan_files(settings, self.base, cache=self.cache, on_file=say)
        if scan is not None:
            scan.refuse(
                skip_unreadable=settings.skip_unreadable,
                resize=settings.resize,
                image_size=self.image_size,
            )
        return scan

    def preprocessing_of(self, model: nn.Module) -> Preprocessing:
        """How the validation images reach a network with the baseline's weights."""
        mean, std = carried_statistics(model) or (None, None)
        resize = self.study.dataset.resize
        return Preprocessing(self.image_size, resize, mean, std, channels_of(model))

    def score(
        self,
        model: nn.Module,
        *,
        images: int | None = None,
        test: Mapping[str, Any] | None = None,
        seen_types: Sequence[str] = (),
        adapt: int | None = None,
        **finetuning: Any,
    ) -> Scored:
        """Scores of a network: on the validation split under the study's share of the cells, or on
        the test images under all.

        Args:
            model: on any device; moved to the environment's.
            images: how many of the split, and of each corrupted copy, are used; None: all.
            test: suite and severities of the test images; None: the validation split is scored.
            seen_types: training distortions that it was finetuned on.
            adapt: adapts its batch norm, see `adapted_batch_norm`; None: its own statistics.
            finetuning: the fields of `Scores` about its training.
        """
        corrupted: CorruptedImages
        robustness, scored = self.study.robustness, None
        if test is not None:
            split, made = self.test_split, self._test_set(test)
            corrupted, suite = made, made.suite
        else:
            split, suite, corrupted = self.dataset.validation, self.suite, self.evaluation_set
            if images is not None:
                split = split.take(draw_stratified(split.labels, images, robustness.seed))
                corrupted = fewer_images(self.evaluation_set, images, robustness.seed)
            if robustness.cells < 1:
                cells, labels = [*product(suite.types, corrupted.severities)], corrupted.labels
                design = len(cells), robustness.cells, robustness.seed
                scored = dict(zip(cells, images_of_cells(labels.numpy(), *design), strict=True))
        found = score_set(
            model, split, corrupted, self.environment, adapt_batch_norm=adapt, scored=scored
        )
        clean = found.clean
        assert clean is not None
        if scored is not None:
            finetuning |= {"cell_share": robustness.cells, "cell_seed": robustness.seed}
        accuracies: dict[str, dict[str, float]] = {kind: {} for kind in suite.types}
        for (kind, severity), outcomes in found.cells.items():
            accuracies[kind][str(severity)] = outcomes.accuracy
        scores = Scores(
            split="val" if test is None else "test",
            n_images=len(split),
            n_corrupted=len(corrupted.labels),
            clean_accuracy=clean.accuracy,
            accuracies=accuracies,
            families=suite.families,
            exposure=exposures(suite, seen_types),
            mean_over=suite.mean_over,
            seen_types=seen_types,
            **finetuning,
        )
        both, classes = (split.labels.numpy(), corrupted.labels.numpy()), len(self.dataset.classes)
        scores = replace(scores, measures=measure_network(found, scores, *both, classes))
        if scored is not None and images is None:
            found = replace(found, clean=clean.take(self._dealt(split)))
        return Scored(scores, pack_bits(found))

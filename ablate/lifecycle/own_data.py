"""A study of somebody's own images and network: `ablate init --data FOLDER --model NAME`.

Looks at the images, makes a test split where there is none, finds out or asks how the network was
fed, scores it once as a study would, chooses the size of the search from one timed batch, and
writes a short study with comments.
"""

from __future__ import annotations

import math
import re
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, StrictUndefined

from ablate.data.dataset import draw_stratified, split_stratified
from ablate.data.decode import walk_classes
from ablate.data.scan import VERY_UNEVEN, FolderScan, scan_folder, too_large
from ablate.errors import DataError, ParameterError, UsageError
from ablate.files.cache import cache_folder
from ablate.files.shown import few, show_name
from ablate.finetune.baseline import first_network, new_network
from ablate.lifecycle.known_names import names_for
from ablate.lifecycle.shipped import relative_to, write_new
from ablate.lifecycle.study_file import parse_study
from ablate.model import no_feature_map
from ablate.model.build import own_image_size, own_statistics
from ablate.model.environment import environment_of, gpu_count, preparation_cores
from ablate.model.inspect import has_adaptable_norm, usable_taps
from ablate.model.normalization import IMAGENET
from ablate.model.subject import Normalization, Origin, find_name, find_origin
from ablate.model.weights.external_checkpoint import (
    PUBLISHED,
    find_backbone,
    find_checkpoint,
    load_external,
)
from ablate.model.weights.preprocessing import brings_statistics, weights_notes
from ablate.robustness.evaluation_set import corrupt_block
from ablate.robustness.score import score_images
from ablate.study.baseline_checks import (
    CAUSES,
    WARNING_ERRORS,
    expected_rule,
    guess_rule,
    seen_rule,
)
from ablate.study.preparation import fed_text
from ablate.study.seeds import derive_seed
from ablate.study.settings import LARGEST_RESIZE, ModelSettings
from ablate.study.yaml_source import write_yaml
from ablate.trial.estimate import estimate_trial
from ablate.trial.workbench import Workbench

TEST_FRACTION = 0.2
VALIDATION_FRACTION, _LARGEST_VALIDATION = 0.25, 5000
_SPLIT_SEED = 0
_MOST_DECODED = 20_000
_SMALL = 96
"""Side in pixels up to which images are scored as CIFAR-10-C's are, and not as ImageNet-C's."""
_MOST_TRIED = 250
"""Validation images on which each way to feed a network is tried."""
_HALF = "--mean 0.5,0.5,0.5 --std 0.5,0.5,0.5"
_SCORED_BY = "of a study's commands `ablate confirm` alone scores the test split"


@dataclass(frozen=True)
class Answers:
    """What a person has said of images and network; None: not said.

    Attributes:
        folder: of the images: train/CLASS/*, test/CLASS/*, val/CLASS/*, or CLASS/*.
        model: as `model.name`, or a bare name of torchvision or timm.
        checkpoint: a file, `torchvision:WEIGHTS` or `timm:pretrained`; None: a baseline is trained.
        backbone: that it is trained from, as `baseline.backbone`; "none": random weights; None: the
            published weights of the network, if it has some.
        normalization: "dataset", "imagenet" or "none"; mean, std: per channel, in its place.
        channels, value_range: as `model.channels` and `model.value_range`.
        image_size: side in pixels that the network sees; resize: shorter side before the crop.
        saw_validation: whether the weights were trained on the images that trials are compared on.
        expected_accuracy: clean accuracy of the baseline, from 0 to 1.
        is_as_expected: whether any accuracy of the baseline is taken.
        minutes: that the search may take on this machine.
        skip_unreadable: go on without files that cannot be read.
    """

    folder: Path
    model: str | None = None
    checkpoint: str | None = None
    backbone: str | None = None
    normalization: Literal["imagenet", "dataset", "none"] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    channels: Literal["rgb", "bgr"] | None = None
    value_range: int | None = None
    image_size: int | None = None
    resize: int | None = None
    saw_validation: bool | None = None
    expected_accuracy: float | None = None
    is_as_expected: bool = False
    minutes: float = 10.0
    skip_unreadable: bool = False


@dataclass(frozen=True)
class Question:
    """What a person has to say.

    Attributes:
        option: that answers it without a terminal.
        text: the question, and why it is asked.
        choices: answer -> what it means.
        read: the answer's value; raises ParameterError.
        default: on a terminal; None: there is none.
    """

    option: str
    text: str
    choices: dict[str, str]
    read: Callable[[str], Any]
    default: str | None = None


@dataclass(frozen=True)
class SearchSize:
    """How large a search is, and what was measured on this machine.

    Attributes:
        passes: over the training images, by a trial; each image and its copy count.
        images: of the validation images, those in each corrupted copy.
        epochs: of training the baseline; 0: it has weights.
        steps: of a pass; step_seconds: of each, copies and loss included.
        score_seconds: of scoring a trial, and copy_seconds: of making all corrupted copies, for
            each of the images.
        parallel: trials at once.
        minutes: that the search may take.
        has_backbone: whether the baseline is trained from one.
    """

    trials: int = 16
    passes: int = 4
    images: int = 0
    epochs: int = 0
    steps: int = 1
    step_seconds: float = 0.0
    score_seconds: float = 0.0
    copy_seconds: float = 0.0
    parallel: int = 1
    minutes: float = 10.0
    has_backbone: bool = False

    @property
    def seconds(self) -> float:
        """Of the whole search: 20 s in which Ray starts, the copies, the baseline (trained without
        copies), the trials and the plain finetune."""
        start = 20 + self.copy_seconds * self.images
        start += self.epochs * self.steps * self.step_seconds / 2
        trial = self.passes * self.steps * self.step_seconds + self.score_seconds * self.images
        return start + math.ceil((self.trials + 2) / self.parallel) * trial

    @property
    def duration(self) -> str:
        return f"{self.seconds:.0f} s" if self.seconds < 90 else f"{self.seconds / 60:.0f} min"

    @property
    def passes_text(self) -> str:
        return f"{self.passes} {'pass' if self.passes == 1 else 'passes'}"

    @property
    def baseline_epochs(self) -> int:
        """1,500 steps, in a quarter of the time at most, 10 to 100 epochs; a backbone: fewer."""
        least, most = (5, 30) if self.has_backbone else (10, 100)
        affordable = 60 * self.minutes / 4 / max(self.steps * self.step_seconds / 2, 1e-9)
        wanted = math.ceil(self.baseline_steps / self.steps)
        return int(min(max(min(wanted, affordable), least), most))

    @property
    def baseline_steps(self) -> int:
        return 300 if self.has_backbone else 1500

    def fitted(self) -> SearchSize:
        """The same, smaller until it fits: scored images are halved to 100 while they cost more
        than the training, passes to 1, trials lowered to 8, then scored images again."""
        size = self
        while size.seconds > 60 * size.minutes:
            training = size.passes * size.steps * size.step_seconds
            fewer_images = replace(size, images=size.images // 2)
            if fewer_images.images >= 100 and size.score_seconds * size.images > training:
                size = fewer_images
            elif size.passes > 1:
                size = replace(size, passes=size.passes // 2)
            elif size.trials > 8:
                size = replace(size, trials=size.trials - 4)
            elif fewer_images.images >= 100:
                size = fewer_images
            else:
                break
        return size


def write_own_study(
    answers: Answers,
    name: str | None,
    folder: Path,
    *,
    ask: Callable[[Question], Any],
    say: Callable[[str], None],
    working: Callable[[str], AbstractContextManager[object]],
) -> tuple[Path, ...]:
    """Write a study of one's own images into a folder, and the test split that they lack.

    Args:
        name: of the study and its file; None: of the folder of images.
        folder: made if it does not exist.
        ask: returns the value of an answer.
        say: takes each line of what was found and chosen.
        working: around what may take long; takes what is done.

    Returns:
        The study file; the folder of links, if one was made.

    Raises:
        UsageError: if an answer is missing, the baseline is not as expected, or a file exists.
        DataError: if images or weights cannot be read.
        ParameterError: if the network cannot be built, or an answer does not fit.
    """
    name = name or re.sub(r"[^\w+.-]+", "_", answers.folder.resolve().name).strip("._-") or "own"
    file, links = folder / f"{name}.yaml", folder / f"{name}_data"
    for path in (file, links):
        if path.exists():
            raise UsageError(
                f"{path}: must not exist, got a {'folder' if path.is_dir() else 'file'}. Give "
                "another NAME, or move it."
            )
    with working("looking at the images"):
        scan = scan_folder(answers.folder, most=_MOST_DECODED)
    draft = _Draft(answers, name, folder, ask, say, working, scan, answers.folder)
    try:
        if answers.checkpoint is not None and answers.backbone is not None:
            raise UsageError(
                "`backbone`: is what a baseline is trained from, and `checkpoint` is a whole one, "
                "got both. Leave one out."
            )
        draft.check_images()
        draft.model = answers.model or draft.ask_for_network()
        if draft.needs_split:
            draft.split_test(links)
        draft.find_network()
        draft.has_taps = bool(usable_taps(draft.model, draft.base))
        if not draft.has_taps:
            say(f"note: {no_feature_map(draft.model)}, so the study has no FMA")
        draft.has_batch_norm = has_adaptable_norm(draft.model, draft.base)
        draft.find_normalization()
        if draft.backbone is not None:  # fetched and tried before anything that takes long
            bench = draft.bench()
            with working("loading the backbone"):
                first_network(bench.dataset, bench.study.model, bench.study.baseline, draft.base)
        for note in weights_notes(draft.bench().study, draft.base):
            say(f"note: {note}")
        if answers.checkpoint is None:  # the time decides how long a baseline is trained
            draft.choose_size()
        draft.score_baseline()
        if answers.checkpoint is not None:
            draft.choose_size()
        write_new(folder, {file: draft.text()})
    except BaseException:
        shutil.rmtree(links, ignore_errors=True)
        raise
    return (file, links) if links.exists() else (file,)


@dataclass
class _Draft:
    """The study so far.

    Attributes:
        images: the folder that the study reads; counts: split -> class -> images, of it.
        about: how test and validation images come about, for the file.
        backbone: that the baseline is trained from; None: random weights, or a checkpoint.
        normalization: value of `model.normalization`, in YAML; channels, value_range: of `model`.
        has_taps: whether the network names layers whose feature maps can be compared.
        has_batch_norm: decides optimiser and learning rates.
        measured: clean accuracy of the baseline, and the number of images.
    """

    answers: Answers
    name: str
    folder: Path
    ask: Callable[[Question], Any]
    say: Callable[[str], None]
    working: Callable[[str], AbstractContextManager[object]]
    scan: FolderScan
    images: Path
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    about: tuple[str, ...] = ()
    model: str = ""
    image_size: int = 32
    resize: int | None = None
    backbone: str | None = None
    normalization: str = "auto"
    channels: str = "rgb"
    value_range: int = 1
    saw_validation: bool | None = None
    has_taps: bool = True
    has_batch_norm: bool = True
    measured: tuple[float, int] | None = None
    size: SearchSize = SearchSize()

    def __post_init__(self) -> None:
        self.counts = {split: dict(of_class) for split, of_class in self.scan.counts.items()}

    # -- The images

    @property
    def needs_split(self) -> bool:
        return not {"test", "val"} & set(self.counts)

    @property
    def training(self) -> dict[str, int]:
        """Class -> number of training images."""
        of_class = self.counts.get("train", self.counts.get("", {}))
        return {name: count for name, count in of_class.items() if name}

    @property
    def is_uneven(self) -> bool:
        """Whether the data tell to take the metrics of uneven classes."""
        return max(self.training.values()) > VERY_UNEVEN * min(self.training.values())

    @property
    def has_validation(self) -> bool:
        return {"test", "val"} <= set(self.counts)

    @property
    def validation_fraction(self) -> float:
        count = sum(self.training.values())
        return round(min(VALIDATION_FRACTION, _LARGEST_VALIDATION / count), 4)

    def check_images(self) -> None:
        """Say what is in the folder, and what is odd about it.

        Raises:
            DataError: if there are no classes, too few images, or files that cannot be read.
        """
        where, skips = show_name(self.images), self.answers.skip_unreadable
        for line in self.scan.summary():
            self.say(f"{where}: {line}")
        for line in self.scan.notes(skip_unreadable=skips, advises=True):
            self.say(f"note: {line}")
        self.scan.refuse(skip_unreadable=skips, resize=LARGEST_RESIZE, image_size=1)
        count, least = len(self.training), min(self.training.values(), default=0)
        if count < 2 or least < (3 if self.needs_split else 2):
            got = f"{least} images of a class" if count > 1 else f"{count} classes to train on"
            raise DataError(
                f"{where}: must have CLASS/*, or train/CLASS/* with or without test/CLASS/* and "
                "val/CLASS/*, of two classes or more, and for each split an image of each, got "
                f"{got}. Correct `data`."
            )
        share = f"{100 * self.validation_fraction:.3g} % of each class of train/"
        self.about = (f"trials are compared on {'val/' if self.has_validation else share}",)
        if not self.needs_split:
            held_out = "test/ is the test split"
            if "test" not in self.counts:
                held_out = "val/ becomes the test split, since there is no test/, and train/ both "
                held_out += "the training and the validation images"
            self.about = (f"{held_out}; {_SCORED_BY}", *self.about)
            self.say("; ".join(self.about))

    def split_test(self, links: Path) -> None:
        """Make a folder of links to the images: train/CLASS/* and test/CLASS/*.

        The user's folder is not changed.  The share of each class is drawn with one seed, so the
        same files are drawn each time.
        """
        given = self.images
        root = given / ("train" if "train" in self.counts else "")
        unreadable = {given / file.name for file in self.scan.unreadable}
        listing = walk_classes(root)
        kept = tuple(file for file in listing.files if root / file[0] not in unreadable)
        listing, self.counts = replace(listing, files=kept), {}
        rows = split_stratified(listing.labels, TEST_FRACTION, derive_seed(_SPLIT_SEED, "test"))
        try:
            for split, chosen in zip(("train", "test"), rows, strict=True):
                for name in listing.classes:
                    (links / split / name).mkdir(parents=True)
                for row in chosen.tolist():
                    below = listing.files[row][0]
                    (links / split / below).symlink_to((root / below).absolute())
                labels = listing.labels[chosen]
                self.counts[split] = {
                    name: int((labels == label).sum()) for label, name in enumerate(listing.classes)
                }
        except OSError as error:
            raise UsageError(
                f"{links}: must be a folder of links to the images, got: {error.strerror}. Name "
                "another FOLDER, or make test/CLASS/* beside train/CLASS/* yourself."
            ) from error
        drawn = f"test/ is {100 * TEST_FRACTION:.0f} % of each class, drawn with seed {_SPLIT_SEED}"
        self.images, self.about = links, (f"{drawn}; {_SCORED_BY}", *self.about)
        self.say(
            f"{links} has links to {show_name(given)}, which has no test/: {'; '.join(self.about)}"
        )
        self.say(
            "note: where several images show one scene, or weights were trained on all images, "
            "test scores would be too high: put whole unseen scenes into test/CLASS/* yourself"
        )

    # -- The network, and how it was fed

    def ask_for_network(self) -> str:
        small = all(max(size) <= _SMALL for size in self.scan.sizes)
        choices = {
            "resnet20": "for small images, of ablate",
            "torchvision:resnet18": "or any other classifier of torchvision",
            "timm:resnet18": "or any other network of timm (extra timm)",
            "nets:build": "your own: a function in nets.py that takes the number of classes",
        }
        default = "resnet20" if small else "torchvision:resnet18"
        return str(self.ask(Question("`model`", "Which network?", choices, str, default)))

    def find_network(self) -> None:
        """Its whole name, where its weights come from, the sizes that it sees, and whether it has
        seen the validation images."""
        origin = None
        self.saw_validation = self.answers.saw_validation
        if self.answers.checkpoint is None:
            self.model, notes = find_name(self.model)
            for note in notes:
                self.say(f"note: {note}")
            published = self._find_backbone()
            if self.backbone is None:
                self.say("no checkpoint: the baseline is trained on the training images")
            elif published is not None:
                origin = find_origin(self.model, published)
        else:
            origin = find_origin(self.model, self.answers.checkpoint)
            self.model = origin.name
        self._find_sizes(origin)
        if self.answers.checkpoint is not None and self.saw_validation is None:
            own = self.has_validation
            count = sum((self.counts["val"] if own else self.training).values())
            question = Question(
                "`saw_validation`",
                f"There are {count:,} images of {'val' if own else 'train'}/: was it trained on "
                f"these?  {self.about[-1].capitalize()}.",
                {"yes": "every result is marked so", "no": "it has seen none of them"},
                _read_yes_or_no,
                None if own else "yes",
            )
            self.saw_validation = self.ask(question)

    def _find_backbone(self) -> str | None:
        """What the baseline is trained from; returns the network's published weights, if any."""
        settings, given = ModelSettings(name=self.model), self.answers.backbone
        own = PUBLISHED.get(self.model.partition(":")[0])
        with suppress(DataError):  # it has none
            if own is not None and find_checkpoint(settings, own):
                self.backbone = self.model
        if self.backbone is None:
            own = None
        if given is not None:
            self.backbone = None if given == "none" else given
        if self.backbone is not None:
            find_backbone(settings, self.backbone, Path())
            count = len(self.training)
            self.say(f"backbone: {self.backbone}, with a new head for {count} classes")
        return own

    def _find_sizes(self, origin: Origin | None) -> None:
        """The side that the network sees, and the shorter side before the crop."""
        own = own_image_size(ModelSettings(name=self.model))
        known = origin if origin is not None and not origin.is_silent else None
        sizes, is_silent = set(self.scan.sizes), origin is not None and known is None
        shown = few([f"{wide}x{high} ({n:,})" for (wide, high), n in self.scan.sizes.items()])
        side, resize = self.answers.image_size, self.answers.resize
        if side is None and not is_silent:
            side = own if known is None else known.image_size
        if side is None and own is not None and sizes == {(own, own)}:
            side = own
        if side is None:
            choices = {} if own is None else {str(own): "the network's own"}
            if len(sizes) == 1 and len(set(*sizes)) == 1:
                choices.setdefault(str(*set(*sizes)), "the images' own")
            whose = "weights do" if self.answers.checkpoint else "network does"
            text = (
                f"Which side in pixels does the network see?  The {whose} not say it; the images "
                f"are {shown}."
            )
            choices["N"] = "any other"
            side = self.ask(Question("`image_size`", text, choices, _read_pixels))
        if resize is None and known is not None and side == known.image_size:
            resize = known.resize
        if resize is None and sizes != {(side, side)}:
            resize = side
            if is_silent:
                text = (
                    "To which shorter side in pixels were images resized before the centre crop?  "
                    f"The weights do not say it; the images are {shown}, the network sees "
                    f"{side} x {side}."
                )
                choices = {
                    str(side): "only the longer side is cut",
                    str(round(side * 8 / 7)): "the usual crop of ImageNet's evaluation",
                    "N": "any other",
                }
                resize = self.ask(Question("`resize`", text, choices, _read_pixels))
        if resize is not None and resize < side:
            raise ParameterError(
                f"`resize`: must be at least the image size {side}, got {resize}. Raise it, or "
                "lower `image_size`."
            )
        self.image_size, self.resize = side, resize

    def find_normalization(self) -> None:
        """How images are fed: as said, as the weights say, or as asked, with the accuracy of each
        choice, from which a wrong one is seen at once; it is never guessed."""
        answers, settings = self.answers, ModelSettings(name=self.model)
        self.channels, self.value_range = answers.channels or "rgb", answers.value_range or 1
        Normalization(answers.normalization, answers.mean, answers.std).check(self.value_range)
        if answers.mean is not None and answers.std is not None:
            self.normalization = _statistics_text(answers.mean, answers.std)
        elif answers.normalization is not None:
            self.normalization = answers.normalization
        if self._knows_statistics(settings):
            return
        if self.normalization != "auto":
            if self.backbone is None and None in (answers.channels, answers.value_range):
                self._try_feeds(self.normalization)
            return
        mean, std = (", ".join(f"{value:.4g}" for value in part) for part in IMAGENET)
        choices = {
            "imagenet": f"mean {mean}, std {std}",
            "dataset": "mean and std of the training images",
            "none": "not at all, or by the network itself",
            _HALF: "images in [-1, 1], or any other numbers",
        }
        own = own_statistics(settings)
        if own is not None and own not in (IMAGENET, ((0.5,) * 3, (0.5,) * 3)):
            mean, std = (",".join(f"{value:g}" for value in part) for part in own)
            choices[f"--mean {mean} --std {std}"] = "those of the network's published weights"
        text = "How were images normalised?  The weights do not say it"
        if self.backbone is None:
            tried = {name: self._try_feeds(_read_fed(name)[0]) for name in choices}
            best = sorted(choices, key=lambda name: -tried[name][0])
            choices = {name: f"{choices[name]} ({tried[name][1]})" for name in best}
            text += "; in brackets: fed so they are right most often (add bgr, 255 to the answer)"
        fed = self.ask(Question("`normalization`", f"{text}.", choices, _read_fed))
        self.normalization, channels, value_range = fed
        self.channels, self.value_range = channels or self.channels, value_range or self.value_range

    def _knows_statistics(self, settings: ModelSettings) -> bool:
        """Whether weights, if there are some, say how their images were normalised."""
        weights = self.answers.checkpoint or self.backbone
        if weights is None or (self.backbone and own_statistics(settings)):
            return True
        find = find_backbone if self.backbone else find_checkpoint
        return brings_statistics(settings, find(settings, weights, Path()), weights)

    def _try_feeds(self, normalization: str) -> tuple[float, str]:
        """The highest accuracy of the weights with these numbers, and its order of channels and
        range; those of all that may be meant are said.  Nothing is cached."""
        bench = replace(self, normalization=normalization).bench()
        model, written = bench.study.model, bench.study.baseline.checkpoint
        assert written is not None
        bench.environment.apply()
        split = bench.dataset.validation
        split = split.take(draw_stratified(split.labels, _MOST_TRIED, 0))
        orders = ("rgb", "bgr") if self.answers.channels is None else (self.channels,)
        ranges = (1, 255) if self.answers.value_range is None else (self.value_range,)
        tried = []
        with self.working("scoring the weights"):
            for channels, white in product(orders, ranges):
                fed = model.model_copy(update={"channels": channels, "value_range": white})
                network = new_network(bench.dataset, fed, seed=0, base=self.base)
                load_external(network, fed, written, self.base)
                accuracy = score_images(network, split, bench.environment).accuracy
                tried.append((accuracy, channels if white == 1 else f"{channels} {white}"))
        tried.sort(key=lambda one: -one[0])
        shares = [f"{name} {100 * accuracy:.1f} %" for accuracy, name in tried]
        self.say(f"{normalization}: {', '.join(shares)} of {len(split):,} validation images right")
        return tried[0][0], shares[0]

    # -- The baseline's accuracy, and the size of the search

    @property
    def base(self) -> Path:
        return self.folder.absolute()

    def bench(self) -> Workbench:
        """What trials of the study, as its text is now, share."""
        file = str(self.folder / f"{self.name}.yaml")
        names = partial(names_for, base=self.folder)
        study = parse_study(self.text(), file, names=names, base=self.folder)
        environment = environment_of(study.run)
        return Workbench(study, self.base, cache_folder(), environment, preparation_cores())

    def score_baseline(self) -> None:
        """Score it as the study does, and have its accuracy confirmed.

        Raises:
            UsageError: if it is not as expected.
        """
        bench = self.bench()
        bench.environment.apply()
        trained = "training" if self.answers.checkpoint is None else "scoring"
        with self.working(f"{trained} the baseline"):
            model = bench.build_baseline()
            split = bench.dataset.validation
            accuracy, n = score_images(model, split, bench.environment).accuracy, len(split)
        fed = accuracy, n, bench.preprocessing_of(model)
        most = max(self.training, key=lambda name: self.training[name])
        share = self.training[most] / sum(self.training.values())
        self.say(
            f"baseline: right on {fed_text(*fed)} (a network that always answers "
            f"{show_name(most)}: {100 * share:.1f} %)"
        )
        if self.saw_validation is False and "val" in self.counts and "test" not in self.counts:
            # Trials are compared on images of train/, and val/ is what it surely has not seen.
            other = bench.test_split
            held_out = score_images(model, other, bench.environment).accuracy, len(other)
            if rule := seen_rule((accuracy, n), held_out):
                self.say(f"warning: {rule}")
        expected, is_taken = self.answers.expected_accuracy, self.answers.is_as_expected
        if rule := expected_rule(expected, *fed):
            raise UsageError(f"`expected_accuracy`: {rule}")
        if not is_taken:
            if (doubt := guess_rule(accuracy, show_name(most), share)) is not None:
                raise UsageError(
                    f"baseline: {doubt}. Correct that, or give `is_as_expected=True` to go on."
                )
            if rule := expected_rule(expected, *fed, errors=WARNING_ERRORS):
                raise UsageError(
                    f"`expected_accuracy`: {rule} Or give `is_as_expected=True` to go on."
                )
        text = fed_text(accuracy, n, None)
        wrong = "it is fed otherwise than it was trained, or not converged"
        choices = {"yes": "go on", "no": wrong}
        question = Question(
            "`is_as_expected`", f"{text}: is that what you expect?", choices, _read_yes_or_no
        )
        if expected is None and not is_taken and not self.ask(question):
            raise UsageError(
                f"baseline: must be as good as it was, got {text} right. Either {CAUSES}: correct "
                "that."
            )
        self.measured = accuracy, n

    def choose_size(self) -> None:
        """The largest search that fits, by a batch and a scoring that are timed."""
        bench, minutes = self.bench(), self.answers.minutes
        with self.working("timing a batch"):
            start = None if self.answers.checkpoint is None else bench.build_baseline()
            if self.backbone is not None:
                settings = bench.study.model, bench.study.baseline
                start, _ = first_network(bench.dataset, *settings, self.base)
            trial = estimate_trial(bench, start)
            copy_seconds = _copy_seconds(bench)
        cores = preparation_cores()
        size = SearchSize(
            images=trial.validation_images,
            steps=max(1, trial.train_images // self.batch_size),
            step_seconds=trial.step_seconds,
            score_seconds=trial.score_seconds / trial.validation_images,
            copy_seconds=copy_seconds / cores,
            parallel=gpu_count() or cores,
            minutes=minutes,
        )
        if self.answers.checkpoint is None:
            size = replace(size, has_backbone=self.backbone is not None)
            size = replace(size, epochs=size.baseline_epochs)
        self.size = size.fitted()
        if self.size.seconds > 60 * minutes:
            self.say(
                f"note: the smallest search that makes sense takes longer than {minutes:g} min on "
                "this machine; a GPU, smaller images or another network are faster"
            )
        self.say(
            f"search: {self.size.trials} trials of {self.size.passes_text} over "
            f"{trial.train_images:,} images: about {self.size.duration} on this machine "
            f"({size.parallel} at once, {1000 * trial.step_seconds:.0f} ms a batch of "
            f"{self.batch_size})"
        )

    # -- The file

    @property
    def training_count(self) -> int:
        """Images to train on, without the validation split."""
        held_out = 0.0 if self.has_validation else self.validation_fraction
        return round(sum(self.training.values()) * (1 - held_out))

    @property
    def batch_size(self) -> int:
        return 64 if self.training_count >= 2000 else 32

    def text(self) -> str:
        """The study file, with a comment where a choice was made."""
        n, weights = self.training_count, self.answers.checkpoint or self.backbone
        if weights is not None and Path(weights).is_file():
            weights = relative_to(Path(weights).absolute(), self.base)
        suite, reason = "imagenetc", f"above {_SMALL} pixels; cifar10c up to that"
        if self.scan.grey == sum(self.scan.sizes.values()):
            suite, reason = "families_grey", "the images are grey"
        elif self.image_size <= _SMALL:
            suite, reason = "cifar10c", f"up to {_SMALL} pixels; imagenetc above"
        accuracy, count = self.measured or (0.0, 0)
        expected = self.answers.expected_accuracy
        # Measured with batches of 128; in proportion for smaller ones (Goyal et al. 2017).
        rate = 0.01 * self.batch_size / 128 if self.has_batch_norm else 1e-4
        if self.backbone is not None and self.has_batch_norm:
            rate /= 10  # with fixed statistics ten times this rate lost the classes
        more = ["clean+fma", "clean+da+fma"] if self.has_taps else ["clean+da+st"]
        template = (files(__package__) / "own_study.yaml.j2").read_text(encoding="utf-8")
        environment = Environment(
            autoescape=False,
            trim_blocks=True,
            undefined=StrictUndefined,
            keep_trailing_newline=True,
        )
        return environment.from_string(template).render(
            draft=self,
            yaml=_as_yaml,
            size=self.size,
            question=f"Which finetuning makes {self.model} more robust on my images?",
            path=relative_to(self.images.absolute(), self.base),
            streamed=too_large(n, self.image_size),
            weights=None if weights is None else _as_yaml(weights),
            accuracy=accuracy if expected is None else expected,
            measured=f"measured: {100 * accuracy:.1f} % of {count:,} validation images",
            budget_images=2 * self.size.passes * max(n, self.batch_size),
            rate=f"{rate:g}",
            rates=f"[{rate / 10:g}, {3 * rate:g}]",
            terms=["clean+da", "clean+st", *more],
            suite=suite,
            suite_reason=reason,
            validation_count=count,
        )


def _read_pixels(text: str) -> int:
    if not text.isdecimal() or not 8 <= int(text) <= LARGEST_RESIZE:
        rule = f"must be a whole number of pixels, from 8 to {LARGEST_RESIZE}"
        raise ParameterError(f"{rule}, got {text!r}. Correct it.")
    return int(text)


def _read_yes_or_no(text: str) -> bool:
    if text.lower() not in ("yes", "y", "no", "n"):
        raise ParameterError(f"must be yes or no, got {text!r}. Correct it.")
    return text.lower() in ("yes", "y")


def _read_fed(text: str) -> tuple[str, str | None, int | None]:
    """The value of `model.normalization` that an answer means, in YAML; those of `channels` and
    `value_range`, None where it does not say them."""
    words = text.replace("--mean", " ").replace("--std", " ").split()
    channels = next((word for word in words if word in ("rgb", "bgr")), None)
    value_range = 255 if "255" in words else None
    numbers = [word for word in words if word not in ("rgb", "bgr", "255")]
    if len(numbers) == 1 and numbers[0] in ("imagenet", "dataset", "none"):
        return numbers[0], channels, value_range
    try:
        mean, std = (tuple(map(float, part.split(","))) for part in numbers)
    except ValueError:
        raise ParameterError(
            f"must be imagenet, dataset, none, or numbers as {_HALF}, got {text!r}. Correct it."
        ) from None
    Normalization(None, mean, std).check(value_range or 1)
    return _statistics_text(mean, std), channels, value_range


def _statistics_text(mean: tuple[float, ...], std: tuple[float, ...]) -> str:
    means, stds = (", ".join(f"{value:g}" for value in values) for values in (mean, std))
    return f"{{mean: [{means}], std: [{stds}]}}"


def _copy_seconds(bench: Workbench) -> float:
    """Of making all corrupted copies of a validation image, on one core: from a few."""
    robustness = bench.study.robustness
    sample = bench.dataset.validation.images[:8]
    seconds = 0.0
    for _ in range(2):  # the first also imports what they need
        began = time.perf_counter()
        for kind in bench.suite.types:
            severity = robustness.severities[0]
            corrupt_block(sample, kind, severity, bench.suite, robustness.seed)
        seconds = time.perf_counter() - began
    return seconds * len(robustness.severities) / len(sample)


def _as_yaml(text: str) -> str:
    return write_yaml({"": text}).partition(": ")[2].rstrip("\n")

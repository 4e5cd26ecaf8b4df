"""A study of somebody's own images and network: `ablate init --data FOLDER --model NAME`.

Looks at the images, makes a test split where there is none, finds out or asks how the network was
fed, scores it once as a study would, chooses the size of the search from one timed batch, and
writes a short study with comments.
"""

from __future__ import annotations

import math
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.errors import DataError, ParameterError, UsageError
from ablate.files.shown import few, show_name
from ablate.lifecycle.ablation_of import relative_to
from ablate.lifecycle.shipped import write_new

if TYPE_CHECKING:
    from ablate.data.dataset import Statistics
    from ablate.data.scan import Counts, FolderScan
    from ablate.model.origin import Origin
    from ablate.study.settings import Study
    from ablate.trial.workbench import Workbench

TEST_FRACTION = 0.2
VALIDATION_FRACTION = 0.25
_SPLIT_SEED = 0
_LARGEST_VALIDATION = 5000
_MOST_DECODED = 20_000
_SMALL = 96
"""Side in pixels up to which images are scored as CIFAR-10-C's are, and not as ImageNet-C's."""
_LARGEST_RESIZE = 2048
_LEAST_TRIALS, _LEAST_IMAGES = 8, 100
_START_SECONDS = 20.0
"""Of Ray and its workers."""
_LARGEST_RESIDENT = 4 * 2**30
"""Bytes of decoded training images that are kept in memory."""


@dataclass(frozen=True)
class Answers:
    """What a person has said of images and network; None: not said.

    Attributes:
        folder: of the images: train/CLASS/*, test/CLASS/*, val/CLASS/*, or CLASS/*.
        model: as `model.name`, or a bare name of torchvision or timm.
        checkpoint: a file, `torchvision:WEIGHTS` or `timm:pretrained`; None: a baseline is trained.
        normalization: "dataset", "imagenet" or "none"; mean, std: per channel, in its place.
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
    normalization: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
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
        default: on a terminal; None: there is none.
        read: the answer's value; raises ParameterError.
    """

    option: str
    text: str
    choices: dict[str, str]
    read: Callable[[str], Any]
    default: str | None = None


Ask = Callable[[Question], Any]
Say = Callable[[str], None]
Working = Callable[[str], AbstractContextManager[None]]


def write_own_study(
    answers: Answers, name: str | None, folder: Path, *, ask: Ask, say: Say, working: Working
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
    images = _look(answers, say, working)
    model = answers.model or ask(_which_network(images))
    with _removed_on_error(links):
        if images.needs_split:
            images = _split_test(images, links, say)
        origin, model = _find_network(model, answers.checkpoint, say)
        draft = _Draft(name, folder, images, model, answers.checkpoint, answers.skip_unreadable)
        draft = _with_sizes(draft, answers, origin, ask)
        draft = _with_seen(draft, answers, ask)
        draft = _with_normalization(draft, answers, ask, working)
        draft = _with_network(draft)
        if answers.checkpoint is None:  # the time decides how long a baseline is trained
            draft = _with_size(draft, answers.minutes, say, working)
        draft = _with_accuracy(draft, answers, ask, say, working)
        if answers.checkpoint is not None:
            draft = _with_size(draft, answers.minutes, say, working)
        write_new(folder, {file: draft.text()})
    return (file, links) if links.exists() else (file,)


# -- The images --------------------------------------------------------------------------


@dataclass(frozen=True)
class _Images:
    """What was found in a folder of images.

    Attributes:
        folder: that the study reads; given: that the user named.
        counts: split -> class -> images, of the folder that the study reads.
        about: how test and validation images come about, for the file.
    """

    scan: FolderScan
    folder: Path
    given: Path
    counts: Counts
    about: tuple[str, ...] = ()

    @property
    def needs_split(self) -> bool:
        return not {"test", "val"} & set(self.counts)

    @property
    def training(self) -> dict[str, int]:
        """Class -> number of training images."""
        of_class = self.counts.get("train", self.counts.get("", {}))
        return {name: count for name, count in of_class.items() if name}

    @property
    def has_validation(self) -> bool:
        return {"test", "val"} <= set(self.counts)

    @property
    def validation_fraction(self) -> float:
        count = sum(self.training.values())
        return round(min(VALIDATION_FRACTION, _LARGEST_VALIDATION / count), 4)

    @property
    def is_grey(self) -> bool:
        return self.scan.grey == sum(self.scan.sizes.values())

    @property
    def sizes_text(self) -> str:
        """As "32x32 (1,000)"."""
        return few([f"{wide}x{high} ({n:,})" for (wide, high), n in self.scan.sizes.items()])

    def are_of(self, side: int) -> bool:
        """Whether all have this size."""
        return set(self.scan.sizes) == {(side, side)}


def _look(answers: Answers, say: Say, working: Working) -> _Images:
    """The images of the folder; what is odd about them is said.

    Raises:
        DataError: if there are no classes, too few images, or files that cannot be read.
    """
    from ablate.data.scan import scan_folder

    with working("looking at the images"):
        scan = scan_folder(answers.folder, most=_MOST_DECODED)
    where = show_name(answers.folder)
    for line in scan.summary():
        say(f"{where}: {line}")
    for line in scan.notes(skip_unreadable=answers.skip_unreadable):
        say(f"note: {line}")
    scan.refuse(skip_unreadable=answers.skip_unreadable, resize=_LARGEST_RESIZE, image_size=1)
    images = _Images(scan, answers.folder, answers.folder, dict(scan.counts))
    if len(images.training) < 2 or not sum(images.training.values()):
        got = f"{len(images.training)} class{'es' * (len(images.training) != 1)} to train on"
        raise DataError(
            f"{where}: must have CLASS/*, or train/CLASS/* with or without test/CLASS/* and "
            f"val/CLASS/*, of two classes or more, got {got}. Correct --data."
        )
    least, smallest = min((count, name) for name, count in images.training.items())
    if least < (needed := 3 if images.needs_split else 2):
        raise DataError(
            f"{where}: must have at least {needed} images of a class, so that each split has one, "
            f"got {least} of {show_name(smallest)}. Add some, or remove the class."
        )
    share = f"{100 * images.validation_fraction:.3g} % of each class of train/"
    compared = f"trials are compared on {'val/' if images.has_validation else share}"
    if images.needs_split:
        return replace(images, about=(compared,))
    held_out = "test/" if "test" in scan.counts else "val/, without a test/ beside it,"
    about = (
        f"{held_out} is the test split; of a study's commands `ablate confirm` alone scores it",
        compared,
    )
    say("; ".join(about))
    return replace(images, about=about)


def _split_test(images: _Images, links: Path, say: Say) -> _Images:
    """A folder of links to the images: train/CLASS/* and test/CLASS/*.

    The user's folder is not changed.  The share of each class is drawn with one seed, so the same
    files are drawn each time.
    """
    from ablate.data.dataset import split_stratified
    from ablate.data.decode import walk_classes
    from ablate.study.seeds import derive_seed

    scan = images.scan
    part = "train" if "train" in scan.counts else ""
    root = images.given / part
    unreadable = {one.name for one in scan.unreadable}
    listing = walk_classes(root)
    kept = tuple(
        entry
        for entry in listing.files
        if os.path.relpath(root / entry[0], images.given) not in unreadable
    )
    listing = replace(listing, files=kept)
    seed = derive_seed(_SPLIT_SEED, "test")
    rows = split_stratified(listing.labels, TEST_FRACTION, seed)
    try:
        for split, chosen in zip(("train", "test"), rows, strict=True):
            for name in listing.classes:
                (links / split / name).mkdir(parents=True)
            for row in chosen.tolist():
                entry = listing.files[row][0]
                link = links / split / entry
                link.symlink_to((root / entry).absolute())
    except OSError as error:
        raise UsageError(
            f"{links}: must be a folder of links to the images, got: {error.strerror}. Name "
            "another FOLDER, or make test/CLASS/* beside train/CLASS/* yourself."
        ) from error
    counts = {
        split: {
            name: int((listing.labels[chosen] == label).sum())
            for label, name in enumerate(listing.classes)
        }
        for split, chosen in zip(("train", "test"), rows, strict=True)
    }
    about = (
        f"test/ is {100 * TEST_FRACTION:.0f} % of each class, drawn with seed {_SPLIT_SEED}; "
        "of a study's commands `ablate confirm` alone scores it",
        *images.about,
    )
    say(f"{links} has links to {show_name(images.given)}, which has no test/: {'; '.join(about)}")
    say(
        "note: where several images show one scene, or weights were trained on all images, test "
        "scores would be too high: put whole unseen scenes into test/CLASS/* yourself"
    )
    return replace(images, folder=links, counts=counts, about=about)


@contextmanager
def _removed_on_error(links: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        if links.is_dir():
            shutil.rmtree(links)
        raise


# -- The network, and how it was fed ----------------------------------------------------------


def _which_network(images: _Images) -> Question:
    """Only of a network that was not named."""
    small = all(max(size) <= _SMALL for size in images.scan.sizes)
    return Question(
        "--model",
        "Which network?",
        {
            "resnet20": "for small images, of ablate",
            "torchvision:resnet18": "or any other classifier of torchvision",
            "timm:resnet18": "or any other network of timm (extra timm)",
            "nets:build": "your own: a function in nets.py that takes the number of classes",
        },
        str,
        default="resnet20" if small else "torchvision:resnet18",
    )


def _find_network(model: str, checkpoint: str | None, say: Say) -> tuple[Origin | None, str]:
    """Where the weights come from, if there are any, and the network's whole name."""
    from ablate.model.origin import find_name, find_origin

    if checkpoint is not None:
        origin = find_origin(model, checkpoint)
        return origin, origin.name
    found, notes = find_name(model)
    for note in notes:
        say(f"note: {note}")
    say("no --checkpoint: the baseline is trained on the training images")
    return None, found


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

    @property
    def seconds(self) -> float:
        """Of the whole search, with the start, the baseline and the plain finetune."""
        training = self.passes * self.steps * self.step_seconds
        rounds = math.ceil((self.trials + 2) / self.parallel)
        made = _START_SECONDS + self.copy_seconds * self.images
        made += self.epochs * self._epoch_seconds
        return made + rounds * (training + self.score_seconds * self.images)

    @property
    def duration(self) -> str:
        return f"{self.seconds:.0f} s" if self.seconds < 90 else f"{self.seconds / 60:.0f} min"

    @property
    def passes_text(self) -> str:
        return f"{self.passes} pass{'es' * (self.passes > 1)}"

    @property
    def _epoch_seconds(self) -> float:
        return self.steps * self.step_seconds / 2  # without copies

    @property
    def baseline_epochs(self) -> int:
        """1,500 steps, in at most a quarter of the time; 10 to 100 epochs."""
        affordable = 60 * self.minutes / 4 / max(self._epoch_seconds, 1e-9)
        return int(min(max(min(math.ceil(1500 / self.steps), affordable), 10), 100))

    def fitted(self) -> SearchSize:
        """The same, smaller until it fits: scored images are halved to 100 while they cost more
        than the training, passes to 1, trials lowered to 8, then scored images again."""
        if self.seconds <= 60 * self.minutes:
            return self
        scoring = self.score_seconds * self.images
        is_dear = scoring > self.passes * self.steps * self.step_seconds
        can_score_less = self.images >= 2 * _LEAST_IMAGES
        if can_score_less and is_dear:
            smaller = replace(self, images=self.images // 2)
        elif self.passes > 1:
            smaller = replace(self, passes=self.passes // 2)
        elif self.trials > _LEAST_TRIALS:
            smaller = replace(self, trials=self.trials - 4)
        elif can_score_less:
            smaller = replace(self, images=self.images // 2)
        else:
            return self
        return smaller.fitted()


@dataclass(frozen=True)
class _Draft:
    """The study so far.

    Attributes:
        normalization: value of `model.normalization`.
        has_taps: whether the network names layers whose feature maps can be compared.
        has_batch_norm: decides optimiser and learning rates.
        measured: clean accuracy of the baseline, and the number of images.
        size: of the search.
    """

    name: str
    folder: Path
    images: _Images
    model: str
    checkpoint: str | None
    skip_unreadable: bool
    image_size: int = 32
    resize: int | None = None
    normalization: str | dict[str, list[float]] = "auto"
    saw_validation: bool | None = None
    has_taps: bool = True
    has_batch_norm: bool = True
    expected: float | None = None
    measured: tuple[float, int] | None = None
    size: SearchSize = SearchSize()

    @property
    def base(self) -> Path:
        return self.folder.absolute()

    @property
    def suite(self) -> str:
        if self.images.is_grey:
            return "families_grey"
        return "cifar10c" if self.image_size <= _SMALL else "imagenetc"

    @property
    def training_count(self) -> int:
        """Images to train on, without the validation split."""
        count = sum(self.images.training.values())
        return count if self.images.has_validation else round(
            count * (1 - self.images.validation_fraction)
        )  # fmt: skip

    @property
    def batch_size(self) -> int:
        return 64 if self.training_count >= 2000 else 32

    @property
    def written_checkpoint(self) -> str | None:
        """As the file names it."""
        given = self.checkpoint
        if given is None or not Path(given).is_file():
            return given
        return _scalar(relative_to(Path(given).absolute(), self.base))

    def study(self) -> Study:
        """The study that the text is."""
        from ablate.lifecycle.known_names import names_for
        from ablate.lifecycle.study_file import parse_study

        file = str(self.folder / f"{self.name}.yaml")
        names = partial(names_for, base=self.folder)
        return parse_study(self.text(), file, names=names, base=self.folder)

    def bench(self) -> Workbench:
        """What its trials share."""
        from ablate.files.cache import cache_folder
        from ablate.model.environment import environment_of, preparation_cores
        from ablate.trial.workbench import Workbench

        study = self.study()
        environment, threads = environment_of(study.run), preparation_cores()
        return Workbench(study, self.base, cache_folder(), environment, threads)

    def text(self) -> str:
        """The study file."""
        return _written(self)


def _with_sizes(draft: _Draft, answers: Answers, origin: Origin | None, ask: Ask) -> _Draft:
    """The side that the network sees, and the shorter side before the crop."""
    from ablate.model.build import own_image_size
    from ablate.study.settings import ModelSettings

    images = draft.images
    own = own_image_size(ModelSettings(name=draft.model))
    is_silent = origin is not None and origin.is_silent
    side = answers.image_size
    if side is None and not is_silent:
        side = origin.image_size if origin is not None else own
    if side is None and images.are_of(own or 0):
        side = own
    if side is None:
        side = ask(_which_size(draft, own))
    resize = answers.resize
    if resize is None and origin is not None and not is_silent and side == origin.image_size:
        resize = origin.resize
    if resize is None and not images.are_of(side):
        resize = ask(_which_resize(draft, side)) if is_silent else side
    if resize is not None and resize < side:
        raise ParameterError(
            f"--resize: must be at least the image size {side}, got {resize}. Raise it, or lower "
            "--image-size."
        )
    return replace(draft, image_size=side, resize=resize)


def _which_size(draft: _Draft, own: int | None) -> Question:
    sizes = draft.images.scan.sizes
    choices = {"N": "any other"}
    if len(sizes) == 1 and (found := next(iter(sizes)))[0] == found[1]:
        choices = {str(found[0]): "the images' own"} | choices
    if own is not None:
        choices = {str(own): "the network's own"} | choices
    whose = "weights do" if draft.checkpoint else "network does"
    return Question(
        "--image-size",
        f"Which side in pixels does the network see?  The {whose} not say it; the images are "
        f"{draft.images.sizes_text}.",
        choices,
        _whole,
    )


def _which_resize(draft: _Draft, side: int) -> Question:
    usual = round(side * 8 / 7)
    return Question(
        "--resize",
        "To which shorter side in pixels were images resized before the centre crop?  The weights "
        f"do not say it; the images are {draft.images.sizes_text}, the network sees "
        f"{side} x {side}.",
        {
            str(side): "only the longer side is cut",
            str(usual): "the usual crop of ImageNet's evaluation",
            "N": "any other",
        },
        _whole,
    )


def _whole(text: str) -> int:
    if not text.isdecimal() or not 8 <= int(text) <= 2048:
        raise ParameterError(f"must be a whole number of pixels from 8, got {text!r}. Correct it.")
    return int(text)


def _with_normalization(draft: _Draft, answers: Answers, ask: Ask, working: Working) -> _Draft:
    """How images are normalised: as said, as the weights say, or as asked; it is never guessed."""
    from ablate.model.origin import Normalization
    from ablate.model.weights.preprocessing import brings_statistics
    from ablate.study.settings import ModelSettings

    choice: Any = answers.normalization
    Normalization(choice, answers.mean, answers.std).check()
    if answers.mean is not None and answers.std is not None:
        choice = {"mean": list(answers.mean), "std": list(answers.std)}
    checkpoint = draft.checkpoint
    if choice is None:
        settings = ModelSettings(name=draft.model)
        if checkpoint is None or brings_statistics(settings, checkpoint, Path()):
            return draft
        with working("scoring the weights"):
            question = _which_normalization(draft)
        choice = ask(question)
    return replace(draft, normalization=choice)


_HALF = "--mean 0.5,0.5,0.5 --std 0.5,0.5,0.5"


def _which_normalization(draft: _Draft) -> Question:
    """With the accuracy of each choice, from which a wrong one is seen at once."""
    from ablate.model.build import own_statistics
    from ablate.model.normalization import IMAGENET
    from ablate.study.settings import ModelSettings

    choices = {
        "imagenet": _numbers(IMAGENET),
        "dataset": "mean and std of the training images",
        "none": "images in [0, 1], as where the network normalises itself",
        _HALF: "images in [-1, 1], or any other numbers",
    }
    own = own_statistics(ModelSettings(name=draft.model))
    if own is not None and own not in (IMAGENET, ((0.5,) * 3, (0.5,) * 3)):
        mean, std = (",".join(f"{value:g}" for value in part) for part in own)
        choices[f"--mean {mean} --std {std}"] = "those of the network's published weights"
    tried = {
        choice: _try_checkpoint(replace(draft, normalization=_statistics_of(choice)))
        for choice in choices
    }
    n = next(iter(tried.values()))[1]
    return Question(
        "--normalization",
        "How were images normalised?  The weights do not say it; in brackets: the share of "
        f"{n:,} validation images that they are right on when fed so.",
        {choice: f"{choices[choice]} ({100 * tried[choice][0]:.1f} %)" for choice in choices},
        _statistics_of,
    )


def _statistics_of(text: str) -> str | dict[str, list[float]]:
    """The value of `model.normalization` that an answer means."""
    from ablate.model.origin import Normalization

    if text in ("imagenet", "dataset", "none"):
        return text
    numbers = text.replace("--mean", " ").replace("--std", " ").split()
    try:
        mean, std = (tuple(map(float, part.split(","))) for part in numbers)
    except ValueError:
        raise ParameterError(
            f"must be imagenet, dataset, none, or numbers as {_HALF}, got {text!r}. Correct it."
        ) from None
    Normalization(None, mean, std).check()
    return {"mean": list(mean), "std": list(std)}


def _try_checkpoint(draft: _Draft) -> tuple[float, int]:
    """Accuracy of the weights as fed by this draft, on at most 500 validation images; not
    cached."""
    from ablate.data.dataset import draw_stratified
    from ablate.finetune.baseline import new_network
    from ablate.model.weights.external_checkpoint import load_external
    from ablate.robustness.score import score_images

    bench = draft.bench()
    assert draft.checkpoint is not None
    written = bench.study.baseline.checkpoint
    assert written is not None
    bench.environment.apply()
    split = bench.dataset.validation
    split = split.take(draw_stratified(split.labels, 500, 0))
    model = new_network(bench.dataset, bench.study.model, seed=0, base=draft.base)
    load_external(model, bench.study.model, written, draft.base)
    return score_images(model, split, bench.environment).accuracy, len(split)


def _with_seen(draft: _Draft, answers: Answers, ask: Ask) -> _Draft:
    """Whether the weights have seen the validation images."""
    seen = answers.saw_validation
    if draft.checkpoint is None:
        return draft
    if seen is None:
        images = draft.images
        own = images.has_validation
        seen = ask(
            Question(
                "--saw-validation",
                "Were the weights trained on some of the validation images?  "
                + ("They are val/." if own else "They are drawn from the training images."),
                {"yes": "every result is marked so", "no": "they have seen none of them"},
                _yes_or_no,
                default=None if own else "yes",
            )
        )
    return replace(draft, saw_validation=seen)


def _yes_or_no(text: str) -> bool:
    if text.lower() not in ("yes", "y", "no", "n"):
        raise ParameterError(f"must be yes or no, got {text!r}. Correct it.")
    return text.lower() in ("yes", "y")


def _with_network(draft: _Draft) -> _Draft:
    """Whether it has a tap that gives a feature map, and batch norm."""
    from ablate.model.inspect import has_adaptable_norm, usable_taps

    return replace(
        draft,
        has_taps=bool(usable_taps(draft.model, draft.base)),
        has_batch_norm=has_adaptable_norm(draft.model, draft.base),
    )


# -- The baseline's accuracy -------------------------------------------------------------------


def _with_accuracy(draft: _Draft, answers: Answers, ask: Ask, say: Say, working: Working) -> _Draft:
    """The clean accuracy of the baseline, scored as the study scores it, and confirmed."""
    from ablate.robustness.score import score_images
    from ablate.study.baseline_checks import CAUSES, WARNING_ERRORS, expected_rule, guess_rule
    from ablate.study.preparation import fed_text

    bench = draft.bench()
    bench.environment.apply()
    trained = "training" if draft.checkpoint is None else "scoring"
    with working(f"{trained} the baseline"):
        model = bench.build_baseline()
        validation = bench.dataset.validation
        accuracy, n = score_images(model, validation, bench.environment).accuracy, len(validation)
    preprocessing = bench.preprocessing_of(model)
    counts = draft.images.training
    most = max(counts, key=lambda name: counts[name])
    share = counts[most] / sum(counts.values())
    say(
        f"baseline: right on {fed_text(accuracy, n, preprocessing)} (a network that always answers "
        f"{show_name(most)}: {100 * share:.1f} %)"
    )
    text = fed_text(accuracy, n, None)
    expected = answers.expected_accuracy
    if rule := expected_rule(expected, accuracy, n, preprocessing):
        raise UsageError(f"--expected-accuracy: {rule}")
    if not answers.is_as_expected:
        doubt = guess_rule(accuracy, show_name(most), share)
        if doubt is not None:
            raise UsageError(f"baseline: {doubt}. Correct that, or give --yes to go on.")
        if rule := expected_rule(expected, accuracy, n, preprocessing, errors=WARNING_ERRORS):
            raise UsageError(f"--expected-accuracy: {rule} Or give --yes to go on.")
    if expected is None and not answers.is_as_expected:
        is_expected = ask(
            Question(
                "--yes",
                f"{text}: is that what you expect?",
                {"yes": "go on", "no": "it is fed otherwise than it was trained, or not converged"},
                _yes_or_no,
            )
        )
        if not is_expected:
            raise UsageError(
                f"baseline: must be as good as it was, got {text} right. Either {CAUSES}: correct "
                "that."
            )
    return replace(draft, measured=(accuracy, n), expected=expected)


def _numbers(statistics: Statistics) -> str:
    mean, std = (", ".join(f"{value:.4g}" for value in part) for part in statistics)
    return f"mean {mean}, std {std}"


# -- The size of the search --------------------------------------------------------------------


def _with_size(draft: _Draft, minutes: float, say: Say, working: Working) -> _Draft:
    """The largest search that fits, by a batch and a scoring that are timed."""
    from ablate.model.environment import gpu_count, preparation_cores
    from ablate.trial.estimate import estimate_trial

    bench = draft.bench()
    with working("timing a batch"):
        trial = estimate_trial(bench)
        copy_seconds = _copy_seconds(bench)
    cores = preparation_cores()
    steps = max(1, trial.train_images // draft.batch_size)
    size = SearchSize(
        images=trial.validation_images,
        steps=steps,
        step_seconds=trial.step_seconds,
        score_seconds=trial.score_seconds / trial.validation_images,
        copy_seconds=copy_seconds / cores,
        parallel=gpu_count() or cores,
        minutes=minutes,
    )
    if draft.checkpoint is None:
        size = replace(size, epochs=size.baseline_epochs)
    size = size.fitted()
    if size.seconds > 60 * minutes:
        say(
            f"note: the smallest search that makes sense takes longer than {minutes:g} min on this "
            "machine; a GPU, smaller images or another network are faster"
        )
    say(
        f"search: {size.trials} trials of {size.passes_text} over {trial.train_images:,} images: "
        f"about {size.duration} on this machine ({size.parallel} at once, "
        f"{1000 * trial.step_seconds:.0f} ms a batch of {draft.batch_size})"
    )
    return replace(draft, size=size)


def _copy_seconds(bench: Workbench) -> float:
    """Of making all corrupted copies of a validation image, on one core: from a few."""
    import time

    from ablate.robustness.evaluation_set import Recipe

    validation, robustness = bench.dataset.validation, bench.study.robustness
    recipe = Recipe(bench.suite, robustness.severities, robustness.seed)
    sample = validation.images[:8]

    def corrupt() -> float:
        began = time.perf_counter()
        for kind in bench.suite.types:
            recipe.corrupt(sample, kind, robustness.severities[0], start=0)
        return time.perf_counter() - began

    corrupt()  # the first also imports what they need
    return corrupt() * len(robustness.severities) / len(sample)


# -- The file ----------------------------------------------------------------------------


def _written(draft: _Draft) -> str:
    """The study file, with a comment where a choice was made."""
    from importlib.resources import files

    from jinja2 import Environment, StrictUndefined

    size, images, n = draft.size, draft.images, draft.training_count
    more = ["clean+fma", "clean+da+fma"] if draft.has_taps else ["clean+da+st"]
    accuracy, count = draft.measured or (0.0, 0)
    expected = accuracy if draft.expected is None else draft.expected
    environment = Environment(
        autoescape=False, trim_blocks=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    template = files(__package__) / "own_study.yaml.j2"
    # Measured with batches of 128; in proportion for smaller ones (Goyal et al. 2017).
    rate = 0.01 * draft.batch_size / 128 if draft.has_batch_norm else 1e-4
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        model=_scalar(draft.model),
        name=_scalar(draft.name),
        question=_scalar(f"Which finetuning makes {draft.model} more robust on my images?"),
        path=_scalar(relative_to(images.folder.absolute(), draft.base)),
        about=images.about,
        validation=None if images.has_validation else f"{images.validation_fraction:g}",
        image_size=draft.image_size,
        resize=draft.resize,
        skip_unreadable=draft.skip_unreadable,
        streamed=3 * draft.image_size**2 * n > _LARGEST_RESIDENT,
        normalization=_flow(draft.normalization),
        checkpoint=draft.written_checkpoint,
        saw_validation=str(draft.saw_validation).lower(),
        epochs=max(size.epochs, 1),
        accuracy=None if draft.measured is None else f"{expected:.3f}",
        measured=f"measured: {100 * accuracy:.1f} % of {count:,} validation images",
        passes=size.passes_text,
        training_count=f"{n:,}",
        minutes=f"{size.minutes:g}",
        parallel=size.parallel,
        step_milliseconds=f"{1000 * size.step_seconds:.0f}",
        duration=size.duration,
        budget_images=2 * size.passes * max(n, draft.batch_size),
        batch_size=draft.batch_size,
        has_batch_norm=draft.has_batch_norm,
        learning_rate=f"{rate:g}",
        learning_rates=f"[{rate / 10:g}, {3 * rate:g}]",
        has_taps=draft.has_taps,
        terms=["clean+da", "clean+st", *more],
        trials=size.trials,
        suite=draft.suite,
        suite_reason=_SUITES[draft.suite],
        images=size.images if size.images < count else None,
        validation_count=f"{count:,}",
    )


_SUITES = {
    "families_grey": "the images are grey",
    "cifar10c": f"up to {_SMALL} pixels; imagenetc above",
    "imagenetc": f"above {_SMALL} pixels; cifar10c up to that",
}


def _scalar(text: str) -> str:
    """A text as YAML."""
    from ablate.study.yaml_source import write_yaml

    return write_yaml({"": text}).partition(": ")[2].rstrip("\n")


def _flow(value: str | dict[str, list[float]]) -> str | None:
    """As YAML in one line; None of the default."""
    if isinstance(value, str):
        return None if value == "auto" else value
    parts = (f"{key}: [{', '.join(f'{one:g}' for one in ones)}]" for key, ones in value.items())
    return f"{{{', '.join(parts)}}}"

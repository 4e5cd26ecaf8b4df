"""Two networks of RobustBench, scored by ablate beside their published accuracies.

    python benchmarks/anchor.py --official CIFAR-10-C --data FOLDER \\
        --standard Standard.pt --augmix Hendrycks2020AugMix_WRN.pt

prints a Markdown table; a network whose file is not given is "not run". Nothing is downloaded:

    --official   CIFAR-10-C as it is published (zenodo.org, record 2535967)
    --data       the folder with CIFAR-10's files (cifar-10-batches-py)
    --standard   `Standard` of RobustBench's models for CIFAR-10 and common corruptions, WRN-28-10
    --augmix     `Hendrycks2020AugMix_WRN` of these, WRN-40-2; or a checkpoint of AugMix's own code

Both are scored as RobustBench does: in fp32, on images in [0, 1] (AugMix's network shifts them by
0.5 and divides them by 0.5), on all 10,000 images of each of fifteen corruptions at five
severities; the accuracy on CIFAR-10-C is the mean over these 75. Tensors are matched by their
order, in which the published networks and ablate's agree.

760,000 images through a WRN-28-10 are work for a GPU, which is used if there is one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import ablate
from ablate.errors import AblateError
from ablate.robustness.evaluation import Evaluation

IMAGES = 10_000
WITHIN = 0.2
"""In points: the largest difference that counts as agreement."""


class Anchor(NamedTuple):
    """A published network.

    Attributes:
        name: in the table; model: of `ablate evaluate`.
        normalization: further arguments of `ablate.evaluate`.
        clean, corrupted: published accuracies in percent, on CIFAR-10 and on CIFAR-10-C.
    """

    name: str
    model: str
    normalization: dict[str, Any]
    clean: float
    corrupted: float


# Published: RobustBench's leaderboard for CIFAR-10 and common corruptions; its table of single
# cells (model_info/cifar10/corruptions/unaggregated_results.csv) has the means 73.457 and 88.821.
ANCHORS = {
    "standard": Anchor("Standard, WRN-28-10", "wrn-28-10", {"normalization": "none"}, 94.78, 73.46),
    "augmix": Anchor(
        "AugMix, WRN-40-2", "wrn-40-2", {"mean": (0.5,) * 3, "std": (0.5,) * 3}, 95.08, 88.82
    ),
}
HEADER = "| network | images | n | accuracy, % | published | difference | |\n" + "|---" * 7 + "|"


def main() -> None:
    options = parse_options()
    print(HEADER)
    for option, anchor in ANCHORS.items():
        found = None
        if (file := getattr(options, option)) is not None:
            try:
                found = score(anchor, file, options)
            except AblateError as error:
                raise SystemExit(f"{anchor.name}: {error}") from error
        print("\n".join(rows_of(anchor, found)), flush=True)


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="RobustBench's networks beside their figures.")
    parser.add_argument("--standard", metavar="FILE", help="RobustBench's Standard.pt")
    parser.add_argument("--augmix", metavar="FILE", help="its Hendrycks2020AugMix_WRN.pt")
    parser.add_argument("--official", metavar="FOLDER", required=True, help="CIFAR-10-C")
    parser.add_argument("--dataset", default="cifar10", help="the clean images; default: cifar10")
    parser.add_argument("--data", metavar="FOLDER", help="folder of the data set's files")
    return parser.parse_args(arguments)


def score(anchor: Anchor, file: str, options: argparse.Namespace) -> Evaluation:
    """The network with the weights of a file, on the clean and the corrupted images."""
    return ablate.evaluate(
        anchor.model,
        checkpoint=file,
        checkpoint_order=True,
        dataset=options.dataset,
        data=options.data,
        official=options.official,
        suite="cifar10c",
        precision="fp32",
        progress=lambda copy, done, total: print(
            f"{anchor.name}: {copy}, {done} of {total}", file=sys.stderr
        ),
        **anchor.normalization,
    )


def rows_of(anchor: Anchor, found: Evaluation | None) -> Iterator[str]:
    """The rows of a network: on clean images, on CIFAR-10-C; None: not run."""
    for images, published in (("clean", anchor.clean), ("CIFAR-10-C", anchor.corrupted)):
        if found is None:
            yield f"| {anchor.name} | {images} | | not run | {published} | | |"
            continue
        clean = found.clean
        assert clean is not None
        n = clean.n if images == "clean" else found.data.n
        accuracy = 100 * (clean.accuracy if images == "clean" else found.accuracy())
        count = f"{n:,}" if images == "clean" else f"{n:,} x {len(found.cells)}"
        yield (
            f"| {anchor.name} | {images} | {count} | {accuracy:.2f} | {published} | "
            f"{accuracy - published:+.2f} | {judge(accuracy, published, n)} |"
        )


def judge(accuracy: float, published: float, n: int) -> str:
    """Whether an accuracy agrees with the published one, both in percent.

    Args:
        n: images; of fewer than the published figure's nothing is said.
    """
    if n != IMAGES:
        return f"not comparable: needs {IMAGES:,} images"
    within = round(abs(accuracy - published), 2) <= WITHIN
    return f"within {WITHIN}" if within else f"not within {WITHIN}"


if __name__ == "__main__":
    main()

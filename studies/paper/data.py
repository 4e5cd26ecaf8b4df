"""Links to the images of the study: `python studies/paper/data.py FOLDER FROST`.

FOLDER has train/CLASS/* and test/CLASS/*, FROST the six photographs of the benchmark.  Of the test
images, the 2,000 that earlier work looked at are left out.  Run it in the root of the project.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

LOOKED_AT = 2000
"""Test images that earlier work has looked at: `torch.randperm(10000, manual_seed(1))[:2000]`."""


def main(folder: Path, frost: Path, made: Path = Path("runs/paper")) -> None:
    """Link the training images, the other test images and the photographs into `made`."""
    made.mkdir(parents=True)
    (made / "frost").symlink_to(frost.resolve())
    (made / "data").mkdir()
    (made / "data" / "train").symlink_to((folder / "train").resolve())
    images = sorted((folder / "test").glob("*/*"))
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(1)).tolist()
    for place in order[LOOKED_AT:]:
        link = made / "data" / images[place].relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(images[place].resolve())


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))

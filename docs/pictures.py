"""The pictures of README and of the docs, by one command, and the numbers that they show.

    python docs/pictures.py                    # what the archives of studies/paper say
    python docs/pictures.py --data FOLDER      # the example images too, from CIFAR-10

FOLDER has train/CLASS/* and test/CLASS/*.  Example images need a finetuned network: pictures.yaml
trains it once (three minutes of a core), in the working folder.  Pictures go to docs/images/, their
numbers to docs/images/numbers.json: tests/test_pictures.py compares them with the text and with the
archives.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import chdir
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import plotly.graph_objects as go
from gallery import printed, restore

import ablate
from ablate.ledger.record import ADAPTED
from ablate.lifecycle.open_study import open_study
from ablate.report.style import FAINT_INK, FONT, INK, PAPER
from ablate.report.write import write_figure

if TYPE_CHECKING:
    import numpy as np
    from plotly.graph_objects import Figure
    from torch import Tensor, nn

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
RESULTS = ROOT / "studies" / "paper" / "results"

Numbers = dict[str, Any]

# -- The method, as a diagram -----------------------------------------------------------------

BLUE, GREEN, ORANGE = "#0072B2", "#007A57", "#A86400"
"""Of ST, FMA and DA: the hues of the figures, dark enough for text."""


class Shapes:
    """Parts of an SVG."""

    def __init__(self, width: int, height: int) -> None:
        self._size = width, height
        self._parts = [f'<rect width="{width}" height="{height}" fill="{PAPER}"/>']

    def box(self, x: float, y: float, width: float, height: float, *lines: str) -> None:
        self._parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="#F4F4F4" '
            f'stroke="{FAINT_INK}"/>'
        )
        first = y + height / 2 + 5 - 9 * (len(lines) - 1)
        for place, line in enumerate(lines):
            self.text(x + width / 2, first + 18 * place, line)

    def text(self, x: float, y: float, text: str, color: str = INK, **more: object) -> None:
        said = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in more.items())
        anchor = "" if "text_anchor" in more else ' text-anchor="middle"'
        self._parts.append(
            f'<text x="{x}" y="{y}" fill="{color}"{anchor}{said}>{escape(text)}</text>'
        )

    def arrow(
        self, *points: tuple[float, float], color: str = FAINT_INK, both: bool = False
    ) -> None:
        """A line with a head at its end, or at both ends."""
        path = " ".join(f"{x},{y}" for x, y in points)
        start = f' marker-start="url(#{color[1:]})"' if both else ""
        width = 2.5 if both else 1.5
        self._parts.append(
            f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="{width}" '
            f'marker-end="url(#{color[1:]})"{start}/>'
        )

    def svg(self, said: str) -> str:
        width, height = self._size
        heads = "".join(
            f'<marker id="{color[1:]}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="9" '
            'markerHeight="9" markerUnits="userSpaceOnUse" orient="auto-start-reverse">'
            f'<path d="M0,0 L8,4 L0,8 Z" fill="{color}"/></marker>'
            for color in (FAINT_INK, BLUE, GREEN, ORANGE)
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" font-family="{FONT}" font-size="15" role="img">'
            f"<title>{escape(said)}</title><defs>{heads}</defs>{''.join(self._parts)}</svg>\n"
        )


def draw_method(file: Path) -> None:
    """Where DA, ST, FMA and CA act: an image and its copy go through the same network."""
    shapes = Shapes(880, 330)
    top, low, tall = 50, 220, 60
    for y, what in ((top, ("image",)), (low, ("distorted", "copy"))):
        shapes.box(20, y, 100, tall, *what)
        shapes.arrow((120, y + 30), (218, y + 30))
        for place, layer in enumerate(("early layers", "late layers")):
            shapes.box(220 + 150 * place, y, 110, tall, layer)
            shapes.arrow((330 + 150 * place, y + 30), (368 + 162 * place, y + 30))
        shapes.box(532, y, 110, tall, "prediction")
    shapes.text(350, 30, "the network", FAINT_INK)
    shapes.text(350, 308, "the same network", FAINT_INK)
    shapes.arrow((70, top + tall), (70, low - 2))
    shapes.text(82, 145, "CA: of several types,", text_anchor="start")
    shapes.text(82, 165, "noise, blur, light, ...", text_anchor="start")
    middle = (top + tall + 4, low - 4)
    for x, color, name, what in (
        (425, GREEN, "FMA", "same feature maps"),
        (587, BLUE, "ST", "same prediction"),
    ):
        shapes.arrow((x, middle[0]), (x, middle[1]), color=color, both=True)
        shapes.text(x + 10, 157, name, color, text_anchor="start", font_weight="bold")
        shapes.text(x + 10, 177, what, color, text_anchor="start")
    shapes.box(748, 135, 110, tall, "right class")
    shapes.arrow((642, top + 30), (803, top + 30), (803, 133))
    shapes.arrow((642, low + 30), (803, low + 30), (803, 197), color=ORANGE)
    shapes.text(722, top + 22, "plain finetune", FAINT_INK)
    shapes.text(722, low + 48, "DA", ORANGE, font_weight="bold")
    file.write_text(
        shapes.svg(
            "An image and its distorted copy go through the same network. Plain finetuning asks "
            "for the right class of the image, DA for that of the copy, ST for the same "
            "prediction, FMA for the same feature maps. With CA copies are of several types."
        )
    )


# -- What the archives say --------------------------------------------------------------------

DECIDED = RESULTS / "fma_decided.tar"
AT_LOSS = "test_robust_accuracy_untrained_at_clean_loss"
SHOWN = {
    "at_loss": AT_LOSS,
    "robust": "test_robust_accuracy_untrained",
    "clean": "test_clean_accuracy",
    "clean_at_loss": "test_clean_accuracy_at_clean_loss",
}


def gains() -> Numbers:
    """What the study that decides measured on the test images, in points.

    Returns:
        by metric, the declared contrasts and what each arm gains over the baseline, as [mean, low,
        high], and the contrasts `by_baseline`; `right_of_100` of each arm.
    """
    info = open_study(str(DECIDED)).source.answering.ablation
    assert info is not None
    assert info.compare is not None
    arms = {arm.name: arm.estimates for arm in info.arms}
    numbers: Numbers = {}
    for name, metric in SHOWN.items():
        declared = [info.effect(one.contrast, metric) for one in info.primary]
        found = {one.contrast: one.estimate for one in declared}
        for arm in [one for one in arms if one != "baseline"]:
            gain = info.compare(arm, "baseline", metric, 0.95)
            if gain.n:  # an adapted baseline has no stated clean loss
                found[f"{arm} - baseline"] = gain
        numbers[name] = {
            contrast: in_points((one.mean, one.low, one.high)) for contrast, one in found.items()
        }
        numbers[f"{name}_by_baseline"] = {
            one.contrast: in_points(one.by_baseline) for one in declared
        }
    numbers["right_of_100"] = {
        arm: in_points(found[metric].mean for metric in SHOWN.values())
        for arm, found in arms.items()
        if arm != ADAPTED
    }
    return numbers


def in_points(shares: Iterable[float]) -> list[float]:
    return [round(100 * one, 4) for one in shares]


def draw_gains(file: Path) -> None:
    """The declared contrasts, and what each arm gains over the plain finetune."""
    figure = ["--figure", "effects", "--objective", AT_LOSS, "--size", "640x560px"]
    printed(["plot", str(DECIDED), *figure, "--no-caption", "-o", str(file)])


FRONT = RESULTS / "paper_tune_0_FMA_CA.tar"


def front() -> Numbers:
    """Clean and robust accuracy of a search's trials and references, in percent."""
    record = ablate.read(FRONT)
    references = {
        name: (scores.clean_accuracy, scores.robust_accuracy)
        for name, scores in record.references.items()
    }
    trials = {f"trial {row.number}": row.values for row in record.complete}
    return {
        name: [round(100 * one, 4) for one in values]
        for name, values in (references | trials).items()
    }


def draw_front(file: Path) -> None:
    """As `ablate plot` draws it."""
    printed(["plot", str(FRONT), "--figure", "pareto", "--no-caption", "-o", str(file)])


def draw_report(file: Path) -> None:
    """The first screen of a report, in a browser of 1400 x 900."""
    browser = shutil.which("chromium") or shutil.which("google-chrome") or "chrome"
    with tempfile.TemporaryDirectory() as work, chdir(work):
        restore("quickstart")
        printed(["report", "runs/quickstart", "--no-images"])
        options = ["--headless", "--no-sandbox", "--hide-scrollbars", "--virtual-time-budget=9000"]
        page = Path("runs/quickstart/report.html").resolve().as_uri()
        screen = ["--window-size=1400,900", f"--screenshot={work}/screen.png"]
        subprocess.run([browser, *options, *screen, page], check=True, capture_output=True)
        shrink(Path("screen.png"), file)


# -- Images, with the data and a finetuned network ---------------------------------------------

SIX = ("shot_noise", "motion_blur", "snow", "contrast", "elastic_transform", "pixelate")
SEVERITY = 3
IMAGE = "ship/0064.jpg"
"""Chosen by hand: it shows what changes, not how often."""


class Networks(NamedTuple):
    """Before and after the finetuning, and the classes' names."""

    before: nn.Module
    after: nn.Module
    classes: Sequence[str]


def networks(data: Path) -> Networks:
    """Finetune as docs/pictures.yaml says, unless runs/pictures has it already."""
    from safetensors.torch import load_file

    study = ROOT / "docs" / "pictures.yaml"
    options = [f"dataset.path={data.resolve()}"]
    ablate.launch(study, options, resume=True, executor="inline")
    before, after = (ablate.load_model("runs/pictures", trial=0) for _ in range(2))
    weights = load_file(ROOT / "studies" / "paper" / "baselines" / "0.safetensors")
    before.network.load_state_dict(weights)
    return Networks(before, after, after.classes)


def unseen_images(data: Path) -> tuple[Tensor, list[str]]:
    """Every fourth test image, in the order of the folder."""
    import numpy as np
    import torch
    from PIL import Image

    files = sorted((data / "test").glob("*/*"))[::4]
    pixels = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    names = [f"{file.parent.name}/{file.name}" for file in files]
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), names


def draw_examples(file: Path, data: Path) -> Numbers:
    """One image under six distortions, and what the network says before and after."""
    nets = networks(data)
    images, names = unseen_images(data)
    place, truth = names.index(IMAGE), IMAGE.partition("/")[0]
    versions = {"clean": images} | {
        kind: ablate.corrupt(images, kind, SEVERITY, seed=0) for kind in SIX
    }
    said = {
        kind: [
            nets.classes[int(net(batch[place : place + 1]).argmax())]
            for net in (nets.before, nets.after)
        ]
        for kind, batch in versions.items()
    }
    write_small(strip(versions, said, place, truth), file)
    return {
        "image": IMAGE,
        "answers": said,
        "before": sum(said[kind][0] == truth for kind in SIX),
        "after": sum(said[kind][1] == truth for kind in SIX),
        "of": len(SIX),
    }


def strip(
    versions: Mapping[str, Tensor], said: Mapping[str, Sequence[str]], place: int, truth: str
) -> Figure:
    """The images in a row, with the two answers under each."""
    side, gap, left = 112, 8, 76
    figure = go.Figure()
    for column, (kind, batch) in enumerate(versions.items()):
        x = left + column * (side + gap)
        pixels = batch[place].permute(1, 2, 0).numpy()
        add_tile(figure, pixels, x, 30, side)
        add_text(figure, x + side / 2, 14, kind.replace("_", " "))
        for row, answer in enumerate(said[kind]):
            color = INK if answer == truth else "#B2501B"
            mark = "✓" if answer == truth else "✗"
            add_text(figure, x + side / 2, 160 + 24 * row, f"{mark} {answer}", color)
    for row, when in enumerate(("before", "after")):
        add_text(figure, left / 2, 160 + 24 * row, when, FAINT_INK)
    width = left + len(versions) * (side + gap)
    return canvas(figure, width, 204)


def draw_distortions(file: Path, data: Path) -> None:
    """The same image under every type that can be trained on, at full strength."""
    import torch

    from ablate.distortion import FAMILIES, load
    from ablate.distortion.random import make_generator

    images, names = unseen_images(data)
    picked = images[names.index(IMAGE)].float()[None] / 255
    side, gap, left = 96, 8, 104
    figure = go.Figure()
    for row, (family, kinds) in enumerate(FAMILIES.items()):
        y = 30 + row * (side + 34)
        add_text(figure, left / 2, y + side / 2, family, FAINT_INK)
        for column, kind in enumerate(kinds):
            generator = make_generator(1, picked.device)
            tile = load(kind)(picked, torch.ones(1), generator)[0]
            pixels = (255 * tile).round().byte().permute(1, 2, 0).numpy()
            x = left + column * (side + gap + 24) + 12
            add_tile(figure, pixels, x, y, side)
            add_text(figure, x + side / 2, y - 12, kind.replace("_", " "))
    widest = max(map(len, FAMILIES.values()))
    height = 30 + len(FAMILIES) * (side + 34) - 20
    write_small(canvas(figure, left + widest * (side + gap + 24), height), file)


def add_tile(figure: Figure, pixels: np.ndarray, x: float, y: float, side: int) -> None:
    from PIL import Image

    figure.add_layout_image(
        source=Image.fromarray(pixels).resize((4 * 32, 4 * 32), Image.Resampling.BICUBIC),
        **{"x": x, "y": y, "sizex": side, "sizey": side, "xref": "x", "yref": "y"},
    )


def add_text(figure: Figure, x: float, y: float, text: str, color: str = INK) -> None:
    figure.add_annotation(x=x, y=y, text=text, showarrow=False, font={"color": color})


PNG = 1.5 / 400
"""Inches of a pixel for `write_figure`: a PNG 1.5 times as wide."""


def canvas(figure: Figure, width: int, height: int) -> Figure:
    """A plane in pixels, from the upper left."""
    figure.update_xaxes(range=[0, width], visible=False)
    figure.update_yaxes(range=[height, 0], visible=False)
    figure.update_layout(
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        font={"family": FONT, "size": 14},
        paper_bgcolor=PAPER,
        plot_bgcolor=PAPER,
    )
    figure.layout.meta = {
        "image_pixels": [width, height],
        "inches": [width * PNG, height * PNG],
    }
    return figure


def write_small(figure: Figure, file: Path) -> None:
    write_figure(figure, file)
    shrink(file, file)


def shrink(source: Path, file: Path) -> None:
    """Keep 256 colours, among them those of few pixels: marks are told apart by them."""
    from PIL import Image

    with Image.open(source) as image:
        small = image.convert("RGB").quantize(
            256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
        )
    small.save(file, optimize=True)


# -- All of them ------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description="The pictures of README and docs.")
    parser.add_argument("--data", type=Path, help="folder of CIFAR-10, for the example images")
    data = parser.parse_args().data
    file = IMAGES / "numbers.json"
    numbers = json.loads(file.read_text()) if file.exists() else {}
    numbers |= {"gains": gains(), "front": front()}
    draw_method(IMAGES / "method.svg")
    draw_gains(IMAGES / "gains.svg")
    draw_front(IMAGES / "front.svg")
    draw_report(IMAGES / "report.png")
    if data is not None:
        numbers["examples"] = draw_examples(IMAGES / "examples.png", data)
        draw_distortions(IMAGES / "distortions.png", data)
    file.write_text(json.dumps(numbers, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""A study with a custom training loop: it needs no torch, and takes no time."""

from __future__ import annotations

from pathlib import Path

import yaml

LOOP = """
def train(context):
    context.report(1, {"a": context.params["x"], "b": 1.0})
"""


def write_own_study(folder: Path, name: str, loop: str = LOOP, **keys: object) -> Path:
    """The file of a study of two objectives, `a` and `b`, and `loop_NAME.py` beside it.

    Args:
        loop: code with a function `train`.
        keys: replace the file's top-level keys.
    """
    (folder / f"loop_{name}.py").write_text(loop)
    study = {
        "version": 1,
        "name": name,
        "trainable": f"loop_{name}:train",
        "finetune": {"budget": {"epochs": 1}},
        "space": {"x": {"float": [0.0, 1.0]}},
        "objectives": [{"metric": "a"}, {"metric": "b"}],
        "search": {"trials": 3, "sampler": "random"},
    }
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump({**study, **keys}, sort_keys=False))
    return file

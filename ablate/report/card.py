"""A model card in Hugging Face's format: README.md beside an exported network.

Source: https://huggingface.co/docs/hub/model-cards; `huggingface_hub` writes it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ablate.analysis.caveats import OVERLAP
from ablate.data import NAMED
from ablate.errors import MissingDependencyError, UsageError, pip_install
from ablate.files.cache import publish_file
from ablate.lifecycle.open_study import OpenStudy, read_bits
from ablate.model.weights.export_metadata import network_name, read_metadata
from ablate.robustness.bits import image_shares, unpack_bits
from ablate.robustness.measures import Interval, mean_interval, wilson_interval
from ablate.study.mixture import Mixture
from ablate.study.scores import AT_CLEAN_LOSS, TOTALS, Scores


def card_path(output: Path) -> Path:
    """Where the card of a file will be.

    Raises:
        MissingDependencyError: if huggingface_hub is not installed.
        UsageError: if a README.md of somebody else is there.
    """
    if find_spec("huggingface_hub") is None:
        rule = "`card=True`: needs huggingface_hub, got no such package."
        raise MissingDependencyError(f"{rule} Run {pip_install('card')}.")
    card = output.absolute().parent / "README.md"
    if card.exists() and "`ablate export --card`" not in card.read_text(errors="replace"):
        raise UsageError(
            f"{card}: must be a model card that ablate wrote, got another file. Export to a folder "
            f"of its own: {output.with_suffix('') / output.name}."
        )
    return card


def write_card(study: OpenStudy, point: Mixture | None, int8: str, output: Path) -> None:
    """Write the card of an exported network: use, numbers with intervals, limits, study.

    Args:
        study: with its trials as rows; point, int8, output: of `export_network`.
    """
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    said = read_metadata(output)
    assert said is not None
    scores, bits = _scored(study, point)
    data_set, metrics = said.dataset, {} if scores is None else scores.metrics()
    split = "test" if scores and scores.split == "test" else "validation"
    asked = [objective.metric.partition("_")[2] for objective in study.record.study.objectives]
    shown = [name for name in TOTALS if name in asked or name.startswith(("clean", "robust_acc"))]
    results = [
        EvalResult(
            task_type="image-classification",
            dataset_type=data_set,
            dataset_name=data_set,
            dataset_split=split,
            metric_type="accuracy",
            metric_value=round(metrics[name], 4),
            metric_name=TOTALS[name.partition("_")[2]].label,
        )
        for name in metrics
        # In 8 bits it is another network than the one that was scored.
        if name.partition("_")[2] in ("clean_accuracy", "robust_accuracy") and not int8
    ]
    title = f"{study.record.name}, {network_name(said.training)}"
    data = ModelCardData(
        model_name=title,
        library_name={".onnx": "onnx", ".pt2": "pytorch"}.get(output.suffix, "ablate"),
        pipeline_tag="image-classification",
        tags=["ablate", "robustness", *(["int8"] if int8 else [])],
        datasets=[data_set] if data_set in NAMED else None,
        metrics=["accuracy"],
        eval_results=results or None,
    )
    card = ModelCard.from_template(
        data,
        template_str=(files(__package__) / "card.md.j2").read_text(encoding="utf-8"),
        title=title,
        said=said,
        study=study,
        source=study.source,
        point=point,
        scores=scores,
        interval=partial(_interval, scores, bits),
        metrics=metrics,
        before=_before(study, scores),
        shown=[name for name in shown if not name.endswith(AT_CLEAN_LOSS)],
        totals=TOTALS,
        overlap=OVERLAP,
        split=split,
        int8=int8,
        file=output.name,
    )
    publish_file(card_path(output), card.save)


def _before(study: OpenStudy, scores: Scores | None) -> dict[str, float]:
    """The baseline's metrics; those of types that were (not) trained on are of the same types as
    the network's."""
    record = study.record
    scored = record.test_references if scores and scores.split == "test" else record.references
    before = scored.get("baseline")
    if scores is None or not isinstance(before, Scores):
        return {}
    return replace(before, seen_types=scores.seen_types, exposure=scores.exposure).metrics()


def _interval(scores: Any, bits: str | None, metric: str) -> Interval | None:
    """Over the images; None: which ones were classified correctly is not known."""
    if metric.endswith("_clean_accuracy"):
        return wilson_interval(round(scores.clean_accuracy * scores.n_images), scores.n_images)
    shares = image_shares(unpack_bits([bits], scores), scores, metric) if bits else None
    return None if shares is None else mean_interval(shares[0])


def _scored(study: OpenStudy, point: Mixture | None) -> tuple[Scores | None, str | None]:
    """The scores of a network and their bits; None: they are not known."""
    record = study.record
    if point is None:
        plain = read_bits(study.place, [])[1].get("plain", {})
        return record.references["plain"], plain.get("val")
    if len(point.trials) == 1:
        row = record.rows[point.trials[0]]
        own = record.study.with_values(dict(row.params)).finetune.result_alpha
        scores = row.test_scores or row.scores
        if isinstance(scores, Scores) and point.alpha == (row.path.alpha if row.path else own):
            bits = read_bits(study.place, [row.origin])[0]
            return scores, bits.get(row.origin, {}).get(scores.split)
    for one in record.shown_mixtures.scored:  # of one trial too, at another alpha
        if one.mixture == point:
            return one.scores, one.bits or None
    return None, None

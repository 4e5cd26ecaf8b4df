"""A row that trains nothing: its network is the mean of those that other rows have finetuned.

Source: Wortsman et al. 2022, arXiv:2203.05482, sec. 2, the uniform soup.  Differs: the ingredients
are the trials of a front, each at its own alpha; batch-norm statistics are averaged as weights are.
Not to be confused with the greedy soup, which chooses ingredients by a held-out score.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import nn

from ablate.errors import AblateError, ParameterError
from ablate.files.durable import Checkpoint
from ablate.finetune.interpolation import mean_weights
from ablate.ledger.record import Row, Soup
from ablate.model.weights.export_metadata import ExportMetadata, export_weights, read_metadata
from ablate.robustness.bits import kept_scores
from ablate.study.scores import Scores
from ablate.trial.task import Interim, weights_file
from ablate.trial.workbench import Workbench


class SoupTrial:
    """Averages the exported weights of other rows, scores the network and exports it.

    Args:
        workbench: of the study.
        row: with a soup.
        folder: of the run, with the weights of the rows that it averages.
        test: suite and severities for the test images; None: they are not used.
    """

    done = True
    epoch = 0

    def __init__(
        self, workbench: Workbench, row: Row, folder: Path, test: Mapping[str, Any] | None
    ) -> None:
        assert row.soup is not None
        assert row.number is not None
        self._soup: Soup = row.soup
        self._number = row.number
        self._folder = folder
        self._test = test
        seeded = {
            "dataset.validation.seed": row.seeds.split,
            "robustness.seed": row.seeds.evaluation,
        }
        self._bench = workbench.fitting(workbench.study.with_values({**seeded, **row.params}))
        self._bench.environment.apply()

    def next_entry(self, pause: object) -> None:
        """Nothing is trained."""

    def interim(self) -> Interim:
        return Interim({})

    def save(self, folder: str) -> None:
        """There is no training state."""

    def restore(self, saved: Checkpoint) -> None:
        """There is no training state."""

    def end(self) -> tuple[Scores, Mapping[str, Any]]:
        """Scores of the soup; its costs are those of all the trainings.

        Raises:
            ParameterError: if a member has failed, or weights are missing, damaged, of another
                baseline or of another shape.
            NotFiniteError: if the network's output is NaN or infinite.
        """
        model, metadata = self._average()
        about: dict[str, Any] = {"seen_types": metadata.seen_types, **self._soup.costs}
        scored, tested = self._bench.score(model, **about), None
        if self._test is not None:
            tested = self._bench.score(model, test=self._test, **about)
        export_weights(model, weights_file(self._folder, self._number), metadata)
        return scored.scores, kept_scores(scored, tested)

    def close(self) -> str:
        return ""

    def _average(self) -> tuple[nn.Module, ExportMetadata]:
        """The mean network, and what to store with it."""
        if self._soup.missing:
            raise ParameterError(
                f"a soup needs the networks of all its members, got none of {self._soup.missing}. "
                "See why they failed: ablate trials."
            )
        model = self._bench.build_baseline()
        files = {number: weights_file(self._folder, number) for number in self._soup.members}
        found = [self._read(number, file) for number, file in files.items()]
        try:
            state = mean_weights(load_file(file) for file in files.values())
            model.load_state_dict(state)
        except (ValueError, RuntimeError) as error:
            raise ParameterError(
                f"a soup needs networks of one shape, got others in trials "
                f"{', '.join(map(str, files))}. Confirm those of one network: `trials`."
            ) from error
        seen = dict.fromkeys(kind for one in found for kind in one.seen_types)
        terms = dict.fromkeys(one.loss_terms for one in found)
        metadata = replace(
            found[0],
            trial=self._number,
            loss_terms=", ".join(terms),
            seen_types=tuple(seen),
            alpha=1.0,
        )
        return model, metadata

    def _read(self, number: int, file: Path) -> ExportMetadata:
        what = f"a soup needs the weights of trial {number}"
        try:
            metadata = read_metadata(file)
        except AblateError as error:
            raise ParameterError(f"{what}: {error}") from error
        if metadata is None or metadata.baseline_sha256 != self._bench.baseline.sha256:
            raise ParameterError(
                f"{what} to be finetuned from this study's baseline, got others in {file}. Confirm "
                "the search again under another name."
            )
        return metadata

"""A callback for loops that Lightning runs: it reports epochs to a study, and keeps its states.

Needs the extra `lightning`; only a loop of one's own that uses it imports this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ablate.errors import MissingDependencyError, ParameterError, did_you_mean, pip_install
from ablate.trial.own_loop import TrialContext

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ModuleNotFoundError as error:
    raise MissingDependencyError(
        "ablate.trial.lightning: needs lightning, got no such package. Run "
        f"{pip_install('lightning')}."
    ) from error

_STATE = "lightning.ckpt"


class ReportCallback(Callback):
    """Reports each epoch of a `Trainer` to the study, after its validation, with the trainer's
    whole state, so that an interrupted trial goes on; a stopped one ends inside `fit`.

    Args:
        trial: the loop's argument.
        metrics: names that the module logs; those of the study's objectives and constraints too.

    Raises:
        ParameterError: from `fit`, if a metric was not logged in an epoch.

    Example:
        >>> def train(trial):  # doctest: +SKIP
        ...     report = ReportCallback(trial, ["val_loss"])
        ...     trainer = Trainer(max_epochs=trial.epochs, callbacks=[report], **QUIET)
        ...     trainer.fit(module, images, validation, ckpt_path=report.state)
    """

    def __init__(self, trial: TrialContext, metrics: Sequence[str]) -> None:
        self._trial, self._metrics = trial, tuple(metrics)

    @property
    def state(self) -> Path | None:
        """What `fit` takes as `ckpt_path`; None in a trial that begins."""
        return None if self._trial.checkpoint is None else self._trial.checkpoint / _STATE

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning, after the validation of the epoch."""
        logged = trainer.callback_metrics
        if missing := [name for name in self._metrics if name not in logged]:
            rule = f"{type(pl_module).__name__} must log {missing[0]} in each epoch, got none"
            raise ParameterError(f"metrics: {rule}. {did_you_mean(missing[0], list(logged))}")
        trainer.save_checkpoint(self._trial.checkpoint_folder / _STATE)
        scores = {name: float(logged[name]) for name in self._metrics}
        self._trial.report(trainer.current_epoch + 1, scores)

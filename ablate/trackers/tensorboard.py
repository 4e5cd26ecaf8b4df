"""TensorBoard: one event file per row, with its hyperparameters for the HParams page.

A file is written whole when its row has ended, so a TensorBoard that is open shows it at its next
reload.  Below the folder: STUDY-IDENTITY/trial-00007/events.out.tfevents.ablate.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from ablate.files.cache import publish_file
from ablate.trackers.tracked import Epoch, TrackedRow, TrackedStudy

_FILE = "events.out.tfevents.ablate"
_UNREAD = "written"
"""The file until it is complete: TensorBoard reads whatever has `tfevents` in its name."""
_KINDS: dict[type, str] = {bool: "DATA_TYPE_BOOL", float: "DATA_TYPE_FLOAT64"}
_STATUS = {"COMPLETE": "STATUS_SUCCESS", "PRUNED": "STATUS_SUCCESS", "FAIL": "STATUS_FAILURE"}


class TensorBoard:
    """Writes the event files of one study below a folder."""

    name = "tensorboard"
    takes_running = False
    load_seconds = 0.05
    _study: TrackedStudy

    def __init__(self, folder: Path) -> None:
        self._root = folder

    @property
    def place(self) -> str:
        """Where its files are."""
        return str(self._root)

    def begin(self, study: TrackedStudy) -> Collection[int]:
        """Start with a study.

        Returns:
            Numbers of the rows that are written.
        """
        self._study = study
        return {
            int(file.parent.name.removeprefix("trial-"))
            for file in self._folder.glob(f"trial-*/{_FILE}")
        }

    def write(self, row: TrackedRow) -> None:
        """Write a row that has ended; a former file of it is replaced."""
        events = [_text_event("facts", _table(row.facts), row.started)]
        events += [event for epoch in row.epochs for event in _scalar_events(epoch)]
        session = [_session_start(row), _session_end(row)]
        self._publish(f"trial-{row.number:05d}", row.started, session + events)

    def finish(self, study: TrackedStudy) -> None:
        """Write what is known of the study itself: its objectives for the HParams page, its file,
        and the scores of its references."""
        events = [_experiment(study), _text_event("study file", _code(study.text), study.started)]
        events.append(_text_event("facts", _table(study.facts), study.started))
        events += _scalar_events(Epoch(0, study.started, study.references))
        self._publish("study", study.started, events)

    def attach(self, study: TrackedStudy, files: Sequence[Path]) -> None:
        """Show the Markdown among these files, and name the others, which TensorBoard cannot
        show."""
        self._study = study
        texts = [file.read_text(encoding="utf-8") for file in files if file.suffix == ".md"]
        others = [f"- `{file.absolute()}`" for file in files if file.suffix != ".md"]
        text = "\n\n".join([*texts, "\n".join(others)])
        self._publish("results", study.started, [_text_event("results", text, study.started)])

    @property
    def _folder(self) -> Path:
        return self._root / self._study.key

    def _publish(self, folder: str, started: float, events: Sequence[Any]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        def write(path: Path) -> None:
            with path.open("wb") as file:
                writer = RecordWriter(file)
                writer.write(
                    Event(wall_time=started, file_version="brain.Event:2").SerializeToString()
                )
                for event in events:
                    writer.write(event.SerializeToString())

        into = self._folder / folder
        for left in into.glob(f".{_UNREAD}.*"):  # by a driver that was killed
            left.unlink()
        publish_file(into / _UNREAD, write)
        (into / _UNREAD).replace(into / _FILE)


def _event(time: float, step: int, **value: Any) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Event(wall_time=time, step=step, summary=Summary(value=[Summary.Value(**value)]))


def _scalar_events(epoch: Epoch) -> list[Any]:
    return [
        _event(epoch.time, epoch.epoch, tag=name, simple_value=value)
        for name, value in epoch.values.items()
    ]


def _text_event(tag: str, text: str, time: float) -> Any:
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.types_pb2 import DT_STRING
    from tensorboard.plugins.text.metadata import create_summary_metadata

    tensor = TensorProto(dtype=DT_STRING, string_val=[text.encode()])
    tensor.tensor_shape.dim.add(size=1)
    return _event(time, 0, tag=tag, metadata=create_summary_metadata("", ""), tensor=tensor)


def _table(facts: Any) -> str:
    """A Markdown table of names and values."""
    lines = [f"| {name} | {str(value).replace('|', '/')} |" for name, value in facts.items()]
    return "\n".join(["| | |", "| --- | --- |", *lines])


def _code(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


# -- The HParams page: what a session has (a row), and what it is judged by (the study) ----------


def _hparams_event(tag: str, content: Any, time: float) -> Any:
    from tensorboard.plugins.hparams import metadata

    made = metadata.create_summary_metadata(content)
    return _event(time, 0, tag=tag, metadata=made, tensor=metadata.NULL_TENSOR)


def _session_start(row: TrackedRow) -> Any:
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo

    info = SessionStartInfo(group_name=row.name, start_time_secs=row.started)
    for name, value in row.params.items():
        if isinstance(value, bool):
            info.hparams[name].bool_value = value
        elif isinstance(value, int | float):
            info.hparams[name].number_value = value
        else:
            info.hparams[name].string_value = str(value)
    content = HParamsPluginData(session_start_info=info)
    return _hparams_event(metadata.SESSION_START_INFO_TAG, content, row.started)


def _session_end(row: TrackedRow) -> Any:
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.api_pb2 import Status
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

    ended = row.ended or row.started
    info = SessionEndInfo(status=Status.Value(_STATUS[row.state]), end_time_secs=ended)
    content = HParamsPluginData(session_end_info=info)
    return _hparams_event(metadata.SESSION_END_INFO_TAG, content, ended)


def _experiment(study: TrackedStudy) -> Any:
    """The columns of the page: hyperparameters, with their kind, and objectives."""
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.api_pb2 import (
        DataType,
        Experiment,
        HParamInfo,
        MetricInfo,
        MetricName,
    )
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    experiment = Experiment(
        name=study.name,
        description=str(study.facts["question"]),
        time_created_secs=study.started,
        hparam_infos=[
            HParamInfo(name=name, type=DataType.Value(_KINDS.get(kind, "DATA_TYPE_STRING")))
            for name, kind in study.params.items()
        ],
        metric_infos=[MetricInfo(name=MetricName(tag=one)) for one in study.objectives],
    )
    content = HParamsPluginData(experiment=experiment)
    return _hparams_event(metadata.EXPERIMENT_TAG, content, study.started)

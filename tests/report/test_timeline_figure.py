"""The timeline's bars, by values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from drawn_figures import traces
from example_records import BEGAN, example_record
from example_sources import usual_record, usual_rows

from ablate.analysis.timeline import timeline_info
from ablate.ledger.record import Drive, Failure, StudyRecord
from ablate.report.figures.timeline import plot_timeline

ZERO = BEGAN.timestamp()


def draw(record: StudyRecord) -> Any:
    return plot_timeline(timeline_info(record))


def test_a_bar_is_an_attempt_on_its_workers_row() -> None:
    figure = draw(usual_record(10))
    (complete,) = traces(figure, "Complete (8)")
    of_first = [at for at, number in enumerate(complete.customdata) if number == 0]
    hours = np.array(complete.x)[of_first]
    # Ten seconds from the beginning; the axis is in seconds, the bar a pixel shorter.
    assert hours[0] == 0
    assert np.nanmax(hours) == pytest.approx(10, abs=0.1)
    assert np.isnan(hours[-1])
    assert set(np.array(complete.y)[of_first]) == {0}
    assert figure.layout.xaxis.title.text == "Time since the first start (s)"
    assert figure.layout.yaxis.ticktext[0] == "node0:100"
    (lost,) = traces(figure, "Lost with its worker (1)")
    assert set(lost.customdata) == {4}
    assert lost.line.color != complete.line.color


def test_resumes_failures_and_drives_are_marked() -> None:
    reason = "ValueError: <b>boom</b>\n" + "x" * 200
    rows = [
        replace(row, failure=Failure("raised", reason) if row.failure else None)
        for row in usual_rows(10)
    ]
    drives = [
        Drive(ZERO, "<i>", 1, ZERO + 20, "stopped"),
        Drive(ZERO + 40, "login", 2, ZERO + 90, "finished"),
    ]
    figure = draw(example_record(rows, drives=drives))
    (again,) = traces(figure, "Restarted (1)")
    assert (again.customdata[0], again.x[0]) == (4, pytest.approx(26))
    assert again.hovertext[0].startswith("<b>Trial 4</b>, attempt 2: complete<br>")
    (cross,) = [trace for trace in traces(figure, "Failed") if trace.mode == "markers"]
    said = cross.hovertext[0].split("<br>")[-1]
    assert said.startswith("raised: ValueError: &lt;b&gt;boom&lt;/b&gt; xxx")
    assert len(said) < 130
    (begins,) = traces(figure, "Driver starts (2)")
    assert [x for x in begins.x if x is not None] == [0, 0, 40, 40]
    assert begins.hovertext[0] == "<b>Drive 1</b> on &lt;i&gt;<br>from 0 s for 20 s, stopped"
    (pause,) = figure.layout.shapes
    assert (pause.x0, pause.x1) == (20, 40)
    assert "20 s" in [note.text for note in figure.layout.annotations]


def test_many_attempts_stay_small() -> None:
    rows = list(usual_rows(10))
    many = [replace(rows[at % 10], number=at) for at in range(2500)]
    text = draw(example_record(many)).to_json()
    assert '"scattergl"' in text
    assert len(text) < 600_000


def test_long_names_of_hosts_keep_their_process() -> None:
    rows = [
        replace(row, attempts=tuple(replace(one, host="h" * 60) for one in row.attempts))
        for row in usual_rows(4)
    ]
    figure = draw(example_record(rows))
    assert figure.layout.yaxis.ticktext[0] == "h" * 14 + "…" + "h" * 11 + ":100"
    assert figure.layout.margin.l < 260

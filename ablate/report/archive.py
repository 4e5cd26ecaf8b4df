"""`ablate archive`: a study in one file that can be published, read and recomputed.

What is in it beside `study.json` and `rows.jsonl` is made of these two, by `derived_files`, so that
`ablate verify` makes it again and compares; but of what is there for people, it only checks the
digest: report, README, citation and Markdown.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import ablate
from ablate.ablation.confirm import confirm_info, is_confirmation
from ablate.analysis.columns import column_order, flat_rows
from ablate.errors import UsageError
from ablate.files.regular import MOST_TEXT_BYTES, read_regular
from ablate.files.tar import ARCHIVE, write_tar
from ablate.ledger.portable import portable_names, portable_study
from ablate.ledger.record import StudyRecord
from ablate.lifecycle.archive import MANIFEST, folders_of, manifest_of, sha256
from ablate.lifecycle.open_study import OpenStudy, open_ledger, open_place, read_bits
from ablate.lifecycle.place import Place, StudyReference, locate, place_of_archive
from ablate.report.formats import WRITERS
from ablate.report.page.content import report_content
from ablate.report.page.page import report_page
from ablate.report.page.publish import check_begun
from ablate.report.tables import Table, luck_table, study_table
from ablate.report.write import check_file
from ablate.study.by_value import is_given
from ablate.study.yaml_source import parse_yaml, write_yaml

AS_GIVEN = ("README.txt", "CITATION.cff", "report.html")
"""Not made again to verify an archive, nor is Markdown: their sha256 is all that is checked."""
TRIALS = "tables/trials.csv"
"""The rows, as they are stored; numbers of other tables are computed."""
OWN_CITATION = Path(__file__).with_name("CITATION.cff")
"""How to cite ablate, and the paper: a copy of the repository's, for the wheel."""

_README = """\
{name}: a study of ablate {version}, to read, to recompute and to cite.

manifest.json     what this archive is, and the sha256 of every other file
report.html       the result: open it in a browser, it needs no network
study.yaml        what was run, as a study file
study.json        the study's own record: settings, scores of baseline and plain finetune
rows.jsonl        a line per run: parameters, seeds, curve, scores, and which images were right
                  (ablate:outcomes: bits by split, base64 of numpy.packbits; clean images first,
                  then each corrupted copy in the order of the scores)
provenance.json   machine, versions, commit, and the digests of data and baseline
tables/           the tables of the report, as .csv (fractions, at full precision) and .md
CITATION.cff      how to cite it
NAME/             the same of a study that belongs to this one: its confirmation on the test
                  images, or the search that tuned an arm

ablate verify FILE.tar              recomputes every table from the rows
ablate verify FILE.tar --rerun 3    also trains three runs again, and compares
"""


@dataclass(frozen=True)
class Archive:
    """An archive that was written.

    Attributes:
        file: absolute; sha256: of the file.
        studies: names, the first one first.
        notes: what a reader has to know, such as that the study is not finished.
    """

    file: Path
    sha256: str
    studies: tuple[str, ...]
    notes: tuple[str, ...] = ()


def archive(
    study: StudyReference,
    output: str | Path,
    *,
    citation: str | Path | None = None,
    brief: bool = False,
) -> Archive:
    """Write a study as one file to publish: study file, rows, tables, report, provenance, citation.

    With the study go its confirmation, and the searches that tuned its arms.  The file is a plain
    tar of JSON, CSV, YAML, Markdown and HTML; the same study gives the same bytes.  It has neither
    weights nor data, no secrets, and not the folder of the run; names of hosts, paths that the
    study names and texts of errors are in it.

    Args:
        study: a study file, a run folder, `URL#NAME`, or a study from Python.
        output: file to write, replaced if it exists; its name must end in .tar.
        citation: a CITATION.cff with your names; None: one that names ablate and the paper.
        brief: only the first screen of the report, which is 5 MB smaller
            (`ablate.report.page.page.report_page`).

    Returns:
        The file, its sha256, and what a reader has to know (`Archive`).

    Raises:
        StudyNotFoundError: if there is no such study.
        UsageError: if the study has not run anything, is of another tool, or the file cannot be
            written.

    Example:
        >>> made = ablate.archive("runs/own", "own.tar")
        >>> made.file.name, made.studies
        ('own.tar', ('own',))
    """
    output = Path(output)
    if output.suffix != ARCHIVE:
        raise UsageError(
            f"{output}: must end in {ARCHIVE}, got {output.suffix or 'no ending'!r}. Write "
            f"{output.with_suffix(ARCHIVE).name}."
        )
    check_file(output)
    place = locate(study)
    opened = open_place(place)
    if opened.record.foreign:
        raise UsageError(
            f"study {place.name}: must be a study of ablate, got one of another tool, which has no "
            "study file to archive. Archive its database."
        )
    check_begun(opened.record, opened.reference)
    files = _stored_files(place)
    kept = place_of_archive(output, files)
    notes: dict[str, None] = {}
    for folder in folders_of(files):
        one = open_place(place_in(kept, folder))
        notes |= dict.fromkeys(_notes(one.record))
        files |= {folder + name: made for name, made in derived_files(one).items()}
    record = open_place(kept).record
    about = {"ablate": ablate.__version__, **facts_of(record)}
    readme = _README.format(name=record.name, version=ablate.__version__)
    cited = _citation(record.name, record.study.question, citation)
    page = _report(kept, brief=brief)
    whole = dict(zip(AS_GIVEN, (readme.encode(), cited, page), strict=True))
    whole |= dict(sorted(files.items()))
    whole = {MANIFEST: manifest_of(whole, about), **whole}
    write_tar(output, record.name, whole)
    names = tuple(place_in(kept, folder).name for folder in folders_of(files))
    return Archive(output.absolute(), sha256(output.read_bytes()), names, tuple(notes))


def place_in(kept: Place, folder: str) -> Place:
    """The place of a study in an archive, whose first one is at `kept`."""
    return kept.part(folder.removesuffix("/")) if folder else kept


def _stored_files(place: Place) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for name in (place.name, *portable_names(place.url, place.name)):
        folder = f"{name.removeprefix(place.name + '~')}/" if name != place.name else ""
        with closing(open_ledger(replace(place, name=name))) as ledger:
            files |= {folder + file: text for file, text in portable_study(ledger).items()}
    return files


def _notes(record: StudyRecord) -> list[str]:
    notes = []
    if not record.is_over:
        notes.append(
            f"{record.name} is not finished: {record.ended} of {record.trials} rows have ended"
        )
    if record.study.trainable is not None:
        given = is_given(record.study.trainable)
        where = "this Python process" if given else "its module"
        kept = " cannot be trained again elsewhere" if given else " need it to be trained again"
        notes.append(
            f"the function {record.study.trainable} is in {where} and not in the archive: its rows"
            f"{kept}"
        )
    return notes


def _report(kept: Place, *, brief: bool) -> bytes:
    """The report, without what changes from one writing to the next: the time, and the path."""
    opened = open_place(kept)
    record = replace(opened.record, storage="")
    moments = [row.finished.timestamp() for row in record.rows if row.finished is not None]
    moments += [drive.ended or drive.started for drive in record.drives]
    content = report_content(
        OpenStudy(kept, record).source,
        reference=f"{record.name}{ARCHIVE}",
        now=max(moments, default=0.0),
        has_weights=False,
    )
    return report_page(content, brief=brief).encode()


def _citation(name: str, question: str, given: str | Path | None) -> bytes:
    if given is not None:
        try:
            content = read_regular(Path(given), MOST_TEXT_BYTES)
            content.decode()
        except OSError as error:
            raise UsageError(
                f"--citation: {given} must be a file that can be read, got: {error.strerror}. "
                "Check the path, or leave it out."
            ) from None
        except UnicodeDecodeError as error:
            raise UsageError(
                f"--citation: {given} must be UTF-8 text, got 0x{content[error.start]:02x} at byte "
                f"{error.start}. Save it as UTF-8."
            ) from None
        return content
    own = parse_yaml(OWN_CITATION.read_text(encoding="utf-8"), OWN_CITATION.name).data
    tool = {key: own[key] for key in ("type", "title", "authors", "version")}
    data = {
        "cff-version": own["cff-version"],
        "message": "If you use this study, cite it, ablate, and the paper whose method it studies.",
        "title": f"{name}: {question}" if question else name,
        "type": "dataset",
        "authors": [{"name": f"The authors of {name}"}],
        "references": [tool, *own["references"]],
    }
    return write_yaml(data).encode()


# -- What follows from study and rows -----------------------------------------------------------


def facts_of(record: StudyRecord) -> dict[str, Any]:
    """What the manifest says of a study."""
    return {
        "study": record.name,
        "fingerprint": record.fingerprint,
        "finished": record.is_over,
    }


def derived_files(opened: OpenStudy) -> dict[str, bytes]:
    """The files of a study in an archive that are made of its `study.json` and `rows.jsonl`."""
    record = opened.record
    with closing(open_ledger(opened.place)) as ledger:
        head = ledger.head
    provenance = {
        "study": record.name,
        "fingerprint": record.fingerprint,
        "sections": record.sections,
        "data_digest": record.sections.get("data"),
        "baseline_sha256": head.baseline_sha256,
        "environment": record.environment,
        "test_images_used": [asdict(one) for one in record.test_opened],
        "runs": [
            {**drive.provenance, "host": drive.host, "started": drive.started, "ended": drive.ended}
            for drive in record.drives
        ],
    }
    texts = {
        "study.yaml": record.study.to_yaml(),
        "provenance.json": f"{json.dumps(provenance, ensure_ascii=False, indent=1)}\n",
        TRIALS: _trials_text(opened),
    }
    for name, table in _tables(opened).items():
        texts |= {f"tables/{name}.{style}": WRITERS[style](table) for style in ("csv", "md")}
    return {name: text.encode() for name, text in sorted(texts.items())}


def _tables(opened: OpenStudy) -> Mapping[str, Table]:
    if opened.record.design is None:
        return {"front": study_table(opened)}
    tables = {
        "arms": study_table(opened),
        "effects": study_table(opened, effects=True),
    }
    if is_confirmation(opened.record):
        info = confirm_info(opened.record, *read_bits(opened.place))
        if info.points:
            tables["luck"] = luck_table(info)
    return tables


def _trials_text(opened: OpenStudy) -> str:
    """Every row as `ablate.load_trials` has it; numbers as the shortest text of the same float."""
    rows = flat_rows(opened.record)
    out = io.StringIO()
    columns = column_order(rows, opened.record.study.objectives)
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _text(value) for key, value in row.items()})
    return out.getvalue()


def _text(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value

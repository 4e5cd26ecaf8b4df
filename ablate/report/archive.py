"""`ablate archive`: a study in one file that can be published, read and recomputed.

What is in it beside `study.json` and `rows.jsonl` is made of these two, by `derived_files`, so that
`ablate verify` makes it again and compares; but of what is there for people, README and Markdown,
only the digest is checked.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import ablate
from ablate.analysis.columns import column_order, flat_rows
from ablate.errors import UsageError
from ablate.files.tar import ARCHIVE, write_tar
from ablate.ledger.portable import portable_names, portable_study
from ablate.ledger.record import StudyRecord
from ablate.lifecycle.archive import MANIFEST, VERSION, ArchiveFiles, sha256
from ablate.lifecycle.open_study import OpenStudy, open_ledger, open_place
from ablate.lifecycle.place import StudyReference, locate, place_of_archive
from ablate.report.formats import WRITERS
from ablate.report.page.page import check_begun
from ablate.report.tables import study_table
from ablate.report.write import check_file
from ablate.study.callables import is_given

TRIALS = "tables/trials.csv"
"""The rows, as they are stored; numbers of other tables are computed."""

_README = """\
{name}: a study of ablate {version}.

rows.jsonl     a line per run: parameters, seeds, curve, scores, and which images were right
               (ablate:outcomes: bits by split, base64 of numpy.packbits; clean images first, then
               each corrupted copy in the order of the scores)
study.json     settings, scores of baseline and plain finetune; study.yaml: as a study file
tables/        of these rows, as .csv (fractions, at full precision) and .md
NAME/          the same of its confirmation, or of the search that tuned an arm

ablate verify FILE.tar         recomputes every table from the rows; --rerun 3 trains three again
ablate report FILE.tar         writes the result as a page
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


def archive(study: StudyReference, output: str | Path) -> Archive:
    """Write a study as one file to publish: study file, rows, tables, provenance.

    With the study go its confirmation, and the searches that tuned its arms.  The file is a plain
    tar of JSON, CSV, YAML and Markdown; the same study gives the same bytes.  It has neither
    weights nor data, no secrets, and not the folder of the run; names of hosts, paths that the
    study names and texts of errors are in it.

    Args:
        study: a study file, a run folder, `URL#NAME`, or a study from Python.
        output: file to write, replaced if it exists; its name must end in .tar.

    Returns:
        The file, its sha256, and what a reader has to know (`Archive`).

    Raises:
        StudyNotFoundError: if there is no such study.
        UsageError: if the study has not run anything, or the file cannot be written.

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
    check_begun(opened.record, opened.reference)
    files: dict[str, bytes] = {}
    for name in (place.name, *portable_names(place.url, place.name)):
        folder = "" if name == place.name else f"{name.removeprefix(f'{place.name}~')}/"
        with closing(open_ledger(replace(place, name=name))) as ledger:
            files |= {folder + file: text for file, text in portable_study(ledger).items()}
    studies = studies_in(ArchiveFiles(output, {"study": place.name, "files": {}}, files))
    derived = {
        folder + file: text
        for folder, opened in studies.items()
        for file, text in derived_files(opened).items()
    }
    record = studies[""].record
    readme = _README.format(name=record.name, version=ablate.__version__).encode()
    whole = {"README.txt": readme, **dict(sorted({**files, **derived}.items()))}
    manifest = {
        "archive": VERSION,
        "ablate": ablate.__version__,
        **facts_of(record),
        "files": {name: {"sha256": sha256(content)} for name, content in whole.items()},
    }
    text = f"{json.dumps(manifest, ensure_ascii=False, indent=1)}\n".encode()
    write_tar(output, record.name, {MANIFEST: text, **whole})
    notes = dict.fromkeys(note for opened in studies.values() for note in _notes(opened.record))
    names = tuple(opened.record.name for opened in studies.values())
    return Archive(output.absolute(), sha256(output.read_bytes()), names, tuple(notes))


def studies_in(files: ArchiveFiles) -> dict[str, OpenStudy]:
    """The studies of an archive by their folder in it, the first one at ""."""
    first = place_of_archive(files)
    return {
        folder: open_place(first.part(folder.removesuffix("/")) if folder else first)
        for folder in files.folders
    }


def _notes(record: StudyRecord) -> Iterator[str]:
    if not record.is_over:
        yield f"{record.name} is not finished: {record.ended} of {record.trials} rows have ended"
    if (function := record.study.trainable) is not None:
        where, rows = "its module", "need it to be trained again"
        if is_given(function):
            where, rows = "this Python process", "cannot be trained again elsewhere"
        yield f"the function {function} is in {where} and not in the archive: its rows {rows}"


# -- What follows from study and rows -----------------------------------------------------------


def facts_of(record: StudyRecord) -> dict[str, Any]:
    """What the manifest says of a study."""
    return {"study": record.name, "fingerprint": record.fingerprint, "finished": record.is_over}


def derived_files(opened: OpenStudy) -> dict[str, bytes]:
    """The files of a study in an archive that are made of its `study.json` and `rows.jsonl`."""
    record = opened.record
    provenance = {
        "study": record.name,
        "fingerprint": record.fingerprint,
        "sections": record.sections,
        "data_digest": record.sections.get("data"),
        "baseline_sha256": opened.head.baseline_sha256,
        "environment": record.environment,
        "test_images_used": [asdict(use) for use in record.test_opened],
        "runs": [
            {**drive.provenance, "host": drive.host, "started": drive.started, "ended": drive.ended}
            for drive in record.drives
        ],
    }
    texts = {
        "study.yaml": record.study.to_yaml(),
        "provenance.json": f"{json.dumps(provenance, ensure_ascii=False, indent=1)}\n",
        TRIALS: _trials_text(record),
    }
    if record.design is None:
        tables = {"front": study_table(opened)}
    else:
        tables = {"arms": study_table(opened), "effects": study_table(opened, effects=True)}
    for name, table in tables.items():
        texts |= {f"tables/{name}.{style}": WRITERS[style](table) for style in ("csv", "md")}
    return {name: text.encode() for name, text in sorted(texts.items())}


def _trials_text(record: StudyRecord) -> str:
    """Every row as `ablate.load_trials` has it; numbers as the shortest text of the same float."""
    rows = flat_rows(record)
    out = io.StringIO()
    columns = column_order(rows, record.study.objectives)
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        moments = {key: value for key, value in row.items() if isinstance(value, datetime)}
        writer.writerow(row | {key: moment.isoformat() for key, moment in moments.items()})
    return out.getvalue()

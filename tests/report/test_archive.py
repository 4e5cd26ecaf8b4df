"""A study in one file: the same bytes each time, and whatever is changed in it is found."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import math
import random
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ablate
from ablate.errors import UsageError
from ablate.files.tar import read_tar, write_tar
from ablate.lifecycle.archive import MANIFEST, VERSION, sha256
from ablate.lifecycle.open_study import OpenStudy
from ablate.lifecycle.rerun import Check, tolerance
from ablate.robustness.bits import pack_row
from ablate.study.scores import Scores
from tests.commands import run_here

sys.path.append(str(Path(__file__).parents[2] / "studies" / "paper"))

import recompute

PAPER = Path(recompute.__file__).parent
Change = Callable[[dict[str, bytes]], None]


@pytest.fixture(scope="module")
def quickstart(recorded: Callable[[str], OpenStudy]) -> str:
    """A recorded search with its confirmation, as a user names it."""
    return f"{recorded('quickstart').place.url}#quickstart"


@pytest.fixture(scope="module")
def packed(quickstart: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its archive."""
    file = tmp_path_factory.mktemp("packed") / "quickstart.tar"
    return ablate.archive(quickstart, file).file


@pytest.fixture(scope="module")
def packed_arms(
    recorded: Callable[[str], OpenStudy], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The archive of a recorded ablation."""
    name = "ablation_quickstart"
    file = tmp_path_factory.mktemp("packed") / f"{name}.tar"
    return ablate.archive(f"{recorded(name).place.url}#{name}", file).file


def rewritten(packed: Path, to: Path, change: Change, *, resigned: bool = True) -> Path:
    """The archive with a change, of which its manifest knows or does not."""
    files = read_tar(packed)
    change(files)
    if resigned:
        manifest = json.loads(files[MANIFEST])
        for name in manifest["files"]:
            manifest["files"][name]["sha256"] = sha256(files[name])
        files[MANIFEST] = json.dumps(manifest).encode()
    write_tar(to / "changed.tar", "quickstart", files)
    return to / "changed.tar"


def replaced(name: str, old: str, new: str) -> Change:
    """One occurrence of a text in a file."""

    def change(files: dict[str, bytes]) -> None:
        text = files[name].decode()
        assert old in text
        files[name] = text.replace(old, new, 1).encode()

    return change


def flipped_bit(files: dict[str, bytes]) -> None:
    """The first image of trial 3 is wrong where it was right, or the other way round."""
    lines = files["rows.jsonl"].decode().splitlines()
    row = json.loads(lines[3])
    text = row["attributes"]["ablate:outcomes"]["val"]
    bits = np.frombuffer(base64.b64decode(text), dtype=np.uint8).copy()
    bits[0] ^= 0x80
    row["attributes"]["ablate:outcomes"]["val"] = base64.b64encode(bits.tobytes()).decode()
    lines[3] = json.dumps(row)
    files["rows.jsonl"] = "".join(f"{line}\n" for line in lines).encode()


def differing(file: Path) -> list[str]:
    """What `ablate verify` says of an archive that does not hold."""
    result = run_here("verify", file)
    assert result.returncode == 1, result.stdout + result.stderr
    return [
        line.split(None, 1)[1] for line in result.stdout.splitlines() if line.startswith("differs ")
    ]


# -- What is written


def test_the_same_study_gives_the_same_bytes_with_no_path_of_this_machine(
    quickstart: str, packed: Path, work: Path
) -> None:
    result = run_here("archive", quickstart, "-o", "again.tar", cwd=work)
    assert result.returncode == 0, result.stderr
    content = (work / "again.tar").read_bytes()
    assert content == packed.read_bytes()
    assert f"quickstart and quickstart~confirm, sha256 {sha256(content)}" in result.stdout
    files = read_tar(packed)
    assert {name.rpartition(".")[2] for name in files} == {
        *("json", "jsonl", "yaml", "csv", "md", "txt"),
    }
    for text in files.values():
        assert b"study.db" not in text
        assert str(work.parent).encode() not in text


def test_an_archive_is_read_like_the_study_and_not_written_to(
    quickstart: str, packed: Path, work: Path
) -> None:
    there, here = (run_here("trials", one, "--json").stdout for one in (packed, quickstart))
    assert json.loads(there) == json.loads(here)
    assert ablate.read(packed).references == ablate.read(quickstart).references
    for command in (["table"], ["status"], ["plot", "-o", work / "front.html"]):
        assert run_here(command[0], packed, *command[1:]).returncode == 0
    for command in (
        ["resume", packed, "--add", "1"],
        ["enqueue", packed, "loss.fma.weight=1"],
        ["confirm", packed],
    ):
        result = run_here(*command, cwd=work)
        assert result.returncode == 2
        assert "got an archive, which can only be read." in result.stderr


def test_every_check_of_an_archive_holds(
    packed: Path, packed_arms: Path, recorded: Callable[[str], OpenStudy], work: Path
) -> None:
    result = run_here("verify", packed)
    assert result.returncode == 0, result.stdout
    lines = result.stdout.splitlines()
    assert "confirm/tables/effects.csv" in result.stdout
    assert all(line.startswith("ok ") for line in lines[:-1])
    assert lines[-1].endswith(f"all holds; sha256 {sha256(packed.read_bytes())}")
    curves = work / "curves.tar"
    name = "defaults_methods_cifar10_12"
    ablate.archive(f"{recorded(name).place.url}#{name}", curves)
    for file in (packed_arms, curves):
        found = ablate.verify(file)
        assert found.holds, [check.text for check in found.checks if not check.holds]
        assert "scores of 161 networks" in found.checks[3].text or file == packed_arms
    assert recompute.check(recompute.read(curves))
    assert recompute.compare("scores", [("0", "accuracy", 0.0, 0.0), ("0", "empty", "", math.nan)])
    assert not recompute.compare("scores", [("0", "accuracy", 0.0, math.nan)])


def test_an_archive_of_an_earlier_version_which_held_a_page_still_verifies() -> None:
    found = ablate.verify(PAPER / "results" / "paper_kept_0.tar")
    assert found.holds, [check.text for check in found.checks if not check.holds]


# -- What is changed is found


@pytest.mark.parametrize(
    "changes",
    [
        {
            "tables/front.csv: row 1 (baseline), val_clean_accuracy.mean: archived 0.8": replaced(
                "tables/front.csv", "0.9", "0.8"
            ),
            "study.yaml: line ": replaced("study.yaml", "name: resnet8", "name: resnet20"),
            "provenance.json: line ": replaced("provenance.json", '"torch": "2', '"torch": "3'),
        },
        {
            "study.json: baseline: archived ": replaced(
                "study.json", '"batch_size": 64', '"batch_size": 32'
            ),
            "study.yaml: line ": lambda files: None,
        },
        {
            "rows.jsonl: trial 0, val_clean_accuracy: archived 0.1": replaced(
                "rows.jsonl", '"clean_accuracy": 0.', '"clean_accuracy": 0.1'
            ),
            "trial 3, val_clean_accuracy: archived 0.": flipped_bit,
            "tables/trials.csv: row 1 (0), val_clean_accuracy: archived ": replaced(
                "rows.jsonl", '"values": [0.', '"values": [0.0'
            ),
            "trial 0, value of val_clean_accuracy: archived 0.0": lambda files: None,
        },
    ],
)
def test_a_change_is_found_although_the_manifest_was_changed_too(
    packed: Path, work: Path, changes: Mapping[str, Change]
) -> None:
    def change(files: dict[str, bytes]) -> None:
        for one in changes.values():
            one(files)

    lines = differing(rewritten(packed, work, change))
    assert [said for said in changes if not any(said in line for line in lines)] == [], lines
    assert not [line for line in lines if line.startswith(MANIFEST)]


def test_the_manifest_says_no_more_than_the_rows(packed: Path, work: Path) -> None:
    (line,) = differing(rewritten(packed, work, replaced(MANIFEST, "true", "false")))
    assert line == "manifest.json: finished: archived False, recomputed True"


def test_a_file_without_its_digest_is_named_and_not_read_as_a_study(
    packed: Path, work: Path
) -> None:
    changed = rewritten(
        packed, work, replaced("README.txt", "a study", "one study"), resigned=False
    )
    (line,) = differing(changed)
    assert line.startswith("manifest.json: README.txt has sha256 ")
    with pytest.raises(
        UsageError, match=r"each file must have the sha256 of the manifest, got anot"
    ):
        ablate.read(changed)


def tar_of(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as tar:
        for member in members:
            member.size = 2 if member.isreg() else 0
            tar.addfile(member, io.BytesIO(b"{}"))
    return path


def without_rows(files: dict[str, bytes]) -> None:
    del files["rows.jsonl"]


def with_another(files: dict[str, bytes]) -> None:
    files["x"] = b""


def links(name: str) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return made


LATER = replaced(MANIFEST, f'"archive": {VERSION}', '"archive": 9')
OTHER_ROWS = replaced("rows.jsonl", '"number"', '"numbre"')
OTHER_FORMAT = replaced("study.json", '"format": 2', '"format": 3')
PLAIN = tarfile.TarInfo


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([], "must be a file that can be read, got: No such file"),
        ([PLAIN("a/b")], "must be an archive of `ablate archive`, got a tar without its manifest"),
        ([PLAIN("../x")], "got '../x'. It was not made by"),
        ([PLAIN("a/../../x")], "got 'a/../../x'. It was not made by"),
        ([PLAIN("/a/x")], "got '/a/x'. It was not made by"),
        ([links("a/x")], "got 'a/x', which is no plain file. It was not made by"),
        ([PLAIN("a/x"), PLAIN("a/x")], "got 'a/x'. It was not made by"),
        (
            without_rows,
            "got no rows.jsonl: it is cut off, or was changed.",
        ),
        (with_another, "got also x: it is cut off"),
        (LATER, "must be an archive of version 1 or earlier, got version 9, of ablate 0."),
        (OTHER_ROWS, "study.json and rows.jsonl must be a study of ablate, got something else"),
        (OTHER_FORMAT, "study quickstart: must be of ledger format 2, got 3. Use the version"),
    ],
)
def test_what_is_no_archive_is_refused_in_one_line(
    members: list[tarfile.TarInfo] | Change, said: str, packed: Path, work: Path
) -> None:
    file = work / "changed.tar"
    if callable(members):
        rewritten(packed, work, members, resigned=members not in (without_rows, with_another))
    elif members:
        tar_of(file, *members)
    before = sorted(work.parent.rglob("*"))
    result = run_here("verify", file, cwd=work)
    assert result.returncode == 2, result.stdout
    assert said in result.stderr.splitlines()[-1]
    assert sorted(work.parent.rglob("*")) == before


def test_an_archive_that_is_cut_off_anywhere_is_refused(packed: Path, work: Path) -> None:
    content, cut = packed.read_bytes(), work / "cut.tar"
    for size in (0, 100, 512, 1024, 4096, len(content) // 2, len(content) - 20_000):
        cut.write_bytes(content[:size])
        with pytest.raises(UsageError):
            ablate.verify(cut)


# -- Recomputed by a script that knows of ablate what its documentation says


def test_a_script_without_ablate_recomputes_every_table(packed_arms: Path) -> None:
    script = str(PAPER / "recompute.py")
    alone = (
        f"import sys, runpy; sys.modules['ablate'] = None; sys.argv = {[script, str(packed_arms)]}"
    )
    alone += f"; runpy.run_path({script!r}, run_name='__main__')"
    ran = subprocess.run([sys.executable, "-c", alone], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines() == [
        "manifest.json: 10 values equal",
        "rows.jsonl: 784 values equal",
        "tables/trials.csv: 1,392 values equal",
        "tables/arms.csv: 211 values equal",
        "tables/effects.csv: 145 values equal",
    ]


@pytest.mark.slow
def test_the_script_recomputes_a_confirmed_search_and_what_this_repository_publishes(
    packed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = ("beside", "curves", "curves_on_test", "kept", "tier2")
    published = [PAPER / "results" / f"paper_{kind}_0.tar" for kind in kinds]
    for file in (packed, *published):
        assert recompute.check(recompute.read(file)), f"{file}: {capsys.readouterr().out}"
        assert "trials.csv: " in capsys.readouterr().out


IN_EFFECTS = "tables/effects.csv: row ('ST+CA - plain', 'robust'), "


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("effects", "0.193419220", "0.193419221", f"{IN_EFFECTS}difference.mean: archived 0.19341"),
        ("effects", ",0.0422186,", ",0.0422187,", "'robust'), p_adjusted: archived 0.0422187,"),
        ("effects", "not shown", "better", "'robust'), verdict: archived better, recomputed ['not"),
        ("effects", ",better,yes", ",better,no", f"{IN_EFFECTS}kept: archived no"),
        ("arms", "0.00660642", "0.00660643", "row plain, val_accuracy.noise.sd: archived 0.0066"),
        ("trials", "0.7024141132", "0.7024141133", "row 0, val_robust_accuracy: archived"),
    ],
)
def test_the_script_finds_a_digit_that_was_changed(
    packed_arms: Path,
    work: Path,
    capsys: pytest.CaptureFixture[str],
    *,
    name: str,
    old: str,
    new: str,
    said: str,
) -> None:
    file = f"tables/{name}.csv"
    changed = rewritten(packed_arms, work, replaced(file, old, new))
    assert not recompute.check(recompute.read(changed))
    (line,) = (one for one in capsys.readouterr().out.splitlines() if not one.endswith("equal"))
    assert said in line


def test_the_script_finds_a_bit_and_a_digest_that_were_changed(
    packed_arms: Path, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not recompute.check(
        recompute.read(rewritten(packed_arms, work, flipped_bit, resigned=False))
    )
    out = capsys.readouterr().out
    assert "manifest.json: row rows.jsonl, sha256: archived " in out
    assert "rows.jsonl: row 3, val_clean_accuracy: archived 0.9" in out


# -- Rows that are trained again


def in_database(done: Path, change: Callable[[sqlite3.Connection], None]) -> Path:
    """The archive of the finished study with something else in its database."""
    with closing(sqlite3.connect(done.parent / "runs/done/study.db")) as database, database:
        change(database)
    with contextlib.chdir(done.parent):
        return ablate.archive("runs/done", "done.tar").file


def set_json(database: sqlite3.Connection, table: str, key: str, value: Any) -> None:
    """An attribute of the study, or of its first row."""
    database.execute(
        f"UPDATE {table} SET value_json = ? WHERE key = ? "
        + "AND trial_id = (SELECT min(trial_id) FROM trials)" * (table == "trial_user_attributes"),
        (json.dumps(value), key),
    )


def another_torch(database: sqlite3.Connection) -> None:
    found = database.execute(
        "SELECT value_json FROM study_user_attributes WHERE key = 'ablate:head'"
    )
    head = json.loads(found.fetchone()[0])
    head["environment"]["torch"] = "2.0.0"
    set_json(database, "study_user_attributes", "ablate:head", head)


def forged(scores: Mapping[str, Any], right: int) -> Callable[[sqlite3.Connection], None]:
    """The clean accuracy of trial 0 as if so many images were right: values, scores and bits."""
    n, copies = scores["n_images"], scores["n_corrupted"] or scores["n_images"]
    cells = [cell for row in scores["accuracies"].values() for cell in row.values()]
    bits = [np.arange(n) < right, *(np.arange(copies) < round(cell * copies) for cell in cells)]

    def change(database: sqlite3.Connection) -> None:
        accuracy = right / n
        set_json(
            database,
            "trial_user_attributes",
            "ablate:scores",
            {**scores, "clean_accuracy": accuracy},
        )
        outcomes = {"val": pack_row(np.concatenate(bits))}
        set_json(database, "trial_user_attributes", "ablate:outcomes", outcomes)
        database.execute(
            "UPDATE trial_values SET value = ? WHERE objective = 0 "
            "AND trial_id = (SELECT min(trial_id) FROM trials)",
            (accuracy,),
        )

    return change


@pytest.fixture(scope="module")
def done_packed(launched: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of a finished study, whose data are here."""
    with contextlib.chdir(launched):
        return ablate.archive("runs/done", tmp_path_factory.mktemp("done") / "done.tar").file


def test_a_row_that_is_trained_again_has_the_same_bits(done_packed: Path, work: Path) -> None:
    result = run_here("verify", done_packed, "--rerun", "2", "--seed", "3", cwd=work)
    assert result.returncode == 0, result.stdout + result.stderr
    again = [line for line in result.stdout.splitlines() if "trained again" in line]
    assert [line.split()[:4] for line in again] == [
        ["ok", "done", "trial", n] for n in ("0:", "1:")
    ]
    assert all("in the same environment" in line for line in again)
    assert all(line.endswith("which images were right, val are equal bit by bit") for line in again)
    assert "all holds, rows drawn with --seed 3; " in result.stdout


OF_TRIAL_0 = next(seed for seed in range(9) if random.Random(seed).sample(range(2), 1) == [0])
"""A seed that draws trial 0 of two."""


def test_only_training_again_finds_a_result_that_was_made_up_consistently(done: Path) -> None:
    scores = ablate.read(done).rows[0].scores
    assert isinstance(scores, Scores)
    right = round(scores.clean_accuracy * scores.n_images)
    file = in_database(done, forged(scores.to_json(), right - 1 if right else 1))
    with contextlib.chdir(done.parent):
        found = ablate.verify(file, rerun=1, seed=OF_TRIAL_0)
        (bad,) = (check for check in found.checks if not check.holds)
        assert bad.what == "done trial 0"
        assert "val_clean_accuracy: archived " in bad.text
        assert "which images were right, val: not the same bits" in bad.text
        # In another environment one image is no difference, and half of them are one.
        file = in_database(done, another_torch)
        found = ablate.verify(file, rerun=1, seed=OF_TRIAL_0)
        assert found.holds
        assert "in another environment (torch: 2.0.0 -> " in found.checks[-1].text
        assert "tolerance " in found.checks[-1].text
        wrong = 0 if 2 * right > scores.n_images else scores.n_images
        file = in_database(done, forged(scores.to_json(), wrong))
        found = ablate.verify(file, rerun=1, seed=OF_TRIAL_0)
        (bad,) = (check for check in found.checks if not check.holds)
        assert bad.what == "done trial 0"
        assert "val_clean_accuracy: " in bad.text


def test_the_tolerance_is_three_standard_errors_of_two_proportions() -> None:
    variance = 2 * 0.85 * 0.15 / 100
    assert tolerance(0.9, 0.8, 100) == pytest.approx(3 * variance**0.5)
    assert tolerance(1.0, 1.0, 100) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--seed 1", "--seed: is for rows that are trained again, got no --rerun. Add it."),
        ("--rerun 1 --set finetune.seed=1", "where data and weights lie, got finetune.seed: 0 ->"),
        (
            "--rerun 1 --set dataset.pat=x",
            "must be keys of the study",
        ),
        ("--rerun 1 --set dataset.path=none", "none: must have train/CLASS/"),
        ("--rerun 1 --set dataset.path=other", "must be those of study done, got other data. Get"),
    ],
)
def test_a_rerun_that_cannot_be_is_refused_in_one_line(
    options: str, said: str, done_packed: Path, work: Path, image_folder: Path
) -> None:
    if options.endswith("other"):
        shutil.copytree(image_folder, work / "other")
        next((work / "other" / "train").rglob("*.png")).unlink()
    result = run_here("verify", done_packed, *options.split(), cwd=work)
    assert result.returncode == 2, result.stdout
    assert said in result.stderr.splitlines()[-1]


def test_a_difference_moves_no_cursor() -> None:
    check = Check("rows.jsonl", "", ("\x1b[1;1H\x1b[Jall holds", "a\rb", "ü"))
    assert check.text == r"rows.jsonl: \x1b[1;1H\x1b[Jall holds; a\rb; ü"


def test_names_that_are_nested_without_end_are_refused(tmp_path: Path) -> None:
    head = tarfile.TarInfo("././@LongLink")
    head.type, head.size = tarfile.GNUTYPE_LONGNAME, 4
    block = head.tobuf(tarfile.GNU_FORMAT) + b"a/b\0".ljust(512, b"\0")
    file = tmp_path / "long.tar"
    file.write_bytes(block * 3000 + b"\0" * 1024)
    with pytest.raises(UsageError, match=r"long.tar: must be a whole, uncompressed tar"):
        read_tar(file)


def test_what_has_nothing_to_archive_is_refused(done: Path, work: Path) -> None:
    result = run_here("archive", done, "-o", "done.zip", cwd=work)
    assert result.returncode == 2
    assert result.stderr == "ablate: done.zip: must end in .tar, got '.zip'. Write done.tar.\n"
    assert not (work / "done.tar").exists()
    with closing(sqlite3.connect(work / "runs/done/study.db")) as database, database:
        database.execute("UPDATE trials SET state = 'RUNNING' WHERE number = 1")
    made = ablate.archive(done, work / "done.tar")
    assert made.notes == ("done is not finished: 1 of 2 rows have ended",)
    result = run_here("verify", made.file)
    assert result.returncode == 0, result.stdout
    assert "all holds; the study was not finished when archived; sha256 " in result.stdout

"""`sspipe score` and the disk: parts of large files, packed files, outputs, and what is left when it ends early."""

from __future__ import annotations

import gzip
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from sspipe.cli import main
from sspipe.data.spacenet_csv import text_size
from sspipe.errors import UserError
from sspipe.score.csv_pair import score_csv
from sspipe.score.parts import MOST_PARTS

FIXTURE = Path(__file__).parents[1] / "data" / "solaris"
TRUTH, PROPOSALS = FIXTURE / "SN2_sample_truth.csv", FIXTURE / "SN2_sample_preds.csv"
SQUARE = '"POLYGON ((0 0, 20 0, 20 20, 0 20, 0 0))"'


def test_parts_on_disk_give_the_same_scores_and_tables_as_one_in_memory(tmp_path):
    settings = {"truth": TRUTH, "proposals": PROPOSALS, "min_area": 20, "iou": 0.5, "bootstrap_samples": 50}
    found = {}
    for name, size in (("whole", 2**30), ("parts", 4_000)):
        folder = tmp_path / name
        score_csv(
            **settings,
            out=folder / "scores.json",
            out_images=folder / "images.parquet",
            out_buildings=folder / "buildings.parquet",
            bytes_at_once=size,
        )
        buildings = pd.read_parquet(folder / "buildings.parquet")
        ordered = buildings.sort_values([*["image_id", "kind", "building_id", "area_px"]], ignore_index=True)
        found[name] = (
            json.loads((folder / "scores.json").read_text()),
            pd.read_parquet(folder / "images.parquet"),
            ordered,
        )
        assert sorted(path.name for path in folder.iterdir()) == ["buildings.parquet", "images.parquet", "scores.json"]
    assert found["whole"][0] == found["parts"][0]
    for whole, parts in zip(found["whole"][1:], found["parts"][1:], strict=True):
        pd.testing.assert_frame_equal(whole, parts)


def test_what_a_killed_run_leaves_is_gone_after_the_next(tmp_path):
    out = tmp_path / "scores.json"
    code = (
        "import os, signal; from pathlib import Path; from sspipe.score import parts;"
        "from sspipe.score.csv_pair import score_csv;"
        "parts._part = lambda path: os.kill(os.getpid(), signal.SIGKILL);"
        f"score_csv(truth=Path({str(TRUTH)!r}), proposals=Path({str(PROPOSALS)!r}), min_area=20, iou=0.5,"
        f" bootstrap_samples=10, out=Path({str(out)!r}), bytes_at_once=4000)"
    )
    killed = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) and not out.exists()
    # Even one that needs no parts.
    score_csv(truth=TRUTH, proposals=PROPOSALS, min_area=20, iou=0.5, bootstrap_samples=10, out=out)
    assert list(tmp_path.iterdir()) == [out]


def test_packed_files_are_read_in_parts_of_their_text(tmp_path):
    rows = "".join(f"tile_{n},{SQUARE}\n" for n in range(3000))
    text = f"ImageId,PolygonWKT_Pix\n{rows}"
    path = tmp_path / "some.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    assert path.stat().st_size < len(text) / 5 and text_size(path) == pytest.approx(len(text), rel=0.01)
    out = tmp_path / "scores.json"
    score_csv(truth=path, proposals=path, min_area=80, iou=0.5, bootstrap_samples=5, out=out, bytes_at_once=50_000)
    assert json.loads(out.read_text())["tp"] == 3000


def test_damaged_packed_files_are_named(tmp_path, capsys):
    good, bad, plain = tmp_path / "good.csv.gz", tmp_path / "bad.csv.gz", tmp_path / "plain.csv.gz"
    text = f"ImageId,PolygonWKT_Pix\na,{SQUARE}\na,nonsense\n".encode()
    good.write_bytes(gzip.compress(text))
    bad.write_bytes(gzip.compress(text)[:-9])
    plain.write_bytes(text)
    for path, words in (
        (good, "line 3, column PolygonWKT_Pix: does not parse"),
        (bad, "not a whole gzip file"),
        (plain, "not a whole gzip file"),
    ):
        assert main(["score", "--truth", str(path), "--proposals", str(path), "--out", str(tmp_path / "o.json")]) == 1
        assert f"{path}: {words}" in capsys.readouterr().err


def test_outputs_that_cannot_be_are_told(tmp_path, capsys):
    def message(out: Path, *flags: str) -> str:
        flags = ("score", "--truth", str(TRUTH), "--proposals", str(PROPOSALS), "--out", str(out), *flags)
        assert main(flags) == 1
        return capsys.readouterr().err

    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    assert "folder: is a folder; name another output" in message(tmp_path / "folder")
    assert "pipe: is no plain file" in message(tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()
    assert "file: no folder can be made there" in message(tmp_path / "file" / "scores.json")
    out = tmp_path / "scores.json"
    assert "is an input or another output" in message(out, "--out-buildings", str(out))
    assert not out.exists()
    assert main(["score", "--truth", str(TRUTH), "--proposals", str(PROPOSALS), "--out", str(tmp_path / "a/b/c")]) == 0
    assert json.loads((tmp_path / "a/b/c").read_text())["images"] > 0


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path):
    # A limit on the size of files fails as a full disk does, in the parts beside the output.
    code = (
        "import resource, sys; from sspipe.score import csv_pair; from sspipe.cli import main;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000));"
        "deal = csv_pair.pairs_in_parts;"
        "csv_pair.pairs_in_parts = lambda *given, **named: deal(*given[:3], 4000, **named);"
        f"sys.exit(main(['score', '--truth', {str(TRUTH)!r}, '--proposals', {str(PROPOSALS)!r},"
        f" '--out', {str(tmp_path / 'scores.json')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 1
    assert "scores.json: it, the other outputs or the parts beside it cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_has_read_enough_stops_nothing(tmp_path):
    out = tmp_path / "scores.json"
    command = [sys.executable, "-m", "sspipe", "score", "--truth", TRUTH, "--proposals", PROPOSALS, "--out", out]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(out.read_text())["images"] > 0


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="the peak of memory is read from /proc")
def test_memory_does_not_grow_with_the_files(tmp_path):
    # Five million rows are this again and again: docs/performance.md has what they took.
    peaks = []
    squares = [f'"POLYGON (({x} 0, {x + 20} 0, {x + 20} 20, {x} 20, {x} 0))"' for x in range(0, 14 * 30, 30)]
    for rows in (60_000, 180_000):
        text = "".join(f"tile_{row // 14},{squares[row % 14]}\n" for row in range(rows))
        (tmp_path / "some.csv").write_text(f"ImageId,PolygonWKT_Pix\n{text}")
        code = (
            "from pathlib import Path; from sspipe.score.csv_pair import score_csv;"
            f"some, out = Path({str(tmp_path / 'some.csv')!r}), Path({str(tmp_path / 'scores.json')!r});"
            "score_csv(truth=some, proposals=some, min_area=80, iou=0.5, bootstrap_samples=10, out=out,"
            " bytes_at_once=2**21);"
            # Not ru_maxrss: a child is charged there with what its parent held when it was forked.
            "print([line for line in open('/proc/self/status') if line.startswith('VmHWM')][0])"
        )
        command = [sys.executable, "-c", code]
        child = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
        scores = json.loads((tmp_path / "scores.json").read_text())
        assert [scores[key] for key in ("tp", "fp", "fn")] == [rows, 0, 0]
        peaks.append(int(child.stdout.split("VmHWM:")[1].split()[0]) / 1024)
    assert peaks[1] < 1.4 * peaks[0] and peaks[1] < 600, peaks


def test_the_limit_of_open_files_is_far_above_the_parts():
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] / 2 > MOST_PARTS


def test_a_file_that_may_not_be_read_is_named(tmp_path):
    path = tmp_path / "secret.csv"
    path.write_text("")
    path.chmod(0)
    root = os.geteuid() == 0
    if root:  # which may read everything, so for a moment it is nobody
        os.seteuid(65534)
    try:
        with pytest.raises(UserError, match=r"secret\.csv: cannot be read \(Permission denied\)"):
            text_size(path)
    finally:
        if root:
            os.seteuid(0)

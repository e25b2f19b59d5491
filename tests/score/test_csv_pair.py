"""`sspipe score` on pairs of CSVs: solaris's counts, few words, and messages that say what to mend."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import shapely

from sspipe.cli import main
from tests.score.against_solaris import our_result

FIXTURE = Path(__file__).parents[1] / "data" / "solaris"
TRUTH, PROPOSALS = FIXTURE / "SN2_sample_truth.csv", FIXTURE / "SN2_sample_preds.csv"
SQUARE = '"POLYGON ((0 0, 20 0, 20 20, 0 20, 0 0))"'


@pytest.fixture
def score(tmp_path, capsys):
    """Runs the command on two texts; gives the JSON and what was printed, or the message of the error."""

    def run(truth: str, proposals: str, *flags: str):
        (tmp_path / "truth.csv").write_text(truth)
        (tmp_path / "proposals.csv").write_text(proposals)
        out = tmp_path / "scores.json"
        out.unlink(missing_ok=True)
        paths = ["--truth", str(tmp_path / "truth.csv"), "--proposals", str(tmp_path / "proposals.csv")]
        status = main(["score", *paths, "--out", str(out), *flags])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []
        if status == 0:
            return json.loads(out.read_text()), printed.out + printed.err
        assert not out.exists()
        return None, printed.err

    return run


def test_solaris_fixture_is_scored_and_printed_by_the_command(tmp_path):
    out = tmp_path / "scores.json"
    images, buildings = tmp_path / "images.parquet", tmp_path / "buildings.parquet"
    command = [sys.executable, "-m", "sspipe", "score", "--truth", TRUTH, "--proposals", PROPOSALS, "--min-area", "20"]
    command += ["--out", out, "--out-images", images, "--out-buildings", buildings]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    scores = json.loads(out.read_text())
    assert [scores[key] for key in ("tp", "fp", "fn")] == [87, 57, 82]
    assert scores["f1"] == pytest.approx(2 * 87 / (2 * 87 + 57 + 82))
    assert scores["f1_at_iou"]["0.50"] == scores["f1"]
    assert scores["f1_low"] < scores["f1"] < scores["f1_high"]
    for words in (
        "169 buildings: 87 found (TP), 82 missed (FN)",
        "144 proposals: 87 right (TP), 57 wrong (FP)",
        "0.5559",
    ):
        assert words in done.stdout
    counts, iou = our_result(TRUTH, PROPOSALS, iou_threshold=0.5, min_area_px=20)
    table = pd.read_parquet(images)
    assert table[["image_id", "tp", "fp", "fn"]].to_numpy().tolist() == [list(row) for row in counts]
    listed = pd.read_parquet(buildings)
    assert listed.groupby("kind").size().to_dict() == {"proposal": 144, "truth": 169}
    assert sorted(listed.loc[listed["kind"] == "truth", "iou"]) == pytest.approx(
        sorted(iou[np.array([shape.area >= 20 for shape in shapely.from_wkt(pd.read_csv(TRUTH)["PolygonWKT_Pix"])])])
    )


def test_other_columns_their_order_and_line_ends_make_no_difference(score):
    plain, _ = score(
        f"ImageId,PolygonWKT_Pix\na,{SQUARE}\nb,POLYGON EMPTY\n",
        f"ImageId,PolygonWKT_Pix,Confidence\na,{SQUARE},0.5\n",
    )
    other, _ = score(
        f"\ufeffIndex,PolygonWKT_Pix,ImageId,BuildingId\r\n17,{SQUARE},a,1\r\n3,POLYGON EMPTY,b,\r\n",
        f'Confidence,"ImageId",Note,PolygonWKT_Pix\r\n0.5,"a","x, y",{SQUARE}\r\n',
    )
    assert plain == other
    assert [plain[key] for key in ("images", "tp", "fp", "fn")] == [2, 1, 0, 0]


def test_columns_that_play_no_part_may_hold_anything(score):
    rows = f"ImageId,PolygonWKT_Pix,Confidence,Mean_Building_Height\na,{SQUARE},"
    scores, said = score(f"{rows}sure,tall\n", f"{rows}0.5,tall\n")
    assert [scores[key] for key in ("tp", "fp", "fn")] == [1, 0, 0]
    assert "warning" not in said


def test_defaults_are_those_of_the_challenge(score):
    small = '"POLYGON ((50 50, 58 50, 58 59, 50 59, 50 50))"'  # 72 px
    half = '"POLYGON ((0 0, 20 0, 20 10, 0 10, 0 0))"'
    header = "ImageId,PolygonWKT_Pix\n"
    scores, _ = score(f"{header}a,{SQUARE}\na,{small}\n", f"{header}a,{half}\na,{small}\n")
    assert [scores[key] for key in ("tp", "fp", "fn", "iou_threshold", "min_area_px")] == [0, 1, 1, 0.5, 80]
    scores, _ = score(
        f"{header}a,{SQUARE}\na,{small}\n", f"{header}a,{half}\na,{small}\n", "--min-area", "0", "--iou", "0.4"
    )
    assert [scores[key] for key in ("tp", "fp", "fn")] == [2, 0, 0]


@pytest.mark.parametrize("truth", ["ImageId,PolygonWKT_Pix\n", "ImageId,PolygonWKT_Pix\na,POLYGON EMPTY\n"])
def test_truth_without_buildings_makes_every_proposal_wrong_and_says_so(score, truth):
    scores, words = score(truth, f"ImageId,PolygonWKT_Pix\na,{SQUARE}\n")
    assert [scores[key] for key in ("tp", "fp", "fn", "f1", "recall")] == [0, 1, 0, 0, 0]
    assert (scores["recall_macro"], scores["matched_iou"]) == (None, None)
    assert "no building of 80 px or more, so every proposal is a false positive" in words


def test_no_proposals_make_every_building_missed_and_two_empty_files_are_refused(score):
    scores, words = score(f"ImageId,PolygonWKT_Pix\na,{SQUARE}\n", "ImageId,PolygonWKT_Pix,Confidence\n")
    assert [scores[key] for key in ("tp", "fp", "fn", "f1")] == [0, 0, 1, 0]
    assert "every building is missed" in words
    assert "neither file has a row" in score("ImageId,PolygonWKT_Pix\n", "ImageId,PolygonWKT_Pix\n")[1]


def test_repeated_building_ids_are_counted_each_and_told_once(score):
    other = SQUARE.replace("20", "30")
    text = f"ImageId,BuildingId,PolygonWKT_Pix\na,1,{SQUARE}\na,1,{other}\na,1,{SQUARE}\nb,1,{SQUARE}\n"
    scores, words = score(text, text)
    assert [scores[key] for key in ("tp", "fp", "fn")] == [4, 0, 0]
    assert words.count("truth.csv: 2 buildings have the id of another one in their image, such as 1 in a") == 1


def test_files_of_other_tiles_are_told(score):
    scores, words = score(f"ImageId,PolygonWKT_Pix\na,{SQUARE}\n", f"ImageId,PolygonWKT_Pix\nb,{SQUARE}\n")
    assert [scores[key] for key in ("tp", "fp", "fn")] == [0, 1, 1]
    assert "no ImageId of it is in" in words


def placed(left: float, top: float, pixel: float) -> str:
    """The square of 20 px as a map has it, y up."""
    right, bottom = left + 20 * pixel, top - 20 * pixel
    return f'"POLYGON (({left} {top}, {right} {top}, {right} {bottom}, {left} {bottom}, {left} {top}))"'


@pytest.mark.parametrize(
    ("polygon", "frame"),
    [(placed(594_000, 5_750_000, 0.5), "metres"), (placed(4.37, 51.9, 7e-6), "degrees")],
)
def test_map_coordinates_in_one_file_are_detected_and_explained(score, polygon, frame):
    header = "ImageId,PolygonWKT_Pix\n"
    pixels, mapped = f"{header}a,{SQUARE}\n", f"{header}a,{polygon}\nb,POLYGON EMPTY\n"
    for truth, proposals, culprit in ((pixels, mapped, "proposals.csv"), (mapped, pixels, "truth.csv")):
        _, message = score(truth, proposals)
        assert f"{culprit}: column PolygonWKT_Pix: coordinates are map coordinates in {frame}" in message
        assert "column = (x - left) / pixel width" in message
        assert "(x 0 to 20, y 0 to 20)" in message
    assert "map coordinates" in score(f"{header}a,POLYGON EMPTY\n", mapped)[1]
    scores, words = score(mapped, mapped, "--min-area", "0")
    assert scores["tp"] == 1 and f"areas are in square {frame}" in words


@pytest.mark.parametrize(
    ("proposals", "words"),
    [
        (
            f"imageid,PolygonWKT_Pix\na,{SQUARE}\n",
            "line 1: no column ImageId; the file has: imageid, PolygonWKT_Pix; its",
        ),
        (
            f"ImageId;PolygonWKT_Pix\na;{SQUARE}\n",
            "line 1: no column ImageId; the file has: ImageId;PolygonWKT_Pix; cells",
        ),
        (f"ImageId,ImageId,PolygonWKT_Pix\na,b,{SQUARE}\n", "line 1: 2 columns are called ImageId"),
        (f"ImageId,PolygonWKT_Pix,Confidence\na,{SQUARE},high\n", "line 2, column Confidence: is `high`"),
        (f"ImageId,PolygonWKT_Pix\na,{SQUARE}\n\nb,{SQUARE[:-1]}\nc,POLYGON EMPTY\n", "line 4: a quote is opened here"),
        (
            f"ImageId,PolygonWKT_Pix\na,{SQUARE.replace('20', 'nan')}\n",
            "line 2, column PolygonWKT_Pix: has a coordinate",
        ),
        (
            f"ImageId,PolygonWKT_Pix\na,{SQUARE.replace('20', 'inf')}\n",
            "line 2, column PolygonWKT_Pix: has a coordinate",
        ),
        (f"ImageId,PolygonWKT_Pix\na,{SQUARE.replace('20', '1e300')}\n", "line 2, column PolygonWKT_Pix: has a coord"),
        ('ImageId,PolygonWKT_Pix\na,"GEOMETRYCOLLECTION (POINT (1 1))"\n', "line 2, column PolygonWKT_Pix: is a Geom"),
        ("ImageId,Confidence\na,1\n", "line 1: no column PolygonWKT_Pix; the file has: ImageId, Confidence"),
        ("PolygonWKT_Pix\nPOLYGON EMPTY\n", "line 1: no column ImageId"),
        (f"ImageId,PolygonWKT_Pix\na,{SQUARE}\na,POLYGO ((1 2\n", "line 3, column PolygonWKT_Pix: does not parse"),
        ("ImageId,PolygonWKT_Pix\na,\n", "line 2, column PolygonWKT_Pix: is blank"),
        ('ImageId,PolygonWKT_Pix\na,"LINESTRING (0 0, 1 1)"\n', "line 2, column PolygonWKT_Pix: is a LineString"),
        ("", "the file is empty"),
    ],
)
def test_files_that_cannot_be_used_are_named_with_line_and_column(score, proposals, words):
    _, message = score(f"ImageId,PolygonWKT_Pix\na,{SQUARE}\n", proposals)
    assert f"proposals.csv: {words}" in message


def test_settings_out_of_range_and_outputs_over_inputs_are_refused(score, tmp_path, capsys):
    text = f"ImageId,PolygonWKT_Pix\na,{SQUARE}\n"
    assert "--iou is 50; it must lie between 0 and 1" in score(text, text, "--iou", "50")[1]
    assert "--min-area is -1" in score(text, text, "--min-area", "-1")[1]
    truth = str(tmp_path / "truth.csv")
    assert main(["score", "--truth", truth, "--proposals", truth, "--out", truth]) == 1
    assert "would be overwritten" in capsys.readouterr().err
    assert Path(truth).read_text() == text
    assert main(["score", "--truth", str(tmp_path / "no.csv"), "--proposals", truth, "--out", str(tmp_path / "o")]) == 1
    assert "no.csv: no such file" in capsys.readouterr().err


def test_forms_of_polygons_and_confidences_that_are_one_thing(score):
    header = "ImageId,PolygonWKT_Pix,Confidence\n"
    truth = f"{header}a,{SQUARE},\nb,POLYGON EMPTY,\n"
    plain, _ = score(truth, f"{header}a,{SQUARE},0.5\n")
    ring = "((0 0 7, 20 0 7, 20 20 7, 0 20 7, 0 0 7))"
    for polygon, confidence in (
        (SQUARE.replace("POLYGON (", "MULTIPOLYGON ((").replace("))", ")))"), "0.5"),
        (f'"POLYGON Z {ring}"', "nan"),
        (f'"POLYGON M {ring}"', ""),
        (SQUARE.replace(", ", ",\n"), "-inf"),
        (SQUARE.lower(), "1e3"),
    ):
        other, words = score(truth, f"{header}a,{polygon},{confidence}\nb,GEOMETRYCOLLECTION EMPTY,\n")
        assert other == plain, polygon
        assert "Warning" not in words
    # The same rows again are other proposals, and come too late.
    twice, _ = score(truth, header + f"a,{SQUARE},\n" * 3)
    assert [twice[key] for key in ("tp", "fp", "fn")] == [1, 2, 0]

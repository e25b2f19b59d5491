"""`sspipe audit` on SpaceNet 6's real tile origins, and on tables that cannot be used."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from sspipe.cli import main
from sspipe.data.audit import SPACENET6_LINE_M

GEOMETRY = Path(__file__).with_name("tile_geometry.csv.gz")
HEADLINE = "test_against_train_and_validation"
HEAD = "image_id,easting_m,northing_m,orientation\n"


def audit(tmp_path, split, *flags, tiles=GEOMETRY):
    """Runs the command; returns what it wrote."""
    out = tmp_path / "audit.json"
    assert main(["audit", "--tiles", str(tiles), "--split", split, "--out", str(out), *flags]) == 0
    return json.loads(out.read_text())


def refusal(capsys, tiles, *flags):
    assert main(["audit", "--tiles", str(tiles), "--split", "random", *flags]) == 1
    return capsys.readouterr().err


def test_a_random_split_of_the_real_tiles_leaks_as_is_known(tmp_path, capsys):
    found = audit(tmp_path, "random")
    shares = found["shares"][HEADLINE]
    assert shares["over_50"]["mean"] == pytest.approx(0.996, abs=0.003)
    assert shares["inside_union"]["mean"] == pytest.approx(0.95, abs=0.01)
    assert [found["counts"][name] for name in ("train", "validation", "test")] == [2177, 544, 680]
    printed = capsys.readouterr().out
    assert f"{shares['over_50']['mean']:.1%}".replace("%", " %") in printed
    assert "680 test, 2721 for train and validation: 2177 train, 544 validation" in printed


def test_several_seeds_give_mean_and_spread(tmp_path, capsys):
    one, three = audit(tmp_path, "random", "--seed", "1"), audit(tmp_path, "random", "--seeds", "3")
    shares = three["shares"][HEADLINE]
    assert three["settings"]["seeds"] == [0, 1, 2]
    assert shares["over_50"]["mean"] == pytest.approx(0.996, abs=0.003)
    assert shares["inside_union"]["mean"] == pytest.approx(0.95, abs=0.01)
    for measure, share in shares.items():
        assert share["min"] <= one["shares"][HEADLINE][measure]["mean"] <= share["max"]
        assert share["min"] <= share["mean"] <= share["max"]
    assert shares["over_90"]["std"] > 0
    assert f"± {100 * shares['over_90']['std']:.1f}" in capsys.readouterr().out


def test_the_spatial_split_by_its_default_line_leaks_nothing(tmp_path, capsys):
    found = audit(tmp_path, "spatial")
    counts = found["counts"]
    assert found["settings"]["test_line_m"] == 595343
    assert counts["test"] == 681 and counts["guard"] == 346
    assert counts["train"] + counts["validation"] + counts["validation_guard"] == 2374
    assert all(share["max"] == 0 for shares in found["shares"].values() for share in shares.values())
    printed = capsys.readouterr().out
    assert "681 test, 346 dropped beside it, 2374 for train and validation" in printed


def test_the_default_line_is_that_of_the_config():
    config = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text())
    assert config["splits"]["spatial"]["test_line_m"] == SPACENET6_LINE_M


def test_a_fraction_takes_the_place_of_the_default_line(tmp_path):
    found = audit(tmp_path, "spatial", "--test-fraction", "0.1")
    assert found["settings"]["test_line_m"] is None
    assert found["counts"]["test"] == pytest.approx(340, abs=10)


def test_the_baselines_split_leaks_along_its_borders(tmp_path):
    found = audit(tmp_path, "baseline_x")
    tiles = pd.read_csv(GEOMETRY)
    east, next_to_it = 591550 + 4 * 940, 591550 + 3 * 940  # fifths of the ground between eastings 591550 and 596250
    assert found["counts"]["test"] == (tiles["easting_m"] >= east).sum() == 705
    assert found["counts"]["validation"] == tiles["easting_m"].between(next_to_it, east, inclusive="left").sum()
    assert sum(found["counts"].values()) == 3401 and found["counts"]["guard"] == 0
    assert 0.1 < found["shares"][HEADLINE]["over_50"]["mean"] < 0.3
    assert found["shares"]["validation_against_train"]["over_50"]["mean"] > 0.1
    assert found["shares"]["test_against_train"]["over_0"]["mean"] == 0  # a slice is wider than a tile


def test_plain_csv_and_the_catalog_give_the_same_as_the_packed_table(tmp_path):
    tiles = pd.read_csv(GEOMETRY)
    plain = tmp_path / "tiles.csv"
    plain.write_bytes(
        b"\xef\xbb\xbf" + gzip.decompress(GEOMETRY.read_bytes()).replace(b"\n", b"\r\n")
    )  # as Excel writes
    tiles.rename(columns={"image_id": "tile_id"}).assign(size_px=900, pixel_m=0.5, strip="").to_parquet(
        tmp_path / "catalog.parquet"
    )
    tiles.sample(frac=1, random_state=0).to_csv(tmp_path / "shuffled.csv", index=False)
    known = audit(tmp_path, "random")
    for table in (plain, tmp_path / "catalog.parquet", tmp_path / "shuffled.csv"):
        assert audit(tmp_path, "random", tiles=table) == known


def test_the_size_of_the_tiles_matters(tmp_path):
    small = audit(tmp_path, "random", "--tile-size-m", "50")["shares"][HEADLINE]
    assert small["inside_union"]["mean"] < 0.9


def test_a_setting_that_is_not_used_is_told(tmp_path, capsys):
    audit(tmp_path, "spatial", "--seeds", "3")
    assert "--seeds is ignored: a spatial split has no use for it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "has no column easting_m, northing_m, image_id or tile_id, but none at all"),
        ("image_id,easting_m\na,1\n", "has no column northing_m, but image_id, easting_m"),
        (HEAD, "has no tiles, only a head"),
        (HEAD + "a,1,2,0\nb,east,2,0\n", "line 3: easting_m is not a number"),
        (HEAD + "a,1,,0\n", "line 2: northing_m is not a number"),
        (HEAD + "a,1,inf,0\n", "line 2: northing_m is not a number"),
        (HEAD + "a,1,2,0\n\nb,3,4,0\na,1,2,0\n", "line 5: tile `a` was named before, in line 2"),
        (HEAD + ",1,2,0\n", "line 2: the tile has no id"),
        (HEAD + "a,1,2\n", "line 2: 3 values, and the head names 4 columns"),
        (HEAD.replace(",", ";") + "a;1;2;0\n", "line 1: cells are not separated by commas"),
        (HEAD.replace(",", ";") + "a;1,5;2,5;0\n", "line 1: cells are not separated by commas"),
        (HEAD.replace(",", "\t") + "a\t1\t2\t0\n", "line 1: cells are not separated by commas"),
        (HEAD + "a,1,x,0\nb,x,2,0\n", "line 2: northing_m is not a number\n  line 3: easting_m is not a number"),
        ("image_id,easting_m,northing_m,easting_m\na,1,2,3\n", "names column easting_m 2 times"),
        (HEAD + 'a,"1,2,0\n', "is not CSV text"),
        (HEAD + "".join(f"t{n},x,2,0\n" for n in range(9)), "and 4 more"),
        (HEAD + "a,1,2,0\n", "no tiles are left for validation and test: 1 tile is too few"),
    ],
)
def test_a_table_that_cannot_be_used_is_told_by_line(tmp_path, capsys, text, told):
    table = tmp_path / "tiles.csv"
    table.write_text(text)
    message = refusal(capsys, table)
    assert told in message and (str(table) in message or "--test-fraction" in message)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("tiles.csv", None, "no such file"),
        ("tiles.csv", b"\xff\xfe\x00\x00", "is not CSV text"),
        ("tiles.csv.gz", b"plain text", "cannot be read (Not a gzipped file"),
        ("tiles.csv.gz", gzip.compress(b"image_id" * 1000, mtime=0)[:-20], "is not CSV text"),
        ("tiles.parquet", b"PAR1", "not a table that can be used"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(tmp_path, capsys, name, content, told):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    message = refusal(capsys, tmp_path / name)
    assert told in message and str(tmp_path / name) in message


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--seeds", "0"), "--seeds is 0, expected 1 or more"),
        (("--seed", "-1"), "--seed is -1, expected 0 or more"),
        (("--tile-size-m", "0"), "--tile-size-m is 0.0, expected more than 0"),
        (("--test-fraction", "1.5"), "--test-fraction is 1.5, expected more than 0 and less than 1"),
        (("--validation-fraction", "0"), "--validation-fraction is 0.0"),
        (("--split", "spatial", "--test-line-m", "1e6"), "set --test-line-m well inside that range"),
        (("--split", "baseline_x", "--edges-m", "2", "1"), "expected the west end first, then the east"),
        (("--split", "baseline_x", "--edges-m", "0", "10"), "set --edges-m to that range"),
    ],
)
def test_a_setting_that_cannot_be_is_told_by_its_flag(capsys, flags, told):
    assert told in refusal(capsys, GEOMETRY, *flags)

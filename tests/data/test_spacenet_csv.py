"""Reading SpaceNet CSVs: what is read is what is written, and errors say where."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest

from sspipe.data.spacenet_csv import read_spacenet_csv, spacenet_csv_chunks, text_size
from sspipe.errors import UserError

SQUARE = '"POLYGON ((0 0, 2 0, 2 2, 0 2, 0 0))"'


@pytest.fixture
def write(tmp_path):
    def written(text: str):
        path = tmp_path / "some.csv"
        path.write_text(text)
        return path

    return written


def test_columns_are_read_and_others_ignored(write):
    path = write(
        "ImageId,TileBuildingId,PolygonWKT_Pix,Mean_Building_Height,Colour\n"
        f"007,3,{SQUARE},4.5,red\nNA,,POLYGON EMPTY,,\n"
    )
    table = read_spacenet_csv(path)
    assert table["image_id"].tolist() == ["007", "NA"]
    assert table["building_id"].tolist() == ["3", ""]
    assert table["geometry"].iloc[0].area == 4
    assert table["geometry"].iloc[1].is_empty
    assert table["height_m"].iloc[0] == 4.5
    assert np.isnan(table["height_m"].iloc[1])


def test_a_column_that_is_not_needed_may_hold_anything(write):
    path = write(f"ImageId,PolygonWKT_Pix,Confidence,Mean_Building_Height\na,{SQUARE},sure,tall\n")
    table = read_spacenet_csv(path, measures=[])
    assert table["confidence"].tolist() == [-np.inf] and table["height_m"].isna().all()
    with pytest.raises(UserError, match="column Confidence: is `sure`"):
        read_spacenet_csv(path, measures=["Confidence"])


def test_a_column_that_is_nearly_called_confidence_is_told_of(write, capsys):
    path = write(f"ImageId,PolygonWKT_Pix, confidence\na,{SQUARE},0.5\n")
    assert read_spacenet_csv(path)["confidence"].tolist() == [-np.inf]
    told = f"{path}: line 1: its column ` confidence` is not read; it must be called Confidence"
    assert told in capsys.readouterr().err
    read_spacenet_csv(path, measures=[])
    assert capsys.readouterr().err == ""


def test_without_confidence_every_row_ties(write):
    assert read_spacenet_csv(write(f"ImageId,PolygonWKT_Pix\na,{SQUARE}\n"))["confidence"].tolist() == [-np.inf]


def test_other_images_are_not_even_parsed(write):
    path = write(f"ImageId,PolygonWKT_Pix\na,{SQUARE}\nb,nonsense\n")
    assert read_spacenet_csv(path, images=["a"])["image_id"].tolist() == ["a"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ImageId,Wkt\na,b\n", ["line 1", "no column PolygonWKT_Pix", "ImageId, Wkt"]),
        ("PolygonWKT_Pix\nPOLYGON EMPTY\n", ["line 1", "no column ImageId"]),
        ("", ["empty"]),
        (f"ImageId,PolygonWKT_Pix\na,{SQUARE}\na,POLYGON ((0 0\n", ["line 3", "PolygonWKT_Pix", "does not parse"]),
        (f"ImageId,PolygonWKT_Pix\n\na,{SQUARE}\n\na,nonsense\n", ["line 5", "PolygonWKT_Pix", "nonsense"]),
        ("ImageId,PolygonWKT_Pix\na,\n", ["line 2", "PolygonWKT_Pix", "POLYGON EMPTY"]),
        ("ImageId,PolygonWKT_Pix\na,POINT (1 2)\n", ["line 2", "Point"]),
        ("ImageId,PolygonWKT_Pix\na,GEOMETRYCOLLECTION (POINT (1 2))\n", ["line 2", "GeometryCollection without area"]),
        (f"ImageId,PolygonWKT_Pix\na,{SQUARE}\na,CURVEPOLYGON EMPTY\n", ["line 3", "PolygonWKT_Pix", "is a curve"]),
        ("ImageId,PolygonWKT_Pix\na,POLYGON ((0 0, 2 0, 2 2, 0 0))\n", ["line 2", "PolygonWKT_Pix", "does not parse"]),
        (f"ImageId,PolygonWKT_Pix\na,{SQUARE}\nb,POLYGON ((0 0, 2 0, 2 2, 0 0))\n", ["line 3", "in quotes"]),
        (f"ImageId,PolygonWKT_Pix\n,{SQUARE}\n", ["line 2", "ImageId", "blank"]),
        (f"ImageId,PolygonWKT_Pix,Confidence\na,{SQUARE},high\n", ["line 2", "Confidence", "high"]),
    ],
)
def test_faults_are_named_with_file_line_and_column(write, text, words):
    path = write(text)
    with pytest.raises(UserError) as caught:
        read_spacenet_csv(path)
    for word in [str(path), *words]:
        assert word in str(caught.value)


def test_line_is_right_below_a_cell_that_spans_lines(write):
    path = write('ImageId,PolygonWKT_Pix\na,"POLYGON ((0 0,\n2 0, 2 2, 0 0))"\nb,nonsense\n')
    with pytest.raises(UserError, match="line 4"):
        read_spacenet_csv(path)


def test_line_is_right_in_a_later_chunk_and_below_blank_lines_and_the_rows_alike_are_counted(write):
    path = write(f"ImageId,PolygonWKT_Pix\n\na,{SQUARE}\n  \n" + f"a,{SQUARE}\n" * 6 + "b,\nb,\nb,POLYGON EMPTY\n")
    with pytest.raises(UserError, match=r"line 11, column PolygonWKT_Pix: is blank.*\(as have 1 of the 2 rows after"):
        list(spacenet_csv_chunks(path, rows_at_once=7))


def test_chunks_are_the_table(write):
    path = write("ImageId,BuildingId,PolygonWKT_Pix,Confidence\n" + f"a,1,{SQUARE},0.5\nb,2,POLYGON EMPTY,\n" * 5)
    chunks = list(spacenet_csv_chunks(path, rows_at_once=3))
    assert [len(chunk) for chunk in chunks] == [3, 3, 3, 1]
    assert chunks[3].index.tolist() == [9]
    pd.testing.assert_frame_equal(pd.concat(chunks), read_spacenet_csv(path))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_byte_order_marks_quotes_and_order_of_columns_make_no_difference(tmp_path, end, encoding):
    path = tmp_path / "some.csv"
    rows = ["Colour,PolygonWKT_Pix,Confidence,ImageId", f'"red, or so",{SQUARE},0.25,"a"', ',"POLYGON EMPTY", ,b']
    path.write_bytes((end.join(rows) + end).encode(encoding))
    table = read_spacenet_csv(path)
    assert table["image_id"].tolist() == ["a", "b"]
    assert table["geometry"].map(lambda shape: shape.area).tolist() == [4, 0]
    assert table["confidence"].tolist() == [0.25, -np.inf]


def test_a_file_in_another_encoding_is_told(tmp_path):
    path = tmp_path / "some.csv"
    path.write_text(f"ImageId,PolygonWKT_Pix\na,{SQUARE}\n", encoding="utf-16")
    with pytest.raises(UserError, match=r"some\.csv: not a CSV file"):
        read_spacenet_csv(path)


def test_an_outline_of_more_than_128_kib_is_read_and_a_fault_below_it_is_found(write):
    corners = ", ".join(f"{x} 0" for x in range(30_000))
    path = write(f'ImageId,PolygonWKT_Pix\na,"POLYGON ((0 9, {corners}, 0 9))"\na,nonsense\n')
    with pytest.raises(UserError, match="line 3, column PolygonWKT_Pix"):
        read_spacenet_csv(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.csv: no such file"):
        read_spacenet_csv(tmp_path / "nowhere.csv")


def test_a_pipe_is_refused_before_anything_is_read_from_it(tmp_path):
    os.mkfifo(tmp_path / "pipe.gz")
    for read in (read_spacenet_csv, text_size):
        with pytest.raises(
            UserError, match=r"pipe\.gz: is a pipe or a device, and is read more than once; write it to"
        ):
            read(tmp_path / "pipe.gz")

"""The table of one's own tiles: what it may be, and how each thing that is wrong with it is told."""

import re

import pytest

from sspipe.data import own_data
from tests.data.small_own_tiles import FIRST, SECOND, gather, index, own, refused, set_cell

__all__ = ["own"]  # a fixture


def test_further_columns_and_blank_lines_do_no_harm(own):
    for row in own.rows:
        row["note"] = "seen, twice"
    own.write_table((*own_data.COLUMNS, "note"))
    own.table.write_text(own.table.read_text() + "\n\n")
    gather(own)
    assert len(index(own)[0]) == 4


def test_a_column_that_is_missing_is_told_with_the_one_that_may_be_meant(own):
    own.table.write_text(own.table.read_text().replace("footprint_path", "footprints_path"))
    message = refused(own)
    assert "line 1: no column footprint_path" in message and "did you mean `footprints_path`?" in message


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "is empty; expected the columns tile_id,sar_path,eo_path,footprint_path,strip,orientation"),
        ("tile_id;sar_path;eo_path;footprint_path;strip;orientation\n", "line 1: cells are not separated by commas"),
        (",".join(own_data.COLUMNS) + "\n", "has no tiles; add one line for each tile"),
        (",".join(own_data.COLUMNS) + "\na,b,c,d,e,0,1\n", "line 2 has 7 cells, and the header 6"),
        (b"\xff\xfe\x00", "is no text in UTF-8"),
    ],
)
def test_what_is_no_table_is_told(own, content, told):
    own.table.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert told in refused(own)


def test_a_table_that_is_not_there_is_told_with_its_key(own):
    own.table.unlink()
    assert re.search(r"my tiles\.csv: no such file; archive\.path must name", refused(own))


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("tile_id", "plot-000", "line 3: tile_id plot-000 is that of line 2 too; rename one"),
        ("tile_id", "Plot-000", "line 3: tile_id Plot-000 is that of line 2 too, but for case plot-000"),
        ("tile_id", "a/b", "line 3: tile_id is `a/b`; expected up to 128 letters, digits"),
        ("tile_id", "a" * 129, "expected up to 128 letters, digits"),
        ("tile_id", "", "line 3: tile_id is empty"),
        ("sar_path", "gone.tif", "line 3: sar_path: gone.tif is no file; paths are relative to the table's folder, /"),
        ("sar_path", "", "line 3: sar_path is empty"),
        ("sar_path", "s" * 300, "is no file; paths are relative to the table's folder"),
        ("sar_path", "../radar/s1 0.tiff", "is that of line 2 too"),
        ("eo_path", "gone.tif", "line 3: eo_path: gone.tif is no file"),
        ("footprint_path", "gone.gpkg", "line 3: footprint_path: gone.gpkg is no file"),
        ("footprint_path", "", "line 3: footprint_path is empty; a tile without buildings names a file"),
        ("strip", "", "line 3: strip is empty"),
        ("strip", "pass 0", "line 3: strip pass 0 has orientation 1, and 0 in line 2"),
        ("orientation", "2", "line 3: orientation is `2`; expected 0"),
        ("orientation", "", "line 3: orientation is ``; expected 0"),
        ("orientation", "north", "line 3: orientation is `north`; expected 0"),
    ],
)
def test_a_wrong_cell_is_told_with_its_line_and_what_to_do(own, column, value, told):
    set_cell(own, SECOND, column, value)
    message = refused(own)
    assert told in message and str(own.table) in message


def test_many_problems_come_in_one_message_with_their_number(own):
    for row in own.rows:
        row["orientation"], row["eo_path"], row["sar_path"] = "x", "gone", "gone"
    own.write_table()
    message = refused(own)
    assert "12 problems" in message and "... and 2 more" in message


def test_some_tile_must_have_an_eo_image(own):
    for row in own.rows:
        row["eo_path"] = ""
    own.write_table()
    assert "eo_path is empty in every line" in refused(own)


def test_an_id_may_be_as_long_as_is_said(own):
    set_cell(own, FIRST, "tile_id", "a" * 128)
    gather(own)
    assert "a" * 128 in index(own)[0]["tile_id"].tolist()


def test_files_that_a_table_names_are_known_to_the_workflow(own):
    names = own_data.named_files(own.table)
    assert len(names) == 4 + 3 + 3 and own_data.count_tiles(own.table) == 4
    own.rows[0]["sar_path"] = "s" * 300  # longer than a file's name may be
    own.write_table()
    assert len(own_data.named_files(own.table)) == len(names) - 1
    own.table.write_bytes(b"\xff\xfe\x00")
    assert own_data.named_files(own.table) == [] and own_data.count_tiles(own.table) == 0

"""Tiles that cannot be used: left out with their reason while they are few, an error when they are many."""

from __future__ import annotations

import pytest

from sspipe.data import spacenet6
from sspipe.data.inventory import take_inventory
from tests.data import small_scene
from tests.data.small_scene import BUILDING_PX, TILE_IDS, write_scene, write_truth
from tests.data.test_catalog import FIRST, STRIP, image, index, refusal, rewrite

OTHER_STRIP = spacenet6.strip_of(TILE_IDS[-1])


@pytest.fixture
def raw(tmp_path):
    return write_scene(tmp_path / "raw")


def left_out(raw, capsys, reason):
    """Indexes with room for what is missing; the tiles left out, for `reason` alone, which is also told."""
    catalog, footprints, report = index(raw, max_left_out=0.5)
    listed = report["left_out"]["tiles"]
    assert all(tile["reasons"] == [reason] for tile in listed)
    assert report["left_out"]["reasons"] == {reason: len(listed)} and report["left_out"]["count"] == len(listed)
    tiles = [tile["tile_id"] for tile in listed]
    assert not set(tiles) & {*catalog["tile_id"], *footprints["tile_id"]}
    assert f"tiles left out ({reason}): {len(tiles)}, such as {tiles[0]}" in capsys.readouterr().err
    assert report["left_out"]["share"] == len(tiles) / (len(tiles) + len(catalog))
    return tiles


@pytest.mark.parametrize(
    ("product", "reason"),
    [
        (spacenet6.SAR, "no SAR image"),
        (spacenet6.EO, "no EO image"),
        (spacenet6.LABELS, "no label file"),
    ],
    ids=["sar", "eo", "labels"],
)
def test_a_tile_without_one_of_its_files_is_left_out(raw, capsys, product, reason):
    (raw / image(product, TILE_IDS[3])).unlink()
    assert left_out(raw, capsys, reason) == [TILE_IDS[3]]


def test_tiles_of_a_strip_without_orientation_are_left_out(raw, capsys):
    small_scene.write_orientations(raw, f"{STRIP} 1\n")
    reason = "its strip has no line in SAR_orientations.txt"
    assert left_out(raw, capsys, reason) == sorted(tile for tile in TILE_IDS if tile.startswith(OTHER_STRIP))


@pytest.mark.parametrize(("spellings", "kept"), [(("7", "07"), "7"), (("07", "007"), "007")])
def test_a_tile_that_is_there_twice_is_used_once(tmp_path, capsys, spellings, kept):
    tiles = [f"{STRIP}_tile_{number}" for number in (*spellings, "8")]
    raw = write_scene(tmp_path / "raw", tiles)
    dropped = left_out(raw, capsys, "the same tile is there under another spelling of its number")
    assert dropped == [f"{STRIP}_tile_{number}" for number in spellings if number != kept]


def test_tiles_of_the_public_test_set_are_left_out_and_named(raw, capsys):
    tile_id = "20190804120000_20190804120100_tile_5000"
    path = raw / image(spacenet6.SAR)
    path.with_name(f"SN6_Test_Public_AOI_11_Rotterdam_SAR-Intensity_{tile_id}.tif").write_bytes(path.read_bytes())
    assert left_out(raw, capsys, "of the public test set: SAR alone, without labels") == [tile_id]


def test_the_public_test_set_alone_is_refused_with_what_to_take_instead(raw):
    for product in (spacenet6.EO, spacenet6.LABELS, spacenet6.SAR):
        for tile_id in TILE_IDS:
            path = raw / image(product, tile_id)
            if product is spacenet6.SAR:
                path.rename(path.with_name(path.name.replace("SN6_Train", "SN6_Test_Public")))
            else:
                path.unlink()
    message = refusal(raw, max_left_out=1.0)
    assert "6 of 6 tiles cannot be used" in message and "take the training archive" in message


def test_a_tile_left_out_for_two_reasons_says_both(raw):
    (raw / image(spacenet6.EO)).unlink()
    (raw / image(spacenet6.LABELS)).unlink()
    (lone,) = take_inventory(raw).left_out
    assert lone == (FIRST, ("no EO image", "no label file"))


def test_more_than_the_share_that_is_allowed_is_an_error_with_the_remedy(raw):
    (raw / image(spacenet6.EO)).unlink()
    index(raw, max_left_out=1 / 6)
    for path in (raw.parent / "out").iterdir():
        path.unlink()
    message = refusal(raw, max_left_out=0.16)
    assert "1 of 6 tiles cannot be used, more than tiles.max_left_out allows (16 %)" in message
    assert f"{FIRST}: no EO image" in message
    assert "no EO image (1 tile): unpack the archive again" in message and "raise tiles.max_left_out" in message


def test_the_first_of_many_tiles_left_out_are_named_and_the_rest_counted(tmp_path):
    raw = write_scene(tmp_path / "raw", [f"{STRIP}_tile_{number}" for number in range(10, 24)])
    for path in sorted((raw / image(spacenet6.EO)).parent.iterdir())[:12]:
        path.unlink()
    message = refusal(raw)
    assert message.count(": no EO image\n") == 10 and "... and 2 more" in message


def test_a_tile_left_out_is_not_even_read(raw):
    (raw / image(spacenet6.EO)).unlink()
    (raw / image(spacenet6.SAR)).write_bytes(b"damaged")
    assert len(index(raw, max_left_out=0.5)[0]) == 5


def test_files_of_other_names_are_told_but_do_no_harm(raw, capsys):
    (raw / image(spacenet6.SAR)).with_suffix(".tif.aux.xml").write_text("<PAMDataset/>")
    catalog, _, report = index(raw)
    assert len(catalog) == 6
    assert report["other_files"] == [str(image(spacenet6.SAR).with_suffix(".tif.aux.xml"))]
    assert "left out because of their names: 1" in capsys.readouterr().err


def test_a_folder_without_tiles_is_told(tmp_path):
    small_scene.write_orientations(tmp_path / "raw", "")
    assert "there are no SAR tiles" in refusal(tmp_path / "raw")


def test_an_orientation_file_with_a_byte_order_mark_and_dos_lines_is_read(raw):
    path = raw / spacenet6.ORIENTATION_FILE
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert index(raw)[2]["orientation"] == {"0": 3, "1": 3}


def test_an_eo_image_without_a_partner_is_a_tile_left_out_of_the_share(raw):
    rewrite(raw, spacenet6.EO, FIRST).rename(raw / image(spacenet6.EO, f"{STRIP}_tile_999"))
    rewrite(raw, spacenet6.EO, FIRST)
    message = refusal(raw, max_left_out=0.1)
    assert "1 of 7 tiles" in message and f"{STRIP}_tile_999: no SAR image, no label file" in message


def test_tiles_that_only_the_csv_names_are_told(raw, capsys):
    write_truth(raw, {**{tile_id: [BUILDING_PX] for tile_id in TILE_IDS}, f"{STRIP}_tile_999": []})
    assert index(raw)[2]["labels"]["tiles_only_in_csv"] == [f"{STRIP}_tile_999"]
    assert "tiles of the truth's CSV that have no files: 1" in capsys.readouterr().err

from __future__ import annotations

import json
import shutil
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pytest
import rasterio
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from sspipe.errors import UserError
from sspipe.pack.arrays import ArrayWriter
from sspipe.pack.masks import tile_masks
from sspipe.pack.orientation import restore
from sspipe.pack.tiles import pack_tiles, rows_of_shard
from tests.data.small_scene import PIXEL_M, SIZE_PX

PADDED_PX = 96
GEOMETRY = Path(__file__).parents[1] / "data" / "tile_geometry.csv.gz"


def pack(indexed, out, **changes):
    settings = {"shard": 0, "shards": 1, "size_px": SIZE_PX, "padded_px": PADDED_PX, "orientation": "rotate180"}
    paths = {
        "catalog": indexed / "catalog.parquet",
        "footprints": indexed / "footprints.parquet",
        "raw": indexed / "raw",
    }
    pack_tiles(out=out, **{"border_px": 3, **settings, **paths, **changes})
    return json.loads((out / "manifest.json").read_text())


def read(path):
    with rasterio.open(path) as image:
        return image.read()


@pytest.mark.parametrize("turn", ["rotate180", "flipud", "none"])
def test_every_packed_tile_is_restored_to_the_pixels_of_its_files(indexed, tmp_path, turn):
    pack(indexed, tmp_path / "0", orientation=turn)
    catalog = pd.read_parquet(indexed / "catalog.parquet")
    tiles = pd.read_parquet(tmp_path / "0" / "tiles.parquet")
    assert tiles["tile_id"].tolist() == catalog["tile_id"].tolist() and tiles["row"].tolist() == list(range(6))
    assert sorted(tiles["orientation"].unique()) == [0, 1]
    sar, eo = (np.load(tmp_path / "0" / f"{view}.npy") for view in ("sar", "eo"))
    assert (sar.dtype, eo.dtype) == (np.float16, np.uint16)
    for tile, row in zip(catalog.itertuples(), tiles.itertuples(), strict=True):
        assert tile.orientation == row.orientation
        raw_sar, raw_eo = read(indexed / "raw" / tile.sar_path), read(indexed / "raw" / tile.eo_path)
        restored = restore(sar[row.row], row.orientation, turn, SIZE_PX)
        np.testing.assert_allclose(restored.astype(np.float32), raw_sar, rtol=2**-11, atol=1e-7)
        assert ((restored == 0) == (raw_sar == 0)).all()
        assert (restore(eo[row.row], row.orientation, turn, SIZE_PX) == raw_eo).all()


def test_masks_are_turned_with_their_tile(indexed, tmp_path):
    pack(indexed, tmp_path / "0")
    masks = np.load(tmp_path / "0" / "masks.npy")
    catalog = pd.read_parquet(indexed / "catalog.parquet")
    footprints = geopandas.read_parquet(indexed / "footprints.parquet")
    assert masks.dtype == np.uint8 and set(np.unique(masks)) == {0, 1}
    for row, tile in enumerate(catalog.itertuples()):
        mine = list(footprints.loc[footprints["tile_id"] == tile.tile_id, "geometry"])
        expected = tile_masks(mine, tile.easting_m, tile.northing_m, PIXEL_M, SIZE_PX, 3)
        assert expected[0].sum() == 12 * 8 * 4
        assert (restore(masks[row], tile.orientation, "rotate180", SIZE_PX) == expected).all()


def test_a_building_lies_where_it_was_drawn_after_turning(indexed, tmp_path):
    """The scene's building begins 5 m east and 12 m south of the corner: rows 24 to 40, columns 10 to 34."""
    pack(indexed, tmp_path / "0")
    interior = np.load(tmp_path / "0" / "masks.npy")[0, 0]  # of orientation 1
    rows, columns = np.nonzero(interior)
    assert (rows.min(), rows.max() + 1) == (SIZE_PX - 40, SIZE_PX - 24)
    assert (columns.min(), columns.max() + 1) == (SIZE_PX - 34, SIZE_PX - 10)


def test_padding_is_no_data_in_all_arrays(indexed, tmp_path):
    pack(indexed, tmp_path / "0")
    for name in ("sar", "eo", "masks"):
        array = np.load(tmp_path / "0" / f"{name}.npy")
        assert array.shape[-2:] == (PADDED_PX, PADDED_PX)
        assert not array[..., SIZE_PX:, :].any() and not array[..., SIZE_PX:].any()


def test_the_manifest_holds_the_checksum_and_shape_of_every_file(indexed, tmp_path):
    manifest = pack(indexed, tmp_path / "0", border_px=2)
    assert {key: manifest[key] for key in ("shard", "shards", "tiles", "size_px", "padded_px", "orientation")} == {
        "shard": 0,
        "shards": 1,
        "tiles": 6,
        "size_px": SIZE_PX,
        "padded_px": PADDED_PX,
        "orientation": "rotate180",
    }
    assert manifest["border_px"] == 2
    assert {path.name for path in (tmp_path / "0").iterdir()} == {*manifest["files"], "manifest.json"}
    for name, entry in manifest["files"].items():
        content = (tmp_path / "0" / name).read_bytes()
        assert (entry["bytes"], entry["xxh3_128"]) == (len(content), xxhash.xxh3_128_hexdigest(content))
        if name.endswith(".npy"):
            array = np.load(tmp_path / "0" / name, mmap_mode="r")
            assert (entry["shape"], entry["dtype"]) == (list(array.shape), array.dtype.name)


def test_all_shards_together_hold_what_one_shard_holds(indexed, tmp_path):
    pack(indexed, tmp_path / "whole")
    folders = [tmp_path / str(shard) for shard in range(4)]
    counts = [pack(indexed, folder, shard=shard, shards=4)["tiles"] for shard, folder in enumerate(folders)]
    assert counts == [2, 2, 1, 1]
    for name in ("sar", "eo", "masks"):
        whole = np.load(tmp_path / "whole" / f"{name}.npy")
        for shard, folder in enumerate(folders):
            assert (np.load(folder / f"{name}.npy") == whole[shard::4]).all()


def test_a_shard_beyond_the_last_tile_is_empty(indexed, tmp_path):
    assert pack(indexed, tmp_path / "7", shard=7, shards=8)["tiles"] == 0
    assert np.load(tmp_path / "7" / "sar.npy").shape == (0, 4, PADDED_PX, PADDED_PX)


@given(st.integers(0, 4000), st.integers(1, 64))
def test_tiles_are_dealt_out_to_the_shards_in_turn(tiles, shards):
    rows = [list(range(tiles))[rows_of_shard(tiles, shard, shards)] for shard in range(shards)]
    assert sorted(row for mine in rows for row in mine) == list(range(tiles))
    assert all(row % shards == shard for shard, mine in enumerate(rows) for row in mine)
    sizes = [len(mine) for mine in rows]
    assert max(sizes) - min(sizes) <= 1


def test_every_shard_of_the_real_tiles_is_a_sample_of_the_whole_city():
    """Of 3401 tiles by 32: shares of the test area and of an orientation near the city's own, and as wide."""
    tiles = pd.read_csv(GEOMETRY).sort_values("image_id", ignore_index=True)
    tiles["test"] = tiles["easting_m"] >= 595343
    city = tiles[["test", "orientation"]].mean()
    for shard in range(32):
        mine = tiles.iloc[rows_of_shard(len(tiles), shard, 32)]
        assert len(mine) in (106, 107)
        assert abs(mine["test"].mean() - city["test"]) < 0.12
        assert abs(mine["orientation"].mean() - city["orientation"]) < 0.15
        assert mine["image_id"].str.rsplit("_tile_", n=1).str[0].nunique() > 100
        for side in ("easting_m", "northing_m"):
            assert np.ptp(mine[side]) > 0.7 * np.ptp(tiles[side])


@pytest.mark.parametrize("shard", [-1, 2])
def test_a_shard_that_there_is_not_is_refused(indexed, tmp_path, shard):
    with pytest.raises(UserError, match=rf"shard {shard} of 2 is none: expected 0 to 1"):
        pack(indexed, tmp_path / "0", shard=shard, shards=2)


@pytest.fixture
def damaged(indexed, tmp_path):
    """A copy of the scene whose images a test may damage."""
    shutil.copytree(indexed, tmp_path / "scene")
    return tmp_path / "scene"


def refusal(folder, **changes):
    out = folder.parent / "pack" / "0"
    with pytest.raises(UserError) as error:
        pack(folder, out, **changes)
    assert not out.parent.exists() or not list(out.parent.iterdir())
    return str(error.value)


def test_a_tile_truncated_after_indexing_is_told_and_no_shard_is_left(damaged):
    path = damaged / "raw" / pd.read_parquet(damaged / "catalog.parquet")["eo_path"].iloc[4]
    path.write_bytes(path.read_bytes()[:-3000])
    assert f"{path}: cannot be read" in refusal(damaged)


def test_a_tile_replaced_after_indexing_is_told(damaged):
    tiles = pd.read_parquet(damaged / "catalog.parquet")
    path = damaged / "raw" / tiles["sar_path"].iloc[0]
    path.write_bytes((damaged / "raw" / tiles["eo_path"].iloc[0]).read_bytes())
    message = refusal(damaged)
    assert f"{path}: uint16 of shape (4, 64, 64), expected float32 of shape (4, 64, 64)" in message


def test_a_tile_of_another_place_is_told(damaged):
    """Files under other tiles' names, as after a catalog of another archive: shape and type are as expected."""
    tiles = pd.read_parquet(damaged / "catalog.parquet")
    here, there = (damaged / "raw" / path for path in tiles["sar_path"].iloc[:2])
    there.replace(here)
    assert f"{here}: begins at easting" in refusal(damaged)


def test_a_tile_removed_after_indexing_is_told(damaged):
    path = damaged / "raw" / pd.read_parquet(damaged / "catalog.parquet")["sar_path"].iloc[5]
    path.unlink()
    assert f"{path}: cannot be read (No such file or directory)" in refusal(damaged)


@pytest.mark.parametrize("name", ["catalog.parquet", "footprints.parquet"])
def test_a_damaged_table_is_told(damaged, name):
    content = (damaged / name).read_bytes()
    (damaged / name).write_bytes(content[: len(content) // 2])
    assert f"{damaged / name}: " in refusal(damaged)


def test_sar_values_that_no_radar_of_spacenet_6_has_are_told(damaged):
    path = damaged / "raw" / pd.read_parquet(damaged / "catalog.parquet")["sar_path"].iloc[1]
    with rasterio.open(path, "r+") as image:
        image.write(np.full((4, SIZE_PX, SIZE_PX), 1e6, np.float32))
    assert f"{path}: values beyond 65504, or not finite" in refusal(damaged)


def test_a_full_disk_is_told_with_what_is_needed():
    with (
        pytest.raises(UserError, match=r"/dev/full: cannot be written \(No space left on device\), 1\.0 GiB in all"),
        ArrayWriter(Path("/dev/full"), (2**10, 2**20), np.uint8) as array,
    ):
        array.append(np.zeros(2**20, np.uint8))


def test_another_tile_size_in_the_config_is_told(damaged):
    assert "its tiles measure 64 px, and tiles.size_px is 60" in refusal(damaged, size_px=60)


def test_padding_to_less_than_a_tile_is_refused_by_name(indexed, tmp_path):
    with pytest.raises(UserError, match=rf"tiles\.padded_px is {SIZE_PX - 1}, expected at least"):
        pack(indexed, tmp_path / "0", padded_px=SIZE_PX - 1)
    assert not list(tmp_path.iterdir())

"""Packed tiles as samples, and packs that are not whole."""

import os
import shutil

import numpy as np
import pandas as pd
import pytest

from sspipe.errors import UserError
from sspipe.files import read_json, write_json
from sspipe.train.dataset import PackedTiles, read_statistics, read_subset
from tests.packed_tiles import file_entries


def test_tiles_come_in_the_order_asked_for_whatever_shard_they_are_in(packed):
    asked = [packed.tile_ids[9], packed.tile_ids[0], packed.tile_ids[15]]
    tiles = PackedTiles(packed.manifests, asked)
    for sample, tile_id in enumerate(asked):
        number = packed.tile_ids.index(tile_id)
        shard = np.load(packed.manifests[number // 8].parent / "sar.npy")
        assert np.array_equal(tiles.row(sample, "sar"), shard[number % 8])
        assert tiles.orientation(sample) == number % 2


def test_a_tile_that_no_shard_holds_is_named(packed):
    with pytest.raises(UserError, match="tile_999"):
        PackedTiles(packed.manifests, ["20190804111224_20190804111453_tile_999"])


def test_a_shard_whose_file_was_cut_or_lost_is_named_before_training(packed, tmp_path):
    shutil.copytree(packed.root / "pack" / "0", tmp_path / "0")
    sar = tmp_path / "0" / "sar.npy"
    os.truncate(sar, sar.stat().st_size // 2)
    with pytest.raises(UserError, match=r"sar\.npy: has \d+ bytes, expected \d+"):
        PackedTiles([tmp_path / "0" / "manifest.json"], packed.tile_ids[:2])
    sar.unlink()
    with pytest.raises(UserError, match=r"sar\.npy: is missing"):
        PackedTiles([tmp_path / "0" / "manifest.json"], packed.tile_ids[:2])
    (tmp_path / "0" / "manifest.json").write_text("{}")
    with pytest.raises(UserError, match="not a shard's manifest"):
        PackedTiles([tmp_path / "0" / "manifest.json"], packed.tile_ids[:2])


def test_an_empty_subset_is_refused(packed, tmp_path):
    pd.DataFrame({"tile_id": ["a"], "subset": ["train"]}).to_parquet(tmp_path / "split.parquet")
    with pytest.raises(UserError, match=r"split\.parquet: no test tiles"):
        read_subset(tmp_path / "split.parquet", "test")


def test_a_table_that_is_no_splits_is_told(tmp_path):
    pd.DataFrame({"tile_id": ["a"], "strip": ["b"]}).to_parquet(tmp_path / "catalog.parquet")
    with pytest.raises(UserError, match=r"catalog\.parquet: not the table of a split, as it has no column subset"):
        read_subset(tmp_path / "catalog.parquet", "train")


@pytest.mark.parametrize(
    "content",
    [{}, [], {"views": []}, {"views": {"sar": {"mean": [1.0]}}}, {"views": {"sar": {"mean": [1, 2], "std": [1]}}}],
)
def test_what_is_no_statistics_is_told(tmp_path, content):
    write_json(tmp_path / "random.json", content)
    with pytest.raises(UserError, match=r"random\.json: not the statistics of a split .*run the target `data` again"):
        read_statistics(tmp_path / "random.json")


def test_a_folder_in_the_place_of_statistics_is_told(tmp_path):
    with pytest.raises(UserError, match=r"cannot be read \(Is a directory\)"):
        read_statistics(tmp_path)


def written_anew(folder):
    """A manifest that agrees with files which are wrong in themselves."""
    manifest = folder / "manifest.json"
    write_json(manifest, {**read_json(manifest), "files": file_entries(folder)})
    return manifest


def test_a_file_that_is_shorter_than_its_own_header_says_is_an_error_and_no_crash(packed, tmp_path):
    shutil.copytree(packed.root / "pack" / "0", tmp_path / "0")
    os.truncate(tmp_path / "0" / "eo.npy", 5000)
    tiles = PackedTiles([written_anew(tmp_path / "0")], packed.tile_ids[:2])
    assert tiles.row(1, "sar").shape == (4, 64, 64)
    with pytest.raises(UserError, match=r"eo\.npy: cannot be read .*delete the shard's folder"):
        tiles.row(1, "eo")


def test_a_file_that_is_cut_while_it_is_in_use_is_an_error_and_no_crash(packed, tmp_path):
    shutil.copytree(packed.root / "pack" / "0", tmp_path / "0")
    tiles = PackedTiles([tmp_path / "0" / "manifest.json"], packed.tile_ids[:8])
    assert tiles.row(7, "sar").any()
    os.truncate(tmp_path / "0" / "sar.npy", 5000)
    with pytest.raises(UserError, match=r"sar\.npy: was changed or removed while it was in use"):
        tiles.row(7, "sar")


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.zeros((8, 4, 64, 64), np.float32), r"float32 of shape \(8, 4, 64, 64\), expected float16"),
        (np.zeros((8, 4, 32, 32), np.float16), r"expected float16 of shape \(tiles, \(4, 64, 64\)\)"),
        (np.zeros((7, 4, 64, 64), np.float16), "has 7 tiles, and tiles.parquet 8"),
    ],
)
def test_an_array_of_another_form_is_refused(packed, tmp_path, array, told):
    shutil.copytree(packed.root / "pack" / "0", tmp_path / "0")
    np.save(tmp_path / "0" / "sar.npy", array)
    with pytest.raises(UserError, match=rf"sar\.npy: .*{told}"):
        PackedTiles([written_anew(tmp_path / "0")], packed.tile_ids[:2]).row(0, "sar")


def test_shards_of_different_bands_are_refused(packed, tmp_path):
    for shard in "01":
        shutil.copytree(packed.root / "pack" / shard, tmp_path / shard)
    np.save(tmp_path / "1" / "sar.npy", np.zeros((8, 2, 64, 64), np.float16))
    manifests = [tmp_path / "0" / "manifest.json", written_anew(tmp_path / "1")]
    tiles = PackedTiles(manifests, packed.tile_ids)
    assert tiles.channels("sar") == 4 and tiles.channels("masks") == 2
    with pytest.raises(UserError, match=r"1/sar\.npy: float16 of shape \(8, 2, 64, 64\), expected float16 of shape"):
        tiles.open_all(["sar"])


def test_a_subset_with_eo_leaves_the_tiles_without_an_image_out(tmp_path):
    table = pd.DataFrame({"tile_id": ["a", "b", "c"], "subset": "train", "has_eo": [True, False, True]})
    table.to_parquet(tmp_path / "split.parquet")
    assert read_subset(tmp_path / "split.parquet", "train") == ["a", "b", "c"]
    assert read_subset(tmp_path / "split.parquet", "train", with_eo=True) == ["a", "c"]
    table.assign(has_eo=False).to_parquet(tmp_path / "split.parquet")
    with pytest.raises(UserError, match="none of its 3 train tiles has an EO image"):
        read_subset(tmp_path / "split.parquet", "train", with_eo=True)

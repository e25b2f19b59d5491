from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sspipe.errors import UserError
from sspipe.files import write_json
from sspipe.pack.identity import pack_digest
from sspipe.pack.moments import measure_tiles
from tests.packed_tiles import file_entries

SETTINGS = {"shards": 2, "size_px": 8, "padded_px": 16, "orientation": "none", "border_px": 3}


@pytest.fixture
def packs(tmp_path):
    """Two shards of two tiles each, 8 px padded to 16; the images by view and tile id beside them."""
    rng = np.random.default_rng(1)
    images = {}
    for shard in range(2):
        folder = tmp_path / "pack" / str(shard)
        folder.mkdir(parents=True)
        ids = [f"a_b_tile_{shard + 2 * row}" for row in range(2)]
        for view, dtype in (("sar", np.float16), ("eo", np.uint16)):
            arrays = np.zeros((2, 4, 16, 16), dtype)
            arrays[:, :, :8, :8] = rng.uniform(1, 90, (2, 4, 8, 8))
            np.save(folder / f"{view}.npy", arrays)
            images.update({(view, tile_id): array for tile_id, array in zip(ids, arrays, strict=True)})
        np.save(folder / "masks.npy", np.zeros((2, 2, 16, 16), np.uint8))
        pd.DataFrame({"tile_id": ids, "row": [0, 1], "orientation": 0}).to_parquet(folder / "tiles.parquet")
        describe(folder, shard=shard)
    return tmp_path, images


def describe(folder, **changes):
    """Writes a manifest that fits the shard's files as they are."""
    write_json(folder / "manifest.json", {"tiles": 2, **SETTINGS, "files": file_entries(folder), **changes})


def measure(folder, shards=(0, 1), processes=1):
    manifests = [folder / "pack" / str(shard) / "manifest.json" for shard in shards]
    measure_tiles(packs=manifests, processes=processes, out=folder / "moments.parquet")
    return pd.read_parquet(folder / "moments.parquet")


@pytest.mark.parametrize("processes", [1, 2])
def test_every_tile_is_measured_whatever_the_number_of_processes(packs, processes):
    folder, images = packs
    table = measure(folder, processes=processes)
    assert len(table) == 4 * 2 * 4
    manifests = [folder / "pack" / str(shard) / "manifest.json" for shard in (0, 1)]
    assert set(table["pack"]) == {pack_digest(manifests)}
    for (view, tile_id), image in images.items():
        mine = table[(table["view"] == view) & (table["tile_id"] == tile_id)].sort_values("band")
        values = image[:, :8, :8].reshape(4, -1).astype(np.float64)
        assert mine["pixels"].tolist() == [64] * 4
        np.testing.assert_allclose(mine["mean"], values.mean(axis=1), rtol=1e-12)
        np.testing.assert_allclose(mine["squares"], values.var(axis=1) * 64, rtol=1e-12)


def refusal(folder, **changes):
    with pytest.raises(UserError) as error:
        measure(folder, **changes)
    assert not (folder / "moments.parquet").exists()
    return str(error.value)


@pytest.mark.parametrize("name", ["sar.npy", "eo.npy", "masks.npy", "tiles.parquet"])
def test_one_flipped_bit_in_any_file_is_told(packs, name):
    folder, _ = packs
    path = folder / "pack" / "1" / name
    content = bytearray(path.read_bytes())
    content[-200] ^= 1
    path.write_bytes(content)
    assert f"{path}: xxh3_128" in refusal(folder)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_missing_file_is_told_by_whichever_process_misses_it(packs, processes):
    path = packs[0] / "pack" / "0" / "eo.npy"
    path.unlink()
    assert f"{path}: xxh3_128 missing" in refusal(packs[0], processes=processes)


@pytest.mark.parametrize("longer", [-100, 100])
def test_an_array_cut_short_or_grown_is_told(packs, longer):
    path = packs[0] / "pack" / "0" / "sar.npy"
    content = path.read_bytes()
    path.write_bytes(content[:longer] if longer < 0 else content + bytes(longer))
    assert f"{path}: " in refusal(packs[0])


def test_a_file_that_is_no_array_is_told(packs):
    path = packs[0] / "pack" / "0" / "sar.npy"
    path.write_bytes(b"not an array")
    assert f"{path}: cannot be read" in refusal(packs[0])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "not valid JSON"),
        (b'{"tiles": 2, "fil', "not valid JSON"),
        (b"\xff\xfe\0\x80", "not valid JSON"),
        (b"[]", "lists no files"),
        (b"null", "lists no files"),
        (b'{"tiles": 2, "shard": 0, "shards": 2}', "lists no files"),
        (b'{"files": ["sar.npy"]}', "lists no files"),
    ],
)
def test_a_damaged_manifest_is_told(packs, content, expected):
    path = packs[0] / "pack" / "0" / "manifest.json"
    path.write_bytes(content)
    message = refusal(packs[0])
    assert message.startswith(f"{path}: ") and expected in message and "run" in message


@pytest.mark.parametrize("name", ["sar.npy", "eo.npy", "masks.npy", "tiles.parquet"])
@pytest.mark.parametrize("entry", [None, {}, {"bytes": 3}])
def test_a_manifest_that_vouches_for_some_files_only_is_told(packs, name, entry):
    shard = packs[0] / "pack" / "0"
    files = file_entries(shard)
    del files[name]
    describe(shard, shard=0, files=files if entry is None else {**files, name: entry})
    message = refusal(packs[0])
    assert f"{shard / 'manifest.json'}: " in message and name in message


@pytest.mark.parametrize("key", ["tiles", "shard", "shards"])
@pytest.mark.parametrize("value", [None, "2"])
def test_a_manifest_without_its_numbers_is_told(packs, key, value):
    shard = packs[0] / "pack" / "0"
    describe(shard, **{"shard": 0, key: value})
    assert "tiles, shard, shards are not whole numbers" in refusal(packs[0])


def test_files_beside_those_of_a_shard_are_not_read(packs):
    shard = packs[0] / "pack" / "0"
    describe(shard, shard=0, files={**file_entries(shard), "../../elsewhere": {"xxh3_128": ""}})
    assert "lists ../../elsewhere, eo.npy" in refusal(packs[0])


def test_a_table_that_does_not_fit_its_arrays_is_told(packs):
    shard = packs[0] / "pack" / "1"
    describe(shard, shard=1, tiles=3)
    assert f"{shard}: tiles.parquet has 2 rows" in refusal(packs[0])


@pytest.mark.parametrize(("key", "other"), [("padded_px", 32), ("orientation", "flipud"), ("border_px", 2)])
def test_shards_packed_with_different_settings_are_told_apart(packs, key, other):
    shard = packs[0] / "pack" / "1"
    describe(shard, shard=1, **{key: other})
    assert f"{shard / 'manifest.json'}: was packed with {key} {other}" in refusal(packs[0])


def test_a_tile_in_two_shards_is_told(packs):
    shard = packs[0] / "pack" / "1"
    table = pd.read_parquet(shard / "tiles.parquet")
    table.assign(tile_id=["a_b_tile_0", "a_b_tile_3"]).to_parquet(shard / "tiles.parquet")
    describe(shard, shard=1)
    assert "tile a_b_tile_0 is in two shards" in refusal(packs[0])


def test_a_shard_that_is_not_given_is_told(packs):
    assert "shards [1] of 2" in refusal(packs[0], shards=(1,))

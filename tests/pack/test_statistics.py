from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sspipe.errors import UserError
from sspipe.files import write_json
from sspipe.pack.statistics import compute_statistics, over_images
from tests.packed_tiles import file_entries


@settings(max_examples=60)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=8),
    st.floats(0, 1),
    st.sampled_from([(30.0, 8.0), (1e4, 1e-2), (1e-3, 1e-5), (0.0, 5.0)]),
    st.sampled_from(["float16", "float32", "uint16"]),
)
def test_one_pass_gives_what_float64_numpy_gives_on_all_valid_pixels(seed, shapes, no_data, spread, dtype):
    rng = np.random.default_rng(seed)
    images = []
    for rows, columns in shapes:
        values = rng.normal(*spread, (4, rows, columns))
        image = (np.abs(values) if dtype == "uint16" else values).astype(dtype)
        image[:, rng.random((rows, columns)) < no_data] = 0
        images.append(image)
    moments = over_images(images)
    valid = np.concatenate([image[:, (image != 0).any(axis=0)] for image in images], axis=1).astype(np.float64)
    assert moments.pixels == valid.shape[1]
    if moments.pixels:
        scale = np.abs(valid).max()
        np.testing.assert_allclose(moments.mean, valid.mean(axis=1), rtol=1e-9, atol=1e-12 * scale)
        np.testing.assert_allclose(moments.std, valid.std(axis=1), rtol=1e-9, atol=1e-12 * scale)


def test_digits_survive_where_a_running_sum_of_squares_would_lose_them():
    rng = np.random.default_rng(0)
    images = [1e7 + rng.normal(0, 1e-3, (1, 64, 64)) for _ in range(20)]
    moments = over_images(images)
    np.testing.assert_allclose(moments.std, np.std(np.stack(images)), rtol=1e-6)


def test_a_pixel_that_is_0_in_some_bands_only_is_valid():
    image = np.array([[[0.0, 0.0, 4.0]], [[0.0, 2.0, 0.0]]])
    moments = over_images([image])
    assert moments.pixels == 2 and moments.mean.tolist() == [2.0, 1.0] and moments.std.tolist() == [2.0, 1.0]


@pytest.fixture
def packs(tmp_path):
    """Two shards of two tiles each, 8 px padded to 16; the arrays by tile id beside them."""
    rng = np.random.default_rng(1)
    images = {}
    for shard in range(2):
        folder = tmp_path / "pack" / str(shard)
        folder.mkdir(parents=True)
        ids = [f"a_b_tile_{2 * shard + row}" for row in range(2)]
        for view, dtype in (("sar", np.float16), ("eo", np.uint16)):
            arrays = np.zeros((2, 4, 16, 16), dtype)
            arrays[:, :, :8, :8] = rng.uniform(1, 90, (2, 4, 8, 8))
            np.save(folder / f"{view}.npy", arrays)
            images.update({(view, tile_id): array for tile_id, array in zip(ids, arrays, strict=True)})
        pd.DataFrame({"tile_id": ids, "row": [0, 1], "orientation": 0}).to_parquet(folder / "tiles.parquet")
        write_json(folder / "manifest.json", {"tiles": 2, "files": file_entries(folder)})
    return tmp_path, images


def compute(folder, train, shards=(0, 1)):
    ids = [f"a_b_tile_{number}" for number in range(4)]
    subsets = ["train" if tile_id in train else "test" for tile_id in ids]
    pd.DataFrame({"tile_id": ids, "subset": subsets}).to_parquet(folder / "split.parquet")
    out = folder / "statistics.json"
    manifests = [folder / "pack" / str(shard) / "manifest.json" for shard in shards]
    compute_statistics(split="random", split_table=folder / "split.parquet", packs=manifests, out=out)
    return json.loads(out.read_text())


def test_only_training_tiles_count_and_padding_does_not(packs):
    folder, images = packs
    train = ["a_b_tile_1", "a_b_tile_2"]
    statistics = compute(folder, train)
    assert (statistics["split"], statistics["subset"], statistics["tiles"]) == ("random", "train", 2)
    for view in ("sar", "eo"):
        values = np.stack([images[view, tile_id][:, :8, :8] for tile_id in train]).astype(np.float64)
        found = statistics["views"][view]
        np.testing.assert_allclose(found["mean"], values.mean(axis=(0, 2, 3)), rtol=1e-12)
        np.testing.assert_allclose(found["std"], values.std(axis=(0, 2, 3)), rtol=1e-12)
        assert found["valid_pixels"] == 2 * 64


def refusal(folder, *arguments, **changes):
    with pytest.raises(UserError) as error:
        compute(folder, *arguments, **changes)
    assert not (folder / "statistics.json").exists()
    return str(error.value)


def test_a_training_tile_in_no_shard_is_told(packs):
    message = refusal(packs[0], ["a_b_tile_0", "a_b_tile_3"], shards=(0,))
    assert "1 of its 2 training tiles are in none of the shards, such as a_b_tile_3" in message


def test_a_split_without_training_tiles_is_told(packs):
    assert "has no training tiles" in refusal(packs[0], [])


def test_a_shard_whose_table_does_not_fit_its_manifest_is_told(packs):
    shard = packs[0] / "pack" / "1"
    write_json(shard / "manifest.json", {"tiles": 3, "files": file_entries(shard)})
    assert "manifest.json has 3 tiles" in refusal(packs[0], ["a_b_tile_0"])


def test_a_damaged_array_is_told(packs):
    path = packs[0] / "pack" / "0" / "sar.npy"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1  # one bit, which nothing but the checksum notices
    path.write_bytes(content)
    assert f"{path}: sha256" in refusal(packs[0], ["a_b_tile_0"])
    path.unlink()
    assert f"{path}: sha256 missing" in refusal(packs[0], ["a_b_tile_0"])
    write_json(path.with_name("manifest.json"), {"tiles": 2})
    assert "manifest.json: lists no files" in refusal(packs[0], ["a_b_tile_0"])


@pytest.mark.parametrize(
    ("value", "told"), [(0, "every sar pixel"), (7, "sar band 3 is 7 in all of its training tiles")]
)
def test_a_view_without_spread_is_told_because_it_cannot_be_standardised(packs, value, told):
    for shard in range(2):
        path = packs[0] / "pack" / str(shard) / "sar.npy"
        arrays = np.load(path)
        if value:
            arrays[:, 2, :8, :8] = value
        else:
            arrays[:] = 0
        np.save(path, arrays)
        write_json(path.with_name("manifest.json"), {"tiles": 2, "files": file_entries(path.parent)})
    assert told in refusal(packs[0], ["a_b_tile_0", "a_b_tile_3"])

"""Inference: SAR alone, each tile back in its own grid."""

import multiprocessing
import os
import subprocess

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from sspipe.errors import UserError
from sspipe.files import read_json, write_json
from sspipe.models.build import build_network
from sspipe.predict.inference import predict_tiles
from sspipe.train.dataset import PackedTiles
from sspipe.variants import Variant
from tests.packed_tiles import PADDED, SIZE


@pytest.fixture()
def trained(tmp_path):
    """Weights of an untrained network: where its output lands does not depend on what it learned."""
    variant = Variant.model_validate(
        {"model": {"width": 0.0625, "skips": {"shared": "random"}}, "stages": [{"views": ["sar", "eo"], "epochs": 1}]}
    )
    save_file(build_network(variant.model, seed=0).state_dict(), tmp_path / "model.safetensors")
    record = {"split": "spatial", "variant": "mine", "seed": 0, "settings": variant.model_dump(mode="json")}
    write_json(tmp_path / "train.json", record)
    return tmp_path


def predicted(trained, packed, **more):
    out = trained / "probabilities.npy"
    arguments = {
        "model": trained / "model.safetensors",
        "record": trained / "train.json",
        "split_table": packed.split,
        "statistics": packed.statistics,
        "packs": packed.manifests,
        "batch_size": 2,
        "threads": 1,
        "workers": 1,
        "precision": "auto",
        "subset": "test",
        "out": out,
    }
    predict_tiles(**{**arguments, **more})
    return np.load(out), read_json(out.with_suffix(".json"))


def test_probabilities_are_in_each_tiles_own_grid(trained, packed, monkeypatch):
    """A network that says where a pixel is in its input shows that rotation and padding were undone."""
    ramp = torch.arange(PADDED * PADDED, dtype=torch.float32).reshape(PADDED, PADDED) / PADDED**2

    def positions(network, image, view, precision):
        return ramp.expand(len(image), 2, PADDED, PADDED)

    monkeypatch.setattr("sspipe.predict.inference.predict", positions)
    probabilities, about = predicted(trained, packed)
    upright = ramp[:SIZE, :SIZE].numpy().astype(np.float16)
    for tile, tile_id in zip(probabilities, about["tile_ids"], strict=True):
        turned = packed.tile_ids.index(tile_id) % 2 == 1
        assert np.array_equal(tile[0], upright[::-1, ::-1] if turned else upright)


def test_eo_is_not_even_read(trained, packed, tmp_path, monkeypatch):
    opened = PackedTiles._opened

    def sar_only(self, shard, name):
        assert name == "sar"
        return opened(self, shard, name)

    monkeypatch.setattr(PackedTiles, "_opened", sar_only)
    probabilities, about = predicted(trained, packed)
    assert about["view"] == "sar"
    assert about["tile_ids"] == packed.tile_ids[13:]
    assert probabilities.shape == (3, 2, SIZE, SIZE)
    assert probabilities.dtype == np.float16
    assert (probabilities >= 0).all() and (probabilities <= 1).all()


def test_the_batch_size_does_not_change_the_result(trained, packed):
    one = predicted(trained, packed, batch_size=1)[0].copy()
    three = predicted(trained, packed, batch_size=3)[0]
    assert np.allclose(one, three, atol=2e-3)


def test_reading_ahead_does_not_change_the_result(trained, packed):
    ahead = predicted(trained, packed, workers=3, batch_size=1)[0].copy()
    assert np.array_equal(ahead, predicted(trained, packed, workers=0, batch_size=1)[0])


def test_probabilities_are_those_of_the_network_on_the_whole_tile(trained, packed):
    """Against the plain way: one tile at a time, contiguous, eager."""
    probabilities, about = predicted(trained, packed)
    tiles = PackedTiles(packed.manifests, about["tile_ids"])
    record = Variant.model_validate(read_json(trained / "train.json")["settings"])
    network = build_network(record.model, seed=0).eval()
    for sample, found in enumerate(probabilities):
        packed_image = torch.from_numpy(tiles.row(sample, "sar").astype(np.float32))
        image = (packed_image - 26) / 5 * (packed_image != 0).any(dim=0)
        with torch.no_grad():
            expected = torch.sigmoid(network({"sar": image[None]})["sar"])[0, :, :SIZE, :SIZE].numpy()
        turned = tiles.orientation(sample) == 1
        assert np.allclose(found, expected[:, ::-1, ::-1] if turned else expected, atol=1e-3)


def test_a_full_disk_is_told_and_nothing_is_left(trained, packed, tmp_path):
    """In a process of its own: what is written through a memory map meets a full disk as SIGBUS."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here ({mounted.stderr.strip()})")
    try:
        process = multiprocessing.get_context("spawn").Process(
            target=_told, args=(trained, packed, disk / "p.npy", tmp_path / "told")
        )
        process.start()
        process.join()
        assert process.exitcode == 0
        assert "p.npy" in (tmp_path / "told").read_text()
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def _told(trained, packed, out, told):
    with pytest.raises(UserError) as error:
        predicted(trained, packed, out=out)
    told.write_text(str(error.value))


def test_a_precision_that_the_device_lacks_is_refused_before_anything_is_read(trained, packed):
    if torch.cuda.is_available():
        pytest.skip("a GPU may have it")
    with pytest.raises(UserError, match=r"training\.precision is fp16"):
        predicted(trained, packed, precision="fp16", record=trained / "none.json")


def test_weights_of_another_network_are_refused(trained, packed):
    other = Variant.model_validate({"model": {"kind": "unet16"}, "stages": [{"views": ["sar"], "epochs": 1}]})
    record = read_json(trained / "train.json")
    write_json(trained / "train.json", {**record, "settings": other.model_dump(mode="json")})
    with pytest.raises(UserError, match=r"model\.safetensors: not the weights of this variant"):
        predicted(trained, packed)
    assert not (trained / "probabilities.npy").exists()


def test_a_variant_tested_on_eo_is_warned_of_tiles_without_an_eo_image_and_predicts_them(packed, tmp_path, capsys):
    settings = {"model": {"kind": "unet16", "width": 0.0625}, "stages": [{"views": ["eo"], "epochs": 1}]}
    variant = Variant.model_validate({**settings, "test_view": "eo"})
    save_file(build_network(variant.model, seed=0).state_dict(), tmp_path / "model.safetensors")
    record = {"split": "spatial", "variant": "ceiling", "seed": 0, "settings": variant.model_dump(mode="json")}
    write_json(tmp_path / "train.json", record)
    split = pd.read_parquet(packed.split)
    split["has_eo"] = split["tile_id"] != packed.tile_ids[-1]
    split.to_parquet(tmp_path / "split.parquet")
    probabilities, _ = predicted(tmp_path, packed, split_table=tmp_path / "split.parquet")
    assert len(probabilities) == 3
    assert "1 of them have no EO image" in "".join(capsys.readouterr())

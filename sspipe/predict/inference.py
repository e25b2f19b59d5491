"""Probabilities on the test tiles, from the view that is scored: SAR alone, for all but the ceiling."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from sspipe.errors import UserError
from sspipe.files import read_json, whole_file, write_json
from sspipe.log import progress, say
from sspipe.models.build import Network, build_network
from sspipe.pack.orientation import restore
from sspipe.train.dataset import PackedTiles, read_subset
from sspipe.train.loader import BatchLoader, no_draws
from sspipe.train.transforms import Standardiser
from sspipe.validation import validated
from sspipe.variants import Model, Variant


def predict_tiles(
    *,
    model: Path,
    record: Path,
    split_table: Path,
    statistics: Path,
    packs: Sequence[Path],
    batch_size: int,
    threads: int,
    workers: int = 1,
    subset: str = "test",
    out: Path,
) -> None:
    """Predicts every tile of one subset: the stage `predict-tiles`.

    Args:
        model: weights, safetensors.
        record: train.json of the same run.
        split_table: `splits/{split}.parquet`.
        statistics: `statistics/{split}.json`.
        packs: `manifest.json` of every packed shard.
        batch_size: tiles at a time.
        threads: CPU threads of torch.
        workers: threads that read tiles ahead.
        subset: `test`, or `validation` for choosing how footprints are made.
        out: `(N, 2, S, S)` float16 probabilities of interior and border, each tile in its own grid (not rotated, not
            padded); which tile is which row stands in a JSON file of the same name.

    Raises:
        UserError: the weights do not fit the record, or the input is unusable.
    """
    torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trained = read_json(record)
    missing = {"settings", "split", "variant", "seed"} - trained.keys()
    if missing:
        raise UserError(f"{record}: lacks {', '.join(sorted(missing))}, so it is not a run's record; train it again")
    variant = validated(Variant, trained["settings"], str(record))
    network = load_network(model, variant.model, device)
    tiles = PackedTiles(packs, read_subset(split_table, subset))
    standardise = Standardiser(read_json(statistics), device)
    name = f"{trained['split']}/{trained['variant']} seed {trained['seed']}"
    say(f"{name}: predicting {len(tiles)} {subset} tiles from {variant.test_view.upper()}")

    with whole_file(out) as partial:
        shape = (len(tiles), 2, tiles.size_px, tiles.size_px)
        probabilities = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=shape)
        view = variant.test_view
        with BatchLoader(tiles, (view,), device=device, batch_size=batch_size, workers=workers) as loader:
            batches = loader.epoch(range(len(tiles)), no_draws)
            for batch in progress(batches, f"{name}: batches predicted", total=loader.steps(len(tiles))):
                predicted = predict(network, standardise(batch.arrays[view], view), view)
                for sample, tile in zip(batch.samples, predicted, strict=True):
                    upright = restore(tile, tiles.orientation(sample), tiles.orientation_rule, tiles.size_px)
                    probabilities[sample] = upright
        probabilities.flush()
        del probabilities
    write_json(
        out.with_suffix(".json"),
        {
            "split": trained["split"],
            "variant": trained["variant"],
            "seed": trained["seed"],
            "subset": subset,
            "view": variant.test_view,
            "size_px": tiles.size_px,
            "tile_ids": list(tiles.tile_ids),
        },
    )


@torch.inference_mode()
def predict(network: Network, image_BCHW: torch.Tensor, view: str) -> np.ndarray:
    """Probabilities `(B, 2, H, W)` float32 of standardised images of one view; psi is 1, no other view is needed."""
    image_BCHW = image_BCHW.contiguous(memory_format=torch.channels_last)
    logits = network({view: image_BCHW})[view]
    return torch.sigmoid(logits.float()).cpu().numpy()


def load_network(path: Path, settings: Model, device: torch.device) -> Network:
    """Builds the network and loads its weights, ready for inference.

    Raises:
        UserError: the file cannot be read, or its weights are of another network.
    """
    network = build_network(settings.model_copy(update={"vgg16_weights": None}), seed=0)
    if not path.is_file():
        raise UserError(f"{path}: no such file; run the rule train")
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise UserError(
            f"{path}: not the weights of this variant ({error}); delete the run's folder and train again"
        ) from error
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # missing in torch's stubs
    return network.eval().to(device)

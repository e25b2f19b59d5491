"""Probabilities on the test tiles, from the view that is scored: SAR alone, for all but the ceiling."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import dtype_to_descr, write_array_header_1_0
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sspipe.errors import UserError
from sspipe.files import read_json, whole_file, write_json
from sspipe.log import progress, say, warn
from sspipe.models.build import Network, build_network, input_bands
from sspipe.pack.orientation import orient
from sspipe.train.checks import refuse_unsupported_gpu
from sspipe.train.dataset import PackedTiles, read_statistics, read_subset
from sspipe.train.device import prepare
from sspipe.train.loader import Batch, BatchLoader, no_draws
from sspipe.train.precision import (
    Precision,
    Setting,
    choose_precision,
    device_facts,
)
from sspipe.train.transforms import Standardiser
from sspipe.validation import validated
from sspipe.variants import Variant, View


def predict_tiles(
    *,
    model: Path,
    record: Path,
    split_table: Path,
    statistics: Path,
    packs: Sequence[Path],
    batch_size: int,
    threads: int,
    workers: int,
    precision: Setting,
    subset: str,
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
        precision: see `sspipe.config.Training`.
        subset: `test`, or `validation` for choosing how footprints are made.
        out: `(N, 2, S, S)` float16 probabilities of interior and border, each tile in its own grid (not rotated, not
            padded); which tile is which row stands in a JSON file of the same name.

    Raises:
        UserError: the weights do not fit the record, the input is unusable, or the device cannot do the precision.
    """
    torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    refuse_unsupported_gpu(device)
    prepare(device)
    chosen = choose_precision(precision, device_facts(device))
    trained = read_json(record)
    missing = {"settings", "split", "variant", "seed"} - trained.keys()
    if missing:
        raise UserError(f"{record}: lacks {', '.join(sorted(missing))}, so it is not a run's record; train it again")
    variant = validated(Variant, trained["settings"], str(record))
    moments = read_statistics(statistics)
    network = load_network(model, variant, device, moments)
    tiles = PackedTiles(packs, read_subset(split_table, subset))
    standardise = Standardiser(moments, device)
    name = f"{trained['split']}/{trained['variant']} seed {trained['seed']}"
    view = variant.test_view
    say(f"{name}: predicting {len(tiles)} {subset} tiles from {view.upper()} in {chosen.name}")
    blind = len(tiles) - len(read_subset(split_table, subset, with_eo=True)) if view == "eo" else 0
    if blind:
        warn(f"{name}: {blind} of them have no EO image: the network sees no-data there, and is scored all the same")

    # Written tile after tile and not through a memory map, in which a full disk ends the process without a word.
    with (
        whole_file(out) as partial,
        partial.open("wb") as file,
        BatchLoader(tiles, (view,), device=device, batch_size=batch_size, workers=workers) as loader,
    ):
        write_array_header_1_0(
            file,
            {
                "descr": dtype_to_descr(np.dtype(np.float16)),
                "fortran_order": False,
                "shape": (len(tiles), 2, tiles.size_px, tiles.size_px),
            },
        )
        batches = progress(
            loader.epoch(range(len(tiles)), no_draws), f"{name}: batches predicted", loader.steps(len(tiles))
        )
        for sample, tile in _predicted(batches, network, standardise, view, chosen, tiles.size_px):
            file.write(orient(tile, tiles.orientation(sample), tiles.orientation_rule).tobytes())
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


def _predicted(
    batches: Iterable[Batch],
    network: Network,
    standardise: Standardiser,
    view: View,
    precision: Precision,
    size_px: int,
) -> Iterator[tuple[int, NDArray[np.float16]]]:
    """Yields sample numbers with their probabilities, `(2, S, S)`, in the grid that they were packed in.

    A batch's result is fetched when the next one is under way, so that a GPU does not wait for the disk.
    """
    under_way: list[tuple[Sequence[int], _Fetched]] = []
    for batch in batches:
        probabilities = predict(network, standardise(batch.arrays[view], view), view, precision)
        under_way.append((batch.samples, _Fetched(probabilities[..., :size_px, :size_px].half())))
        if len(under_way) > 1:
            samples, fetched = under_way.pop(0)
            yield from zip(samples, fetched.array(), strict=True)
    for samples, fetched in under_way:
        yield from zip(samples, fetched.array(), strict=True)


class _Fetched:
    """A tensor on its way to the CPU, behind what the GPU was asked for before and not behind what comes after."""

    def __init__(self, tensor: Tensor) -> None:
        self._arrived: torch.cuda.Event | None = None
        self._tensor = tensor
        if tensor.device.type == "cuda":
            self._tensor = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self._tensor.copy_(tensor, non_blocking=True)
            self._arrived = torch.cuda.Event()
            self._arrived.record()

    def array(self) -> NDArray[Any]:
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._tensor.numpy()


@torch.inference_mode()
def predict(network: Network, image_BCHW: Tensor, view: View, precision: Precision) -> Tensor:
    """Probabilities of interior and border from one view; psi is 1, no other view is needed.

    Args:
        network: in evaluation mode.
        image_BCHW: standardised, on the network's device.
        view: which it is.
        precision: of the network's layers.

    Returns:
        `(B, 2, H, W)` float32, on the device.
    """
    with precision.autocast():
        logits = network({view: image_BCHW})[view]
    return torch.sigmoid(logits.float())


def load_network(path: Path, variant: Variant, device: torch.device, statistics: dict[str, Any]) -> Network:
    """Builds the network and loads its weights, ready for inference.

    Args:
        path: of the weights, safetensors.
        variant: of the run.
        device: where it computes.
        statistics: content of `statistics/{split}.json`, for the views' bands.

    Raises:
        UserError: the file cannot be read, or its weights are of another network.
    """
    model = variant.model.model_copy(update={"vgg16_weights": None})
    network = build_network(model, seed=0, bands=input_bands(variant, statistics))
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

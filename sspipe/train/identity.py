"""What a training is of: settings and inputs. A checkpoint goes on only under those that it was made under."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sspipe.errors import UserError
from sspipe.pack.identity import pack_digest
from sspipe.train.dataset import PackedTiles, read_statistics
from sspipe.variants import Variant

_INPUT = "input: "


def identity_of(
    variant: Variant,
    seed: int,
    *,
    engine: Mapping[str, Any],
    train_tiles: PackedTiles,
    validation_tiles: PackedTiles,
    statistics: Path,
    packs: Sequence[Path],
) -> dict[str, Any]:
    """Names all that decides a training's result, flat: dotted keys of settings, and digests of inputs.

    Args:
        variant: resolved.
        seed: of the run.
        engine: those settings of `training` that decide results.
        train_tiles: by the split.
        validation_tiles: by the split.
        statistics: of the split.
        packs: manifests of the shards.
    """
    settings = variant.model_dump(mode="json", exclude={"title", "paper_row", "test_view"})
    weights = variant.model.vgg16_weights
    inputs: dict[str, Any] = {
        "training tiles of the split table": train_tiles.tile_ids,
        "validation tiles of the split table": validation_tiles.tile_ids,
        "statistics": read_statistics(statistics)["views"],
        "packed tiles": pack_digest(packs),
    }
    if weights is not None:
        inputs["model.vgg16_weights"] = _file_digest(weights)
    return {
        **_flat("", settings),
        "seed": seed,
        **{f"training.{key}": value for key, value in engine.items()},
        **{f"{_INPUT}{name}": _digest(content) for name, content in inputs.items()},
    }


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Says in one line each what differs between two identities."""
    lines = []
    for key in [*before, *(key for key in now if key not in before)]:
        then, here = before.get(key, "not there"), now.get(key, "not there")
        if then == here:
            continue
        if key.startswith(_INPUT):
            lines.append(f"the {key.removeprefix(_INPUT)}: other content (sha256 {then[:12]} then, {here[:12]} now)")
        else:
            lines.append(f"{key}: {_shown(then)} then, {_shown(here)} now")
    return lines


def digest_of(identity: Mapping[str, Any]) -> str:
    """A short name of an identity: equal for runs that give the same result."""
    return _digest(identity)[:12]


def _flat(prefix: str, content: Any) -> dict[str, Any]:
    if isinstance(content, dict):
        pairs = [(str(key), value) for key, value in content.items()]
    elif isinstance(content, list) and any(isinstance(value, dict) for value in content):
        pairs = [(str(number), value) for number, value in enumerate(content)]
    else:
        return {prefix.removesuffix("."): content}
    return {key: value for name, inner in pairs for key, value in _flat(f"{prefix}{name}.", inner).items()}


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _file_digest(path: Path) -> str:
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}; model.vgg16_weights)") from None

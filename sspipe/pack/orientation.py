"""Turning tiles so that the radar always looks the same way, and undoing this and the padding. Needs numpy alone."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

HOW = ("rotate180", "flipud", "none")


def orient(image: NDArray[Any], orientation: int, how: str) -> NDArray[Any]:
    """Turns a tile of a strip that was imaged from the south; one from the north stays as it is.

    Both turns are their own inverses, so this also turns a tile back.

    Args:
        image: (..., H, W), any dtype.
        orientation: the strip's, 0 (imaged from the north) or 1 (from the south).
        how: `rotate180` (the challenge's baseline), `flipud` (the paper says "flipped"), or `none`.

    Returns:
        a view of `image`, (..., H, W).
    """
    if orientation not in (0, 1) or how not in HOW:
        raise ValueError(f"orientation {orientation!r} or turn {how!r} is unknown")
    if orientation == 0 or how == "none":
        return image
    return image[..., ::-1, ::-1] if how == "rotate180" else image[..., ::-1, :]


def restore(image: NDArray[Any], orientation: int, how: str, size_px: int) -> NDArray[Any]:
    """Undoes packing: from the network's grid (..., P, P) to the tile's own (..., S, S).

    A packed tile lies in the upper left of its grid, turned; the rest is zeros (section 4.2: 900 -> 1024).

    Args:
        image: (..., P, P), for example the probabilities of one tile.
        orientation: the tile's, 0 or 1.
        how: as it was packed.
        size_px: S, the sides of the tile before padding.

    Returns:
        a view of `image`, (..., S, S).
    """
    return orient(image[..., :size_px, :size_px], orientation, how)

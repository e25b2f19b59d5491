"""What the files of a tile must be, and where they lie: all that reading a tile has to know of the data it is from."""

from __future__ import annotations

from typing import NamedTuple

from sspipe.data.bands import ValueRange


class Form(NamedTuple):
    """What every image of one kind must be."""

    kind: str  # for messages
    band_names: tuple[str, ...]
    dtypes: tuple[str, ...]  # any of them
    side_px: int  # rows and columns
    pixel_m: float
    epsg: int
    values: ValueRange
    remedy: str  # for an image that is otherwise
    values_words: str  # what the values should be, for messages
    bands_key: str = ""  # of the config, where that decides how many there are

    @property
    def bands(self) -> int:
        """How many there must be."""
        return len(self.band_names)


class TileFiles(NamedTuple):
    """A tile's files, relative to raw/ or absolute."""

    sar: str
    eo: str | None  # a tile may have none
    labels: str


class Forms(NamedTuple):
    """What a tile's files must be."""

    sar: Form
    eo: Form
    labels_remedy: str  # for footprints that cannot be used
    corner_m: float  # how far the corner of EO may lie from that of SAR

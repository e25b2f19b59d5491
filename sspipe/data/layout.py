"""How the data lie under raw/, and what they must be: the one place where SpaceNet 6 and tiles of one's own differ.

`index_tiles` and all that follows work with a `Layout` and know of neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sspipe.data import own_data, spacenet6
from sspipe.data.bands import RANGES, range_of
from sspipe.data.forms import Form, Forms, TileFiles
from sspipe.data.inspection import FETCH_AGAIN
from sspipe.data.inventory import Inventory, refuse_too_many_left_out, take_inventory
from sspipe.data.spacenet6 import Product
from sspipe.errors import UserError

# What tiles are packed as holds all of these.
OWN_SAR_DTYPES = ("float32", "uint8", "uint16", "int16")
OWN_EO_DTYPES = ("uint8", "uint16")
BAND_NAMES = {spacenet6.SAR: spacenet6.SAR_BANDS, spacenet6.EO: spacenet6.EO_BANDS}
OWN_CORNER = 0.01  # of a pixel, to which the corners of SAR and EO must agree: floating-point noise and no more


class Settings(NamedTuple):
    """Of `tiles` in the config."""

    size_px: int
    pixel_m: float
    max_left_out: float
    epsg: int
    sar_bands: Sequence[str]  # names
    eo_bands: Sequence[str]
    sar_range: tuple[float, float]
    eo_range: tuple[float, float]


class TilePlace(NamedTuple):
    """What is known of a tile before its files are read."""

    tile_id: str
    strip: str
    number: int
    orientation: int
    files: TileFiles


class Layout(NamedTuple):
    """The tiles under raw/, and what their files must be."""

    tiles: list[TilePlace]  # to be used, sorted by id
    inventory: Inventory  # also of those that are not
    forms: Forms
    truth: str  # the CSV that is scored against, relative to raw/


def spacenet6_layout(raw: Path, settings: Settings) -> Layout:
    """SpaceNet 6's archive, unpacked.

    Raises:
        UserError: the table of orientations cannot be used, or too many tiles lack something.
    """
    inventory = take_inventory(raw)
    refuse_too_many_left_out(raw, inventory, settings.max_left_out)
    tiles = []
    for tile_id in inventory.tiles:
        strip = spacenet6.strip_of(tile_id)
        products = (spacenet6.SAR, spacenet6.EO, spacenet6.LABELS)
        files = TileFiles(*(str(spacenet6.file_path(product, tile_id)) for product in products))
        number = spacenet6.number_of(tile_id)
        tiles.append(TilePlace(tile_id, strip, number, inventory.orientations[strip], files))
    forms = Forms(
        sar=spacenet6_form(spacenet6.SAR, settings.size_px, settings.pixel_m),
        eo=spacenet6_form(spacenet6.EO, settings.size_px, settings.pixel_m),
        labels_remedy=f"{FETCH_AGAIN}; labels of your own: reproject them to EPSG:{spacenet6.EPSG}",
        corner_m=settings.pixel_m,
    )
    return Layout(tiles, inventory, forms, str(spacenet6.TRUTH_FILE))


def spacenet6_form(product: Product, size_px: int, pixel_m: float) -> Form:
    """What the images of one of SpaceNet 6's products are, where a SAR image has `size_px` pixels of `pixel_m`."""
    return Form(
        kind=product.folder,
        band_names=BAND_NAMES.get(product, tuple(f"band {number + 1}" for number in range(product.bands))),
        dtypes=(product.dtype,),
        side_px=spacenet6.side_px(product, size_px),
        pixel_m=spacenet6.pixel_size_m(product, pixel_m),
        epsg=spacenet6.EPSG,
        values=RANGES[product.dtype],
        remedy=FETCH_AGAIN,
        values_words="log-scaled amplitudes, 0 to about 93, and 0 for no-data",
    )


def own_layout(raw: Path, settings: Settings) -> Layout:
    """Tiles of one's own, as `gather_tiles` left them.

    Raises:
        UserError: it was another program.
    """
    table = raw / own_data.TILES_FILE
    try:
        rows = own_data.rows(table)[1:]
        tiles = [
            TilePlace(
                row["tile_id"],
                row["strip"],
                number,
                int(row["orientation"]),
                TileFiles(row["sar_path"], row["eo_path"] or None, row["footprint_path"]),
            )
            for number, (_, row) in enumerate(rows)
        ]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{table}: cannot be used ({error}); run gather_tiles again") from None
    tiles.sort(key=lambda tile: tile.tile_id)
    orientations = {tile.strip: tile.orientation for tile in tiles}
    inventory = Inventory([tile.tile_id for tile in tiles], [], orientations, [])
    return Layout(tiles, inventory, own_forms(settings), own_data.TRUTH_FILE)


def own_forms(settings: Settings, remedy: str = "mend the file, or leave its tile out of the table") -> Forms:
    """What the files of one's own tiles must be: as the config says."""

    def form(kind: str, bands: Sequence[str], dtypes: Sequence[str], values: tuple[float, float]) -> Form:
        return Form(
            kind=kind.upper(),
            band_names=tuple(bands),
            dtypes=tuple(dtypes),
            side_px=settings.size_px,
            pixel_m=settings.pixel_m,
            epsg=settings.epsg,
            values=range_of(*values),
            remedy=remedy,
            values_words="finite values of at most 65504, and 0 in all bands for no-data",
            bands_key=f"tiles.{kind}_bands",
        )

    return Forms(
        sar=form("sar", settings.sar_bands, OWN_SAR_DTYPES, settings.sar_range),
        eo=form("eo", settings.eo_bands, OWN_EO_DTYPES, settings.eo_range),
        labels_remedy="run gather_tiles again",
        corner_m=OWN_CORNER * settings.pixel_m,
    )


LAYOUTS = {"spacenet6": spacenet6_layout, "table": own_layout}

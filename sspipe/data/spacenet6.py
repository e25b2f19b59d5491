"""SpaceNet 6's own conventions: products, folders, file names, tile and strip ids, and the orientation file.

Only the standard library is imported, so that every room may use it.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import NamedTuple

AREA = "AOI_11_Rotterdam"
FOLDER = PurePosixPath("train") / AREA  # of everything, inside the archive and under raw/
SUMMARY_FOLDER = FOLDER / "SummaryData"
ORIENTATION_FILE = SUMMARY_FOLDER / "SAR_orientations.txt"
TRUTH_FILE = SUMMARY_FOLDER / f"SN6_Train_{AREA}_Buildings.csv"
# Names of the bands, in order; that of SAR is inferred.
SAR_BANDS = ("HH", "HV", "VH", "VV")
EO_BANDS = ("red", "green", "blue", "near infrared")
EPSG = 32631  # WGS 84 / UTM zone 31N, for rasters and labels alike


class Product(NamedTuple):
    """One kind of file that each tile has."""

    folder: str
    word: str  # what file names call it; differs from the folder for the labels
    suffix: str
    bands: int
    dtype: str
    pixel_ratio: float  # its pixel size over the nominal SAR pixel's: products share an origin, never a transform


SAR = Product("SAR-Intensity", "SAR-Intensity", ".tif", 4, "float32", 1.0)
EO = Product("PS-RGBNIR", "PS-RGBNIR", ".tif", 4, "uint16", 0.49999810 / 0.5)
PS_RGB = Product("PS-RGB", "PS-RGB", ".tif", 3, "uint8", 0.49999648 / 0.5)
PAN = Product("PAN", "PAN", ".tif", 1, "uint16", 0.49999346 / 0.5)
RGBNIR = Product("RGBNIR", "RGBNIR", ".tif", 4, "uint16", 1.0000483 / 0.5)
LABELS = Product("geojson_buildings", "Buildings", ".geojson", 0, "", 1.0)
PRODUCTS: dict[str, Product] = {product.folder: product for product in (SAR, EO, PS_RGB, PAN, RGBNIR, LABELS)}

_ID = re.compile(r"(?P<strip>\d{14}_\d{14})_tile_(?P<number>\d+)")
_NAME = re.compile(rf"SN6_Train_{AREA}_(?P<word>[A-Za-z-]+)_{_ID.pattern}(?P<suffix>\.tif|\.geojson)")
_PUBLIC_TEST_NAME = re.compile(rf"SN6_Test_Public_{AREA}_[A-Za-z-]+_(?P<id>{_ID.pattern})\.\w+")
_BY_WORD = {(product.word, product.suffix): product for product in PRODUCTS.values()}


class TileName(NamedTuple):
    """What a tile's file name says."""

    product: Product
    strip: str
    tile_number: int
    tile_id: str


def parse_file_name(name: str) -> TileName | None:
    """Reads the product and the tile from a file name without folders; None if it is no training tile's."""
    match = _NAME.fullmatch(name)
    product = match and _BY_WORD.get((match["word"], match["suffix"]))
    if not match or not product:
        return None
    return TileName(product, match["strip"], int(match["number"]), f"{match['strip']}_tile_{match['number']}")


def public_test_tile(name: str) -> str | None:
    """The tile id in a file name of the public test set, which has SAR alone and no labels; None for other names."""
    match = _PUBLIC_TEST_NAME.fullmatch(name)
    return match["id"] if match else None


def file_name(product: Product, tile_id: str) -> str:
    """Builds the name of a tile's file."""
    return f"SN6_Train_{AREA}_{product.word}_{tile_id}{product.suffix}"


def file_path(product: Product, tile_id: str) -> PurePosixPath:
    """Builds the path of a tile's file, relative to raw/."""
    return FOLDER / product.folder / file_name(product, tile_id)


def product_of(path: PurePosixPath) -> str | None:
    """The product that a path inside the archive belongs to (`SummaryData` for the two tables); None if none.

    Args:
        path: without a leading `./`.
    """
    if path in (ORIENTATION_FILE, TRUTH_FILE):
        return SUMMARY_FOLDER.name
    name = parse_file_name(path.name)
    if name is None or path.parent != FOLDER / name.product.folder:
        return None
    return name.product.folder


def tile_id_of(strip: str, tile_number: int) -> str:
    """Builds a tile id, the CSV's `ImageId`."""
    return f"{strip}_tile_{tile_number}"


def strip_of(tile_id: str) -> str:
    """The strip that a tile was cut from.

    Raises:
        ValueError: `tile_id` has not the form `{t0}_{t1}_tile_{n}`.
    """
    return _matched(tile_id)["strip"]


def number_of(tile_id: str) -> int:
    """The tile's number.

    Raises:
        ValueError: `tile_id` has not the form `{t0}_{t1}_tile_{n}`.
    """
    return int(_matched(tile_id)["number"])


def pixel_size_m(product: Product, pixel_m: float) -> float:
    """The ground size (m) of a product's pixel where a SAR pixel measures `pixel_m`."""
    return product.pixel_ratio * pixel_m


def side_px(product: Product, size_px: int) -> int:
    """Rows and columns of a product's image where the SAR image has `size_px`: it covers the same ground."""
    return round(size_px / product.pixel_ratio)


def parse_orientations(text: str) -> tuple[dict[str, int], list[str]]:
    """Reads the orientation table: one `{strip} {0|1}` a line; 0 is imaged from the north, 1 from the south.

    Returns:
        orientation of each strip, and one message for each line that could not be used.
    """
    orientations: dict[str, int] = {}
    problems = []
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 2 or fields[1] not in ("0", "1"):
            problems.append(f"line {number} reads `{line.strip()}`, expected a strip and 0 or 1")
        elif orientations.setdefault(fields[0], int(fields[1])) != int(fields[1]):
            problems.append(f"line {number} gives strip {fields[0]} a second, different orientation")
    return orientations, problems


def tiles_in(raw: Path, product: Product) -> tuple[dict[str, Path], list[Path]]:
    """Lists a product's files under raw/.

    Returns:
        path of each tile id, sorted by tile id, and the files whose names were not understood.
    """
    files: dict[str, Path] = {}
    strange = []
    for path in sorted((raw / FOLDER / product.folder).glob("*")):
        name = parse_file_name(path.name)
        if name is None or name.product != product:
            strange.append(path)
        else:
            files[name.tile_id] = path
    return files, strange


def _matched(tile_id: str) -> re.Match[str]:
    match = _ID.fullmatch(tile_id)
    if not match:
        raise ValueError(f"`{tile_id}` is not a tile id of the form t0_t1_tile_n")
    return match

"""GDAL's own command-line tools: many GeoTIFFs become one cloud-optimised one.

They are a package of the system (Debian: gdal-bin) or of conda, and run as processes of their own: the libgdal within
rasterio's wheel and another one do not mix in one process.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from sspipe.errors import UserError

TOOLS = ("gdalbuildvrt", "gdal_translate")
# Small enough that a mosaic of some tiles has overviews as well.
COG_BLOCK_PX = 256


def build_cog(
    parts: Sequence[Path],
    bounds_m: tuple[float, float, float, float],
    pixel_m: float,
    band_names: Sequence[str],
    no_data: float,
    scratch: Path,
    out: Path,
) -> None:
    """Joins GeoTIFFs that do not overlap into one cloud-optimised GeoTIFF with overviews.

    Args:
        parts: float32 GeoTIFFs of the same bands, grid and CRS.
        bounds_m: west, south, east, north of the whole.
        pixel_m: side of a pixel.
        band_names: one per band.
        no_data: value of pixels that no part has.
        scratch: folder for what is needed on the way.
        out: file to write.

    Raises:
        UserError: the tools are not installed, or one failed.
    """
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        raise UserError(
            f"{', '.join(missing)}: not installed; GDAL's command-line tools make the maps. Debian and Ubuntu: "
            "apt-get install gdal-bin; conda: conda install -c conda-forge gdal"
        )
    listed, joined = scratch / "parts.txt", scratch / "joined.vrt"
    listed.write_text("".join(f"{part}\n" for part in parts))
    extent = ["-te", *(f"{bound:.10f}" for bound in bounds_m), "-tr", *[f"{pixel_m:.10f}"] * 2]
    no_data_flags = ["-srcnodata", f"{no_data:g}", "-vrtnodata", f"{no_data:g}"]
    _run(["gdalbuildvrt", "-q", *extent, *no_data_flags, "-input_file_list", str(listed), str(joined)])
    _name_bands(joined, band_names)
    options = {
        "COMPRESS": "DEFLATE",
        "PREDICTOR": "YES",
        "BLOCKSIZE": str(COG_BLOCK_PX),
        "OVERVIEW_RESAMPLING": "AVERAGE",
        "BIGTIFF": "IF_SAFER",
    }
    creation = [word for key, value in options.items() for word in ("-co", f"{key}={value}")]
    # Its cache would take a twentieth of the machine, however little of it is ours.
    _run(["gdal_translate", "-q", "--config", "GDAL_CACHEMAX", "256", "-of", "COG", *creation, str(joined), str(out)])


def _name_bands(vrt: Path, names: Sequence[str]) -> None:
    """Writes the bands' names into a VRT: gdalbuildvrt does not take them over from its parts."""
    tree = ElementTree.parse(vrt)
    for band, name in zip(tree.getroot().findall("VRTRasterBand"), names, strict=True):
        for old in band.findall("Description"):
            band.remove(old)
        described = ElementTree.Element("Description")
        described.text = name
        band.insert(0, described)
    tree.write(vrt)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UserError(f"{command[0]} failed with status {done.returncode}: {(done.stderr or done.stdout).strip()}")

"""Draws the pictures of README.md from a finished demo: `python docs/images/draw.py --results results/demo`.

`strip.png` has test tiles of the spatial split: optical, radar, truth, and what two variants make of the radar. It
suits light and dark pages. `f1-light.svg` and `f1-dark.svg` are the report's chart of F1.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import geopandas as gpd
import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from rasterio.transform import from_origin

from sspipe.files import read_json
from sspipe.report import imagery, style
from sspipe.report.score_figures import f1_figure
from sspipe.score.pixels import building_mask

SPLIT = "spatial"
VARIANTS = {"unet16_finetune": "UNet16, fine-tuned", "ss_rsc_shared": "shared space, RSC"}
# Places in the ranking of test tiles by number of buildings, from 0 to 1: by rule, so that nobody picks the finest.
PLACES = (0.75, 1.0)
THRESHOLD = 0.5  # polygons.interior_threshold
# Of ground, of building that was found, of what is no building but was predicted, of building that was missed.
COLOURS = np.array([(21, 25, 30), (223, 228, 234), (242, 121, 43), (47, 143, 224)], dtype=np.uint8)
GUTTER_PX = 6
CHART_WIDTH_IN = 8.6


def main(arguments: list[str] | None = None) -> None:
    """Draws both pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, required=True, help="folder of a finished experiment")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write to")
    options = parser.parse_args(arguments)
    if not (options.results / "report/figures/f1_by_variant.csv").is_file():
        parser.error(f"{options.results} has no finished report; run `make demo` first")
    tiles = pd.read_parquet(options.results / "catalog.parquet").set_index("tile_id")
    rows = [tile_pictures(options.results, tiles.loc[name], name) for name in chosen_tiles(options.results, tiles)]
    (options.out / "strip.png").write_bytes(strip_png(rows))
    for theme, text in chart_svgs(options.results / "report").items():
        (options.out / f"f1-{theme}.svg").write_text(text)


def chosen_tiles(results: Path, tiles: pd.DataFrame) -> list[str]:
    """Names of the test tiles at `PLACES` of the ranking, of those that radar sees nearly whole."""
    subsets = pd.read_parquet(results / f"splits/{SPLIT}.parquet").set_index("tile_id")["subset"]
    seen = tiles.index.map(subsets.get) == "test"
    ranked = tiles[seen & (tiles["sar_no_data_fraction"] < 0.1)].sort_values(["building_count", "tile_id"])
    return [str(ranked.index[round(place * (len(ranked) - 1))]) for place in PLACES]


def tile_pictures(results: Path, tile: pd.Series, name: str) -> dict[str, np.ndarray]:
    """The pictures of one tile by what stands on them, each (H, W, 3) uint8, north up."""
    footprints = gpd.read_parquet(results / "footprints.parquet", columns=["tile_id", "geometry"])
    outlines = footprints.geometry[footprints["tile_id"] == name]
    grid = from_origin(tile["easting_m"], tile["northing_m"], tile["pixel_m"], tile["pixel_m"])
    truth = building_mask(outlines, grid, int(tile["size_px"]))
    pictures = {
        "optical: in training only": imagery.optical_picture(imagery.read_tile(results / "raw" / tile["eo_path"])),
        "radar: all it gets": imagery.radar_picture(imagery.read_tile(results / "raw" / tile["sar_path"])),
        "truth": outcome_picture(truth, truth),
    }
    for variant, words in VARIANTS.items():
        path = results / f"predict/{SPLIT}/{variant}/seed0/probabilities.npy"
        row = read_json(path.with_suffix(".json"))["tile_ids"].index(name)
        predicted = np.load(path, mmap_mode="r")[row, 0] >= THRESHOLD
        pictures[words] = outcome_picture(predicted, truth)
    return pictures


def outcome_picture(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Colours pixels, (H, W, 3) uint8, by what is predicted and what is true, (H, W) bool."""
    return COLOURS[np.select([predicted & truth, predicted, truth], [1, 2, 3], 0)]


def strip_png(rows: list[dict[str, np.ndarray]]) -> bytes:
    """Lays pictures side by side, one row a tile, on a ground that lets any page shine through; palette PNG."""
    side = len(next(iter(rows[0].values())))
    step = side + GUTTER_PX
    width, height = len(rows[0]) * step - GUTTER_PX, len(rows) * step - GUTTER_PX
    with matplotlib.rc_context(style.STYLE):
        figure = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor="none", layout="none")
        for down, row in enumerate(rows):
            for across, (words, picture) in enumerate(row.items()):
                box = (across * step / width, 1 - (down * step + side) / height, side / width, side / height)
                axes = figure.add_axes(box)
                axes.imshow(picture, interpolation="nearest", aspect="auto")
                axes.set_axis_off()
                if down == 0:
                    _label(axes, words)
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", facecolor="none")
    small = io.BytesIO()
    # The quantizer that keeps transparency.
    Image.open(drawn).quantize(200, method=Image.Quantize.FASTOCTREE).save(small, format="PNG", optimize=True)
    return small.getvalue()


def chart_svgs(report: Path) -> dict[str, str]:
    """The report's chart of F1, from its own tables, in the colours of a light and of a dark page."""
    table = pd.read_csv(report / "figures/f1_by_variant.csv")
    runs = pd.read_csv(report / "scores.csv")
    light = style.svg_text(f1_figure(table, runs, CHART_WIDTH_IN))
    dark = light
    for bright, dim in style.PALETTE.values():
        dark = dark.replace(bright, dim)
    return {"light": light, "dark": dark}


def _label(axes: Axes, words: str) -> None:
    box = {"facecolor": "black", "edgecolor": "none", "alpha": 0.72, "pad": 2.5}
    axes.text(0.02, 0.97, words, transform=axes.transAxes, va="top", color="white", fontsize=10.5, bbox=box)


if __name__ == "__main__":
    main()

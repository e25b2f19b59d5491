"""A small finished experiment on disk, in the form that the other stages write: invented numbers, real formats."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
import yaml
from rasterio.transform import from_origin
from scipy import ndimage
from shapely.geometry import box

from sspipe.config import Config, load_config
from sspipe.files import write_json
from sspipe.operate.efficiency import as_csv, measured
from sspipe.report.run_files import RunFiles
from sspipe.score.comparison import compare_scores
from sspipe.score.pixels import building_mask
from sspipe.score.reliability import Reliability
from tests.report.fake_scores import score_parts, with_places

REPOSITORY = Path(__file__).parents[2]
PIXEL_M = 0.5
# Small, for the small buildings of small tiles; what is smaller still is there to be left out of scores.
MIN_AREA_PX = 1.0
WEST_M, NORTH_M = 592_000.0, 5_752_000.0
TRAIN_FOLDER = "train/AOI_11_Rotterdam"


@dataclass(frozen=True)
class FakeResults:
    """The folder and what `compare_variants` is called with."""

    root: Path
    arguments: dict[str, Any]

    @property
    def files(self) -> RunFiles:
        """Of all its runs."""
        return RunFiles(self.root, self.arguments["runs"])

    @property
    def inputs(self) -> dict[str, Any]:
        """What `read_results` is called with."""
        names = ("scores_csv", "leakages", "splits", "catalog", "catalog_report", "settings")
        given = {name: self.arguments[name] for name in names}
        return given | {"trains": self.files.trains, "scores": self.files.scores}


def make_fake_results(
    root: Path,
    size_px: int = 64,
    tiles: int = 12,
    seeds: tuple[int, ...] = (0, 1),
    variants: tuple[str, ...] = ("unet16_finetune", "ss_no_skips", "ss_rsc_shared", "ss_rsc_shared_bce", "unet16_eo"),
    random_variants: tuple[str, ...] = ("unet16_finetune", "ss_rsc_shared"),
    synthetic: bool = True,
    panels: int = 4,
) -> FakeResults:
    """Writes every input of the report. Scores are invented, but the same everywhere that they are written."""
    config = _config(size_px, seeds, variants, random_variants)
    catalog, footprints = _write_scene(root, size_px, tiles)
    subsets = {"random": _random_subsets(catalog), "spatial": _spatial_subsets(catalog)}
    names, rows = [], []
    for split, table in subsets.items():
        _write_split(root, split, table)
        test = sorted(table.loc[table["subset"] == "test", "tile_id"])
        for variant in config.variants_of(split):
            for seed in config.seeds:
                run = _Run(root, config, split, variant, seed)
                train = run.write_train()
                score = run.write_predictions(catalog, footprints, test)
                names.append(f"{split}/{variant}/seed{seed}")
                rows.append(_score_row(train, score))
    (root / "report").mkdir()
    pd.DataFrame(rows).to_csv(root / "report" / "scores.csv", index=False)
    (root / "report" / "efficiency.csv").write_text(as_csv(measured(root)))
    compare_scores(
        scores=RunFiles(root, names).scores,
        baseline=config.score.baseline,
        bootstrap_samples=40,
        out_comparisons=root / "report" / "comparisons.csv",
        out_seeds=root / "report" / "seeds.csv",
        out_statements=root / "report" / "comparisons.json",
    )
    write_json(root / "experiment.json", config.model_dump(mode="json"))
    arguments = {
        "comparisons": root / "report" / "comparisons.json",
        "scores_csv": root / "report" / "scores.csv",
        "root": root,
        "runs": names,
        "leakages": [root / "splits" / f"{split}.leakage.json" for split in subsets],
        "splits": [root / "splits" / f"{split}.parquet" for split in subsets],
        "catalog": root / "catalog.parquet",
        "catalog_report": root / "catalog.json",
        "raw": root / "raw",
        "manifest": root / "raw.json",
        "truth": root / "truth.csv",
        "settings": root / "experiment.json",
        "title": "Buildings from radar, a small test",
        "panels": panels,
        "synthetic": synthetic,
        "efficiency": root / "report" / "efficiency.csv",
        "out": root / "report" / "index.html",
        "out_figures": root / "report" / "figures",
    }
    return FakeResults(root, arguments)


def _config(
    size_px: int, seeds: tuple[int, ...], variants: tuple[str, ...], random_variants: tuple[str, ...]
) -> Config:
    content = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    content |= {"experiment": "fake", "seeds": list(seeds)}
    content["tiles"] |= {"size_px": size_px, "padded_px": -(-size_px // 32) * 32}
    content["score"] |= {"min_area_px": MIN_AREA_PX}
    content["defaults"] |= {"stages": [{"views": ["sar", "eo"], "epochs": 8}]}
    content["defaults"]["model"]["width"] = 0.125
    content["variants"] = {name: content["variants"][name] for name in variants}
    if "unet16_finetune" in variants:
        content["variants"]["unet16_finetune"]["stages"] = [
            {"views": ["eo"], "epochs": 6},
            {"views": ["sar"], "epochs": 4},
        ]
    if content["score"]["baseline"] not in variants:
        content["score"]["baseline"] = variants[0]
    content["splits"]["random"]["variants"] = list(random_variants)
    return load_config(content)


def _write_scene(root: Path, size_px: int, count: int) -> tuple[pd.DataFrame, gpd.GeoDataFrame]:
    """Tiles in rows that overlap by half, west to east, with boxes for buildings and pictures that show them."""
    side_m = size_px * PIXEL_M
    rng = np.random.default_rng(7)
    columns = -(-count // 3)
    tiles, outlines = [], []
    for index in range(count):
        row, column = divmod(index, columns)
        strip = f"201908041112{row:02d}_201908041114{row:02d}"
        tile_id = f"{strip}_tile_{column + 1}"
        west, north = WEST_M + column * side_m * 0.5, NORTH_M - row * side_m * 0.6
        # From sparse to dense, so that a choice by building count has something to choose from.
        for building in range(2 + 2 * index * int(index != 5)):
            width, height = rng.uniform(0.05, 0.2, 2) * side_m
            x, y = west + rng.uniform(0, side_m - width), north - rng.uniform(0, side_m - height)
            outlines.append((tile_id, 100 * index + building, rng.uniform(3, 30), box(x, y - height, x + width, y)))
        tiles.append((tile_id, strip, column + 1, row % 2, west, north, size_px, PIXEL_M))
    names = ["tile_id", "strip", "tile_number", "orientation", "easting_m", "northing_m", "size_px", "pixel_m"]
    catalog = pd.DataFrame(tiles, columns=names).sort_values("tile_id").reset_index(drop=True)
    footprints = gpd.GeoDataFrame(
        pd.DataFrame(outlines, columns=["tile_id", "building_id", "height_m", "geometry"]),
        geometry="geometry",
        crs=32631,
    )
    counts = footprints.groupby("tile_id").size()
    for product, column in (
        ("SAR-Intensity", "sar_path"),
        ("PS-RGBNIR", "eo_path"),
        ("geojson_buildings", "label_path"),
    ):
        suffix = "geojson" if product.startswith("geojson") else "tif"
        catalog[column] = [
            f"{TRAIN_FOLDER}/{product}/SN6_Train_AOI_11_Rotterdam_{product}_{tile_id}.{suffix}"
            for tile_id in catalog["tile_id"]
        ]
    catalog["sar_no_data_fraction"] = 1 / 8
    catalog["eo_no_data_fraction"] = 0.0
    catalog["building_count"] = [int(counts[tile_id]) for tile_id in catalog["tile_id"]]
    root.mkdir(parents=True, exist_ok=True)
    catalog.to_parquet(root / "catalog.parquet")
    footprints.to_parquet(root / "footprints.parquet")
    for tile in catalog.itertuples():
        _write_pictures(root / "raw", tile, truth_of(footprints, tile), rng)
    _write_truth(root / "truth.csv", catalog, footprints)
    problems = [{"tile_id": catalog["tile_id"][0], "building_id": 3, "problem": "crosses itself", "action": "repaired"}]
    report = {
        "tiles": count,
        "strips": int(catalog["strip"].nunique()),
        "orientation": {str(key): int((catalog["orientation"] == key).sum()) for key in (0, 1)},
        "no_data_fraction": 1 / 8,
        "buildings": len(footprints),
        "footprints": {"kept": len(footprints), "repaired": 1, "skipped": 0, "problems": problems},
    }
    (root / "catalog.json").write_text(json.dumps(report))
    (root / "raw.json").write_text(json.dumps({"bytes": 41_874_641_730, "sha256": "ab" * 32}))
    return catalog, footprints


def _write_truth(path: Path, catalog: pd.DataFrame, footprints: gpd.GeoDataFrame) -> None:
    """The same footprints in tile pixels, numbered from 0 in each tile, and one that is too small on the first tile."""
    rows = [(catalog["tile_id"][0], 900, box(1, 1, 1.8, 1.8), 3.0)]
    for tile in catalog.itertuples():
        own = footprints[footprints["tile_id"] == tile.tile_id]
        shapes = own.geometry.affine_transform(_to_pixels(tile))
        rows += [(tile.tile_id, place, *row) for place, row in enumerate(zip(shapes, own["height_m"], strict=True))]
    names = ["ImageId", "TileBuildingId", "PolygonWKT_Pix", "Mean_Building_Height"]
    pd.DataFrame(rows, columns=names).to_csv(path, index=False)


def _to_pixels(tile: Any) -> list[float]:
    """Map to pixels (x right, y down) of a row of the catalog, as shapely's affine_transform takes it."""
    scale = 1 / PIXEL_M
    return [scale, 0, 0, -scale, -tile.easting_m * scale, tile.northing_m * scale]


def truth_of(footprints: gpd.GeoDataFrame, tile: Any) -> np.ndarray:
    """Building pixels of one row of the catalog, (S, S) bool."""
    outlines = footprints.geometry[footprints["tile_id"] == tile.tile_id]
    grid = from_origin(tile.easting_m, tile.northing_m, tile.pixel_m, tile.pixel_m)
    return building_mask(outlines, grid, tile.size_px)


def _write_pictures(raw: Path, tile: Any, truth: np.ndarray, rng: np.random.Generator) -> None:
    size = tile.size_px
    sar = rng.gamma(4, 6, (4, size, size)) + truth * 25
    eo = rng.normal(500, 60, (4, size, size)) + np.array([350, 250, 200, 100])[:, None, None] * truth
    sar[:, :, : size // 8] = 0
    for path, bands in ((tile.sar_path, sar.astype("float32")), (tile.eo_path, eo.clip(1, 2047).astype("uint16"))):
        target = raw / path
        target.parent.mkdir(parents=True, exist_ok=True)
        profile = {
            "driver": "GTiff",
            "count": 4,
            "height": size,
            "width": size,
            "dtype": bands.dtype,
            "crs": "EPSG:32631",
        }
        transform = from_origin(tile.easting_m, tile.northing_m, PIXEL_M, PIXEL_M)
        with rasterio.open(target, "w", nodata=0, transform=transform, **profile) as handle:
            handle.write(bands)


def _random_subsets(catalog: pd.DataFrame) -> pd.DataFrame:
    order = np.random.default_rng(1).permutation(len(catalog))
    subsets = np.full(len(catalog), "train", dtype=object)
    third = max(1, len(catalog) // 3)
    subsets[order[:third]] = "test"
    subsets[order[third : third + max(1, third // 2)]] = "validation"
    return pd.DataFrame({"tile_id": catalog["tile_id"], "subset": subsets})


def _spatial_subsets(catalog: pd.DataFrame) -> pd.DataFrame:
    columns = catalog["easting_m"].rank(method="dense").astype(int)
    last = columns.max()
    words = {last: "test", last - 1: "guard", 1: "validation"} if last < 6 else {
        last: "test", last - 1: "test", last - 2: "guard", 1: "validation", 2: "validation_guard"
    }  # fmt: skip
    return pd.DataFrame({"tile_id": catalog["tile_id"], "subset": columns.map(words).fillna("train")})


def _write_split(root: Path, split: str, table: pd.DataFrame) -> None:
    folder = root / "splits"
    folder.mkdir(exist_ok=True)
    table.to_parquet(folder / f"{split}.parquet")
    seen = 0.996 if split == "random" else 0.0
    shares = {"over_0": min(1.0, seen * 1.004), "over_50": seen, "over_90": seen * 0.7, "inside_union": seen * 0.95}
    record = {
        "split": split,
        "kind": split,
        "counts": {key: int(value) for key, value in table["subset"].value_counts().items()},
        "test_against_train": shares,
        "validation_against_train": shares,
        "test_against_train_and_validation": shares,
    }
    (folder / f"{split}.leakage.json").write_text(json.dumps(record))


@dataclass(frozen=True)
class _Run:
    """One invented training and what follows from it."""

    root: Path
    config: Config
    split: str
    variant: str
    seed: int

    @property
    def key(self) -> dict[str, Any]:
        return {"split": self.split, "variant": self.variant, "seed": self.seed}

    @property
    def rng(self) -> np.random.Generator:
        return np.random.default_rng(zlib.crc32(f"{self.split}{self.variant}{self.seed}".encode()))

    @property
    def skill(self) -> float:
        base = {"unet16_eo": 0.92, "ss_rsc_shared": 0.85, "ss_rsc_shared_bce": 0.82, "ss_no_skips": 0.6}
        return base.get(self.variant, 0.75) + 0.02 * self.seed + (0.05 if self.split == "random" else 0)

    def folder(self, stage: str) -> Path:
        folder = self.root / stage / self.split / self.variant / f"seed{self.seed}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def write_train(self) -> Path:
        settings = self.config.variants[self.variant]
        lines, rng = [], self.rng
        for stage, part in enumerate(settings.stages, start=1):
            for epoch in range(1, part.epochs + 1):
                bce = 0.6 / (1 + 0.25 * epoch) + rng.normal(0, 0.01)
                dice = 0.9 / (1 + 0.2 * epoch)
                loss = settings.loss.bce * bce + settings.loss.dice * dice
                iou = 0.6 * self.skill * (1 - np.exp(-epoch / 4)) + rng.normal(0, 0.012)
                lines.append(
                    {
                        "stage": stage,
                        "stages": len(settings.stages),
                        "view": part.validation_view,
                        "views": list(part.views),
                        "epoch": epoch,
                        "epochs": part.epochs,
                        "train_loss": loss,
                        "train_dice": dice,
                        "train_bce": bce,
                        "validation_loss": loss * 1.1 + 0.02 * epoch / 4,
                        "validation_iou": max(0.0, iou),
                        "learning_rate": 1e-3,
                        "seconds": 2.5,
                    }
                )
        folder = self.folder("train")
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        best = max((line for line in lines if line["stage"] == line["stages"]), key=lambda line: line["validation_iou"])
        record = {
            **self.key,
            "settings": settings.model_dump(mode="json"),
            "parameters_unique": 458_907,
            "parameters_paper_style": 689_021,
            "tiles": {"train": 6, "validation": 2},
            "best": {key: best[key] for key in ("stage", "epoch", "validation_iou")},
            "seconds": 2.5 * len(lines) + self.seed,
            "gpu_seconds": 0.0,
            "restarts": 0,
            "ranks": 1,
            "precision": "fp32",
            "device": "cpu",
            "versions": {"python": "3.11.2", "torch": "2.13.0", "sspipe": "0.1.0"},
            "commit": "0123abc",
            "started": "2026-01-01T10:00:00+00:00",
            "finished": "2026-01-01T10:05:00+00:00",
        }
        (folder / "train.json").write_text(json.dumps(record))
        again = ["Slurm job 7 ended as NODE_FAIL: going on from epoch 2"] if self.seed else []
        begins = (
            f"{self.split}/{self.variant} seed {self.seed}: sspipe 0.1.0, commit 0123abc, settings 1b10; no job; cpu"
        )
        lines = [line for other in (*again, "done") for line in (begins, other)]
        (folder / "train.log").write_text("".join(f"10:00:00 {line}\n" for line in lines))
        return folder / "train.json"

    def write_predictions(self, catalog: pd.DataFrame, footprints: gpd.GeoDataFrame, test: list[str]) -> Path:
        rng = self.rng
        by_id = {tile.tile_id: tile for tile in catalog.itertuples()}
        size = self.config.tiles.size_px
        probabilities = np.zeros((len(test), 2, size, size), dtype=np.float16)
        rows, reliability = [], Reliability()
        claims, judgements = [], []
        for place, tile_id in enumerate(test):
            truth = truth_of(footprints, by_id[tile_id])
            noise = ndimage.gaussian_filter(rng.normal(0, 1, truth.shape), size / 24)
            noise *= 1.6 * (1.05 - self.skill) / noise.std()
            seen = self.skill * ndimage.gaussian_filter(truth.astype(float), size / 50) + 0.6 * noise
            probabilities[place, 0] = np.clip(seen, 0, 1)
            reliability.add(probabilities[place, 0], truth, np.ones(truth.shape, bool))
            predicted = probabilities[place, 0] >= 0.5
            both, either = int((predicted & truth).sum()), int((predicted | truth).sum())
            wanted = int((footprints["tile_id"] == tile_id).sum())
            found = min(wanted, round(wanted * self.skill * 0.6 + rng.integers(0, 2)))
            wrong, missed = round(wanted * (1 - self.skill)), wanted - found
            f1 = 2 * found / (2 * found + wrong + missed) if found + wrong + missed else float("nan")
            claim, judgement = self._claims(by_id[tile_id], footprints, found, wrong)
            claims.append(claim)
            judgements.append(judgement)
            rows.append((tile_id, found, wrong, missed, f1, both, either, both / either if either else 1.0))
        folder = self.folder("predict")
        np.save(folder / "probabilities.npy", probabilities)
        record = {**self.key, "view": self.config.variants[self.variant].test_view, "tile_ids": test, "size_px": size}
        (folder / "probabilities.json").write_text(json.dumps(record))
        choice = {"interior_threshold": 0.5, "border_threshold": 0.3, "min_area_px": 80.0, "simplify_px": 1.0}
        write_json(folder / "polygons.json", {"tuned": False, "choice": choice})
        pd.concat(claims).to_parquet(folder / "polygons.parquet")
        pd.concat(judgements).to_parquet(self.folder("score") / "buildings.parquet")
        reliability.table().to_csv(self.folder("score") / "reliability.csv", index=False)
        names = ["tile_id", "tp", "fp", "fn", "f1", "pixel_intersection", "pixel_union", "pixel_iou"]
        return self._write_scores(pd.DataFrame(rows, columns=names))

    def _claims(
        self, tile: Any, footprints: gpd.GeoDataFrame, found: int, wrong: int
    ) -> tuple[gpd.GeoDataFrame, pd.DataFrame]:
        """Footprints that fit the counts, one more that is too small to count, and what the score says of them.

        The first buildings are found a little aside of where they are, and what is wrong lies in a row along the top.
        """
        own = footprints[footprints["tile_id"] == tile.tile_id]
        corner = (tile.easting_m, tile.northing_m)
        shapes = [shape.buffer(-0.1) for shape in own.geometry[:found]]
        shapes += [box(corner[0] + 2 * k, corner[1] - 3, corner[0] + 2 * k + 1.7, corner[1] - 1) for k in range(wrong)]
        shapes.append(box(corner[0] + 1, corner[1] - 8, corner[0] + 1.4, corner[1] - 7.6))
        claims = gpd.GeoDataFrame(
            {"tile_id": tile.tile_id, "building_id": range(1, len(shapes) + 1), "confidence": 0.9},
            geometry=shapes,
            crs=32631,
        )
        truth = pd.DataFrame({"building_id": range(len(own)), "kind": "truth", "matched": np.arange(len(own)) < found})
        counted = found + wrong
        proposals = pd.DataFrame(
            {"building_id": range(1, counted + 1), "kind": "proposal", "matched": np.arange(counted) < found}
        )
        areas = [*own.geometry.area, *claims.geometry.area[:counted]]
        judged = pd.concat([truth, proposals], ignore_index=True)
        return claims, judged.assign(tile_id=tile.tile_id, area_m2=areas, area_px=np.array(areas) / PIXEL_M**2)

    def _write_scores(self, tiles: pd.DataFrame) -> Path:
        tp, fp, fn = (int(tiles[name].sum()) for name in ("tp", "fp", "fn"))
        f1 = 2 * tp / (2 * tp + fp + fn)
        record = {
            **self.key,
            "tiles": len(tiles), "tp": tp, "fp": fp, "fn": fn, "precision": tp / (tp + fp), "recall": tp / (tp + fn),
            "f1": f1, "f1_low": f1 - 0.04, "f1_high": f1 + 0.045, "f1_macro": float(tiles["f1"].mean()),
            "pixel_iou": float(tiles["pixel_iou"].mean()),
            "pixel_iou_pooled": float(tiles["pixel_intersection"].sum() / tiles["pixel_union"].sum()),
            "iou_threshold": 0.5, "min_area_px": 80.0, "bootstrap_samples": 1000, "bootstrap_units": len(tiles),
            "bootstrap_over": "tiles" if self.split == "random" else "blocks",
            "block_m": None if self.split == "random" else 600.0,
        }  # fmt: skip
        folder = self.folder("score")
        tiles = with_places(tiles)
        record |= score_parts(tiles, pd.read_parquet(folder / "buildings.parquet"), f1)
        tiles.to_parquet(folder / "tiles.parquet")
        (folder / "scores.json").write_text(json.dumps(record))
        return folder / "scores.json"


def _score_row(train: Path, score: Path) -> dict[str, Any]:
    trained, scored = json.loads(train.read_text()), json.loads(score.read_text())
    counts = {name: trained[name] for name in ("parameters_unique", "parameters_paper_style")}
    names = ["pixel_iou", "pixel_iou_pooled", "f1", "precision", "recall", "tp", "fp", "fn", "f1_low", "f1_high"]
    more = {"f1_macro": scored["f1_macro"], "train_seconds": trained["seconds"], "device": trained["device"]}
    key = {name: scored[name] for name in ("split", "variant", "seed")}
    return {**key, **counts, **{name: scored[name] for name in names}, **more}

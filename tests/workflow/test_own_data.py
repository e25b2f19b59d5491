"""The whole workflow on tiles that are not SpaceNet's: their names, CRS, bands, sizes and footprints are their own."""

import json
import subprocess
import sys

import geopandas
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely

from sspipe.files import read_json
from tests.own_tiles import EPSG, WITHOUT_EO, write_own_tiles
from tests.workflow.checkout import Checkout, copy_workflow

pytestmark = [pytest.mark.xdist_group("own"), pytest.mark.slow]

RUNS = ("random/unet16_finetune/seed0", "spatial/unet16_finetune/seed0", "spatial/ss_rsc_shared/seed0")


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """The checkout after `snakemake all` on one's own tiles."""
    checkout = copy_workflow(tmp_path_factory.mktemp("own"), "own.yaml")
    write_own_tiles(checkout.folder / "place")
    done = checkout.snakemake("all")
    logs = "".join(f"\n== {log}\n{log.read_text()}" for log in checkout.results.rglob("logs/**/*.log"))
    assert done.returncode == 0, done.stdout + done.stderr + logs
    return checkout


@pytest.fixture()
def edited(own, tmp_path):
    """A copy of the finished run, to be edited."""
    subprocess.run(["cp", "-a", f"{own.folder}/.", tmp_path], check=True)
    return Checkout(tmp_path, own.overlay)


def test_both_splits_are_trained_scored_and_agree_with_solaris(own):
    for run in RUNS:
        check = read_json(own.results / "score" / run / "solaris.json")
        assert check["identical"] and check["tp"] + check["fn"] > 0
    scores = pd.read_csv(own.results / "report" / "scores.csv")
    assert set(scores["split"] + "/" + scores["variant"]) == {run.rpartition("/")[0] for run in RUNS}
    leak = {split: read_json(own.results / f"splits/{split}.leakage.json") for split in ("random", "spatial")}
    assert leak["spatial"]["test_against_train_and_validation"]["over_0"] == 0


def test_the_catalog_is_in_the_places_own_terms(own):
    catalog = pd.read_parquet(own.results / "catalog.parquet")
    assert len(catalog) == 20 and catalog["tile_id"].str.startswith("plot-").all()
    assert set(catalog["strip"]) == {"pass 0", "pass 1"}
    for column, value in {"epsg": EPSG, "sar_bands": 2, "eo_bands": 3, "pixel_m": 1, "size_px": 64}.items():
        assert (catalog[column] == value).all()
    assert catalog.loc[catalog["eo_path"] == "", "tile_id"].tolist() == [WITHOUT_EO]


def test_the_truth_is_the_footprints_in_pixels_cut_at_the_tiles_edges(own):
    truth = pd.read_csv(own.results / "raw" / "truth.csv")
    footprints = geopandas.read_parquet(own.results / "footprints.parquet")
    assert footprints.crs.to_epsg() == EPSG
    there = truth[truth["PolygonWKT_Pix"] != "POLYGON EMPTY"]
    assert len(there) == len(footprints) and len(truth) == len(there) + 1  # one tile has no building
    placed = shapely.from_wkt(there["PolygonWKT_Pix"].to_numpy())
    assert shapely.bounds(placed).min() >= 0 and shapely.bounds(placed).max() <= 64
    assert shapely.area(placed).sum() == pytest.approx(footprints["area_m2"].sum())
    labels = read_json(own.results / "catalog.json")["labels"]
    assert labels["tiles_that_differ"] == [] and labels["matched"] == len(footprints)


def test_packs_have_the_bands_of_the_data_and_no_data_where_there_is_no_eo_image(own):
    for shard in range(2):
        folder = own.results / "pack" / str(shard)
        sar, eo = (np.load(folder / f"{view}.npy") for view in ("sar", "eo"))
        assert sar.shape[1:] == (2, 64, 64) and eo.shape[1:] == (3, 64, 64)
        blank = (eo == 0).all(axis=(1, 2, 3))
        tiles = pd.read_parquet(folder / "tiles.parquet")
        assert tiles.loc[blank, "tile_id"].tolist() == [WITHOUT_EO] * bool(blank.any())
        assert sar.min() < 0  # radar in dB stays what it is


def test_networks_learn_from_eo_only_where_there_is_an_eo_image(own):
    split = pd.read_parquet(own.results / "splits" / "spatial.parquet")
    train = split[split["subset"] == "train"]
    assert WITHOUT_EO in set(train["tile_id"])
    record = read_json(own.results / "train/spatial/ss_rsc_shared/seed0/train.json")
    assert record["tiles"]["train"] == len(train) - 1
    log = (own.results / "logs/train/spatial/ss_rsc_shared/seed0.log").read_text()
    assert "1 training tiles have no EO image" in log
    assert read_json(own.results / "statistics/spatial.json")["tiles"] == len(train)


def test_footprints_and_maps_lie_where_the_place_is(own):
    run = RUNS[-1]
    west, north = 388_000, 5_820_000
    polygons = geopandas.read_file(own.results / "predict" / run / "polygons.gpkg")
    assert polygons.crs.to_epsg() == EPSG
    with rasterio.open(own.results / f"maps/{run}.tif") as mosaic:
        assert mosaic.crs.to_epsg() == EPSG and mosaic.res == (1, 1)
        assert west <= mosaic.bounds.left < west + 640 and mosaic.bounds.top <= north
    assert geopandas.read_parquet(own.results / f"maps/{run}.footprints.parquet").crs.to_epsg() == EPSG


def test_pages_speak_of_the_place_and_not_of_spacenet(own):
    page = (own.results / "report" / "catalog.html").read_text()
    for words in ("EPSG:32633", "VV", "VH", WITHOUT_EO, "Another place: the data"):
        assert words in page
    for words in ("EPSG:32631", "near infrared", "SpaceNet 6: mean", "The challenge gives its truth twice"):
        assert words not in page
    assert "Another place" in (own.results / "report" / "index.html").read_text()


def test_a_second_run_finds_nothing_to_do(own):
    done = own.snakemake("all")
    assert done.returncode == 0 and "Nothing to be done" in done.stdout + done.stderr


def rename_a_strip(place):
    table = place / "lists" / "my tiles.csv"
    table.write_text(table.read_text().replace("pass 0", "pass A"))


def demolish_a_house(place):
    path = place / "houses" / "west.gpkg"
    houses = geopandas.read_file(path)
    path.unlink()
    houses.iloc[1:].to_file(path, engine="pyogrio")


@pytest.mark.parametrize("edit", [rename_a_strip, demolish_a_house])
def test_an_edit_of_the_table_or_of_a_file_that_it_names_makes_anew_what_depends_on_it(edited, edit):
    edit(edited.folder / "place")
    planned = edited.planned("all")
    for rule in ("gather_tiles", "index_tiles", "assign_splits", "pack_tiles", "train", "score_polygons"):
        assert planned.get(rule), rule


def test_a_tile_taken_out_of_the_table_is_gone_from_the_catalog(edited):
    table = edited.folder / "place" / "lists" / "my tiles.csv"
    table.write_text("".join(line for line in table.open() if not line.startswith("plot-019")))
    done = edited.snakemake(str((edited.results / "catalog.parquet").relative_to(edited.folder)))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "plot-019" not in set(pd.read_parquet(edited.results / "catalog.parquet")["tile_id"])


def test_a_wrong_line_stops_the_workflow_with_its_number_in_the_log(edited):
    table = edited.folder / "place" / "lists" / "my tiles.csv"
    table.write_text(table.read_text().replace("plot-007", "plot-006"))
    done = edited.snakemake("data")
    assert done.returncode != 0
    log = (edited.results / "logs" / "gather_tiles.log").read_text()
    assert "my tiles.csv: 1 problem" in log and "line 9: tile_id plot-006 is that of line 8 too" in log
    assert "Traceback" not in log


def test_names_may_hold_anything_but_braces_which_are_refused_whether_or_not_there_are_results(edited):
    place = edited.folder / "place"
    (place / "houses" / "west.gpkg").rename(place / "houses" / "where 'we' {live}.gpkg")
    table = place / "lists" / "my tiles.csv"
    table.write_text(table.read_text().replace("west.gpkg", "where 'we' {live}.gpkg"))
    done = edited.snakemake("-n", "data")
    assert done.returncode != 0
    assert "my tiles.csv names place/lists/../houses/where 'we' {live}.gpkg: braces" in done.stdout + done.stderr


def test_bands_may_have_any_name(edited):
    edited.edit(lambda content: content["tiles"].update(sar_bands=["{split}", "a 'b' $c"]))
    assert edited.planned("data")["gather_tiles"] == 1


@pytest.mark.parametrize("stage", ["plan", "preflight", "status"])
def test_an_operators_commands_know_own_tiles(own, stage):
    command = [sys.executable, "-m", "sspipe", stage, "--configfile", own.overlay, "--json"]
    done = subprocess.run(command, cwd=own.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    json.loads(done.stdout)

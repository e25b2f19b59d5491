"""The workflow over a catalog of all of SpaceNet 6's tiles: what is planned, without a tile being read."""

import pandas as pd
import pytest

from sspipe.data.splits import assign_splits
from tests.data.full_catalog import lay_out

pytestmark = [pytest.mark.xdist_group("workflow"), pytest.mark.slow]


def test_the_number_of_jobs_does_not_depend_on_the_number_of_tiles(fresh):
    (fresh.folder / "tiny.yaml").write_text("{}\n")  # config.yaml alone: the paper's experiment
    root = fresh.folder / "results" / "spacenet6"
    planned = {}
    for tiles in (34, 3401):
        lay_out(root, tiles)
        assert len(pd.read_parquet(root / "catalog.parquet")) == tiles
        planned[tiles] = fresh.planned("all")
        root.rename(root.with_name(f"with-{tiles}-tiles"))
    jobs = planned[3401]
    assert jobs == planned[34]
    assert not {"fetch_archive", "unpack_archive", "index_tiles"} & jobs.keys()  # the catalog is there
    assert jobs["pack_tiles"] == 32 and jobs["assign_splits"] == 2
    assert jobs["train"] == 2 * 8 * 3
    assert sum(jobs.values()) < 500


def test_the_full_catalog_is_one_that_splits_are_assigned_from(tmp_path):
    lay_out(tmp_path / "root")
    catalog, split = tmp_path / "root" / "catalog.parquet", tmp_path / "spatial.parquet"
    settings = {"kind": "spatial", "seed": 0, "test_fraction": 0.2, "validation_fraction": 0.2, "test_line_m": 595343.0}
    outputs = {"out_split": split, "out_leakage": tmp_path / "leakage.json"}
    assign_splits(catalog=catalog, split="spatial", edges_m=None, **settings, **outputs)
    assert pd.read_parquet(split)["subset"].value_counts()["test"] == 681

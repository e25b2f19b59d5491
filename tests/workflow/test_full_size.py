"""The workflow over a catalog of all of SpaceNet 6's tiles: what is planned, without a tile being read."""

import pandas as pd
import pytest
import yaml

from sspipe.files import read_json
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


def test_the_splits_of_all_tiles_and_their_leaks_are_those_of_the_audit(fresh):
    baseline = {"kind": "baseline_x", "edges_m": [591550, 596250]}
    (fresh.folder / "tiny.yaml").write_text(yaml.safe_dump({"splits": {"baseline": baseline}}))
    root = fresh.folder / "results" / "spacenet6"
    lay_out(root)
    done = fresh.snakemake(*(f"results/spacenet6/splits/{split}.leakage.json" for split in ("spatial", "baseline")))
    assert done.returncode == 0, done.stdout + done.stderr
    for split, test_tiles, over_50 in (("spatial", 681, 0.0), ("baseline", 705, 0.189)):
        leakage = read_json(root / "splits" / f"{split}.leakage.json")
        assert leakage["counts"]["test"] == test_tiles
        assert leakage[leakage["headline"]]["over_50"] == pytest.approx(over_50, abs=0.001)
        assert (pd.read_parquet(root / "splits" / f"{split}.parquet")["subset"] == "test").sum() == test_tiles

"""The workflow over a catalog of all of SpaceNet 6's tiles: what is planned, without a tile being read."""

import re

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


def test_two_hundred_runs_in_a_deep_folder_fit_on_command_lines(fresh):
    slower = {f"ss_rsc_shared_rate_{step:03d}": {"learning_rate": 0.001 / (step + 1)} for step in range(100)}
    content = {"results": "/".join(["a folder", *["of_a_shared_file_system"] * 5]), "variants": slower, "seeds": [0]}
    (fresh.folder / "tiny.yaml").write_text(yaml.safe_dump(content))
    done = fresh.snakemake("-n", "-p", "all")
    assert done.returncode == 0, done.stdout + done.stderr
    commands = re.findall(r"(python -m sspipe +(\S+) .*)", done.stdout)
    longest = {stage: max(len(text) for text, name in commands if name == stage) for _, stage in commands}
    assert {"train", "collect-scores", "compare-scores", "describe-models", "compare-variants"} <= longest.keys()
    # Linux takes no word of 128 KiB, and a command is one word to `bash -c`; what is around it is short.
    assert max(longest.values()) < 120 * 1024, longest


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

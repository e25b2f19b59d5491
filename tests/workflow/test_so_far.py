"""What a failing workflow says of the runs that have finished."""

import shlex

import pytest
from snakemake.cli import parse_config

from sspipe.cli import parsed


@pytest.mark.parametrize("finished_runs", [0, 1])
def test_a_failure_names_the_report_of_what_has_finished_if_anything_has(fresh, finished_runs):
    fresh.edit(lambda content: content.update(archive={"source": "file", "path": "no-such-archive.tar.gz"}))
    if finished_runs:
        scores = fresh.results / "score" / "spatial" / "unet16_sar" / "seed0" / "scores.json"
        scores.parent.mkdir(parents=True)
        scores.write_text("{}")
    target = str((fresh.results / "raw.json").relative_to(fresh.folder))
    single = ["seeds=[0]", "maps={with_all: false}"]
    done = fresh.snakemake(target, "--config", *single)
    assert done.returncode == 1
    told = [line for line in done.stderr.splitlines() if "report-so-far" in line]
    assert len(told) == finished_runs
    for line in told:
        words = shlex.split(line.partition(": ")[2])
        assert words[:3] == ["python", "-m", "sspipe"]
        function, options, *_ = parsed(words[3:])
        assert function.endswith(":report_so_far")
        assert [path.name for path in options["configfile"]] == [fresh.overlay]
        assert parse_config(options["config_values"]) == parse_config(single)

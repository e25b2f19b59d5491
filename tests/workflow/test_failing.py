"""What the terminal shows of a job that failed."""

import logging

import pytest

from sspipe.job_errors import FailureTeller, failure


@pytest.mark.slow
@pytest.mark.xdist_group("workflow")
def test_a_failed_training_is_told_with_its_log_and_how_that_ends(changed):
    changed.edit(lambda content: content["variants"].update(ss_rsc_shared={"learning_rate": 1e38}))
    changed.edit(lambda content: content["splits"].update(spatial={"variants": ["unet16_sar"], "test_line_m": None}))
    done = changed.snakemake("--profile", "profiles/local", "variant_ss_rsc_shared")
    told = done.stdout + done.stderr
    log = "results/tiny/logs/train/random/ss_rsc_shared/seed0.log"
    assert done.returncode == 1
    assert f"Error in rule train\n  {log} ends with\n" in told
    assert "not finite" in told
    # Its own failure is seen, ahead of the pipe to its log, and not the files that it did not write.
    assert "MissingOutputException" not in told


def test_the_executors_log_is_shown_where_the_rules_own_says_nothing(tmp_path):
    silent, slurm = tmp_path / "rule.log", tmp_path / "12.log"
    slurm.write_text("".join(f"line {number}\n" for number in range(100)))
    told = failure("pack_tiles", "SLURM status is: NODE_FAIL", [silent, slurm]).splitlines()
    assert told[:3] == [
        "Error in rule pack_tiles: SLURM status is: NODE_FAIL",
        f"  {silent}: nothing is written there",
        f"  {slurm} ends with",
    ]
    assert told[-1] == "    line 99" and len(told) < 20
    silent.write_text("sspipe pack-tiles: error: no such tile\n")
    assert str(slurm) not in failure("pack_tiles", None, [silent, slurm])


def test_a_deployment_that_no_rule_has_is_refused_with_what_there_is_instead(fresh):
    done = fresh.snakemake("-n", "--software-deployment-method", "apptainer")
    told = done.stdout + done.stderr
    assert done.returncode == 1
    assert "no rule names an image" in told and "train.node_python of the profile" in told


def test_only_failures_are_told(caplog):
    logger = logging.getLogger("a-workflow")
    logger.addHandler(FailureTeller(logger))
    logger.error("something else")
    assert caplog.messages == ["something else"]

"""Unattended nights on a real Slurm: walltimes, preemption, lost nodes, killed launchers, failures."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest

from sspipe.files import read_json
from sspipe.operate.efficiency import read_csv
from sspipe.operate.site import slurm_minutes
from tests.slurm.night import RANKS, Night, prepare, wait_until

pytestmark = [pytest.mark.xdist_group("slurm"), pytest.mark.slow]

# More than are done between two looks of a test, however fast the machine: a training that must not be over is held.
EPOCHS = 80


@pytest.fixture(scope="session")
def city(whole_cluster, tmp_path_factory):
    """A checkout whose data are packed: what is tested here begins with training."""
    night = prepare(tmp_path_factory.mktemp("city"))
    done = night.snakemake("data")
    assert done.returncode == 0, done.stdout + done.stderr
    return night


@pytest.fixture()
def night(cluster, city, tmp_path):
    """A copy of it; times of files are kept, as Snakemake goes by them."""
    subprocess.run(["cp", "-a", f"{city.folder}/.", tmp_path], check=True)
    return Night(tmp_path)


@pytest.fixture(scope="session")
def uninterrupted(city, tmp_path_factory):
    """The same training of many epochs, on this machine and in one go."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    subprocess.run(["cp", "-a", f"{city.folder}/.", folder], check=True)
    night = Night(folder)
    night.longer("unet16_sar", EPOCHS)
    night.edit(lambda content: content["training"].update(checkpoint_minutes=10))
    run = night.run_of("unet16_sar")
    done = night.snakemake(run.target)
    assert done.returncode == 0, done.stdout + done.stderr
    return run


def launchers(night):
    """Process ids of the launchers that run in this night's folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone meanwhile
            words = (process / "cmdline").read_bytes().split(b"\0")
            here = (process / "cwd").resolve() == night.folder.resolve()
            if here and words[1:4] == [b"-m", b"sspipe", b"launch"]:
                found.append(int(process.name))
    return found


def jobs_in_accounting(cluster, name=None):
    """Numbers of the trainings that Slurm has ever had since this cluster came up."""
    lines = cluster.run("sacct", "-X", "-P", "-n", "-S", "now-1days", "-o", "JobIDRaw,JobName").splitlines()
    return {line.split("|")[0] for line in lines if line.split("|")[1].startswith(name or "train-")}


def test_a_training_longer_than_its_walltime_is_requeued_until_it_is_done(cluster, night, uninterrupted):
    night.longer("unet16_sar", EPOCHS)
    night.edit_profile(lambda profile: profile["set-resources"]["train"].update(runtime=1, signal_delay_s=5))
    run, before = night.run_of("unet16_sar"), jobs_in_accounting(cluster)
    process = night.start(run.target)
    wait_until(lambda: run.job is not None, "a submission", night, process)

    def limit(minutes):
        cluster.run("scontrol", "update", f"JobId={run.job}", f"TimeLimit={minutes}")

    # A slow machine may take longer than its minute to begin: the walltime is near only once a step was taken.
    limit(60)
    while run.said().count("stopped by SIGUSR2") < 2:
        run.wait_for_a_step(process)
        begun = run.attempts()
        with run.held(process) as told_to_end:
            ran = slurm_minutes(cluster.run("squeue", "-h", "-j", run.job, "-o", "%M").strip())
            # Slurm warns up to half a minute earlier than it was told to, and not at all once the time is over.
            limit(int(ran + 40 / 60) + 1)
            wait_until(told_to_end, "the end of a walltime", night, process)
            limit(60)
        wait_until(lambda begun=begun: run.attempts() > begun, "the next attempt", night, process)
    night.finish(process)
    assert run.attempts() >= 3
    assert run.record()["restarts"] == run.attempts() - 1
    assert run.weights() == uninterrupted.weights()
    assert jobs_in_accounting(cluster) - before == {run.job}
    first = next(line for line in run.log.read_text().splitlines() if "settings" in line)
    for word in ("sspipe ", "commit ", f"Slurm job {run.job}, attempt 1", f"{RANKS} x ", " on node"):
        assert word in first


def test_a_training_outlives_whatever_happens_to_the_cluster(cluster, night, uninterrupted):
    night.longer("unet16_sar", EPOCHS)
    run, before = night.run_of("unet16_sar"), jobs_in_accounting(cluster)
    process = night.start(run.target)
    run.wait_for_a_step(process)

    def interrupted_by(deed):
        begun = run.attempts()
        with run.held(process) as told_to_end:
            deed()
            wait_until(told_to_end, f"the end of an attempt after {deed.__name__}", night, process)
        wait_until(lambda: run.attempts() > begun, f"an attempt after {deed.__name__}", night, process)
        run.wait_for_a_step(process)

    def preempted(partition, grace_s):
        cluster.run("scontrol", "update", "PartitionName=gpu", f"GraceTime={grace_s}")
        everything = ("-p", partition, "-N2", "--exclusive", "--gres=gpu:4", "-t1", "--wrap", "sleep 1")
        cluster.run("sbatch", "-J", "urgent", "-o", "/dev/null", *everything)

    def preempted_without_grace():
        preempted("high", 0)

    def preempted_with_grace():
        preempted("high", 20)

    def requeued():
        cluster.run("scontrol", "requeue", run.job)

    def node_lost():
        lost.append(cluster.run("squeue", "-h", "-j", run.job, "-o", "%N").strip())
        cluster.lose_node(lost[0])

    lost = []
    interrupted_by(preempted_without_grace)
    interrupted_by(preempted_with_grace)
    interrupted_by(requeued)
    interrupted_by(node_lost)
    assert cluster.run("squeue", "-h", "-j", run.job, "-o", "%N").strip() not in ("", *lost)
    cluster.start_node(lost[0])

    begun = run.attempts()
    with run.held(process):
        cluster.stop_controller()
        cluster.stop_accounting()
        wait_until(lambda: "Slurm does not answer" in run.log.read_text(), "the launcher to notice", night, process)
    run.wait_for_a_step(process)
    with run.held(process):
        cluster.start_controller()
    text = night.finish(process)
    cluster.start_accounting()
    assert run.attempts() == begun, text  # the controller's absence stopped nothing
    assert run.weights() == uninterrupted.weights()
    wait_until(lambda: run.job in jobs_in_accounting(cluster), "the accounting to hear of it", night)
    assert jobs_in_accounting(cluster) - before == {run.job}


def test_what_is_killed_on_the_login_node_is_attached_to_again(cluster, night):
    night.longer("unet16_sar", EPOCHS)
    run, before = night.run_of("unet16_sar"), jobs_in_accounting(cluster)

    def attached(times):
        return run.log.read_text().count("attached to Slurm job") >= times

    first = night.start(run.target)
    run.wait_for_a_step(first)
    job = run.job
    with run.held(first):
        # Snakemake and its launcher, as when the login node goes down.
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()

        # The launcher alone: its rule fails, the training does not.
        second = night.start(run.target)
        wait_until(lambda: attached(1), "a launcher", night, second)
        (launcher,) = launchers(night)
        os.kill(launcher, signal.SIGKILL)
        assert second.wait() != 0

        # Snakemake alone: its launcher lives on, and the next one takes over from it.
        second = night.start(run.target)
        wait_until(lambda: attached(2), "the next launcher", night, second)
        second.kill()
        second.wait()

        # Ctrl-C: the launcher says how to end the training, and leaves it alone.
        third = night.start(run.target)
        wait_until(lambda: "waiting for its end" in run.log.read_text(), "the third launcher", night, third)
        os.killpg(second.pid, signal.SIGINT)
        told = "the training goes on as Slurm job"
        wait_until(lambda: told in run.log.read_text(), "a word of good-bye", night, third)
        assert f"scancel {job}" in run.log.read_text()
        wait_until(lambda: attached(3), "the third launcher to follow", night, third)

        # Ctrl-C of everything: the terminal says it too.
        os.killpg(third.pid, signal.SIGINT)
        assert third.wait() != 0
        told = (night.folder / "night.log").read_text()
        assert f"  {job}  {run.name}\nTo end them: python -m sspipe cancel --profile profiles/slurm --all" in told
        fourth = night.start(run.target)
        wait_until(lambda: attached(4), "the fourth launcher", night, fourth)
    night.finish(fourth)

    assert run.job == job
    assert jobs_in_accounting(cluster) - before == {job}
    assert run.attempts() == 1 and run.record()["restarts"] == 0


def test_a_launcher_that_died_before_it_knew_its_job_finds_it_by_name(cluster, night):
    night.longer("unet16_sar", 10)
    run, before = night.run_of("unet16_sar"), jobs_in_accounting(cluster)
    process = night.start(run.target)
    wait_until(lambda: run.job is not None, "a submission", night, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    job, record = run.job, run.folder / "slurm/job.json"
    record.write_text(json.dumps({**read_json(record), "job_id": None, "submitted": None, "log": None}))
    night.finish(night.start(run.target))
    assert run.job == job
    assert jobs_in_accounting(cluster) - before == {job}


def test_jobs_that_a_killed_snakemake_left_to_the_executor_are_cancelled_before_new_ones_come(cluster, night):
    for name in cluster.run("squeue", "-h", "-o", "%A").split():
        cluster.run("scancel", name)
    # Nothing can start: the executor's jobs wait in the queue for as long as this test wants.
    cluster.run("scontrol", "update", "PartitionName=low", "State=DOWN")
    try:
        night.edit_profile(
            lambda profile: [each.update(slurm_partition="low") for each in profile["set-resources"].values()]
        )
        target = str((night.results / "report/catalog.html").relative_to(night.folder))
        night.edit_profile(lambda profile: profile["default-resources"].update(slurm_partition="low"))
        (night.folder / target).unlink()
        first = night.start(target)
        wait_until(lambda: cluster.run("squeue", "-h", "-o", "%A %T").split(), "a job", night, first)
        (left,) = cluster.run("squeue", "-h", "-o", "%A").split()
        first.kill()
        first.wait()
        second = night.start(target)
        wait_until(lambda: f"{left} (rule_" in (night.folder / "night.log").read_text(), "the clean-up", night, second)
        wait_until(lambda: cluster.run("squeue", "-h", "-o", "%A").split() not in ([], [left]), "a job", night, second)
        assert left not in cluster.run("squeue", "-h", "-o", "%A").split()
    finally:
        cluster.run("scontrol", "update", "PartitionName=low", "State=UP")
    night.finish(second)
    assert (night.folder / target).exists()


def test_failures_are_told_and_stop_nothing_else(cluster, night):
    # No step is survived: the weights are infinite at once.
    bad = {"learning_rate": 1e38, "stages": [{"views": ["sar"], "epochs": 3}]}
    night.edit(lambda content: content["variants"].update({"unet16_sar": bad}))
    long = {"stages": [{"views": ["eo"], "epochs": 500}]}
    night.edit(lambda content: content["variants"].update({"unet16_eo": long}))
    night.edit(lambda content: content["splits"]["random"].update(variants=["ss_rsc"]))
    night.edit(lambda content: content["splits"]["spatial"].update(variants=["unet16_sar", "unet16_eo", "ss_rsc"]))
    diverging, cancelled, sound = (night.run_of(name) for name in ("unet16_sar", "unet16_eo", "ss_rsc"))
    process = night.start("--keep-going", "--", "train_all")
    cancelled.wait_for_a_step(process)
    cluster.run("scancel", cancelled.job)
    night.finish(process, status=1)
    assert sound.record()["ranks"] == RANKS
    terminal = (night.folder / "night.log").read_text()
    for run in (diverging, cancelled):
        assert f"Error in rule train\n  results/tiny/logs/train/{run.name}.log ends with\n" in terminal
    assert "not finite" in terminal and "MissingOutputException" not in terminal
    assert "not finite" in diverging.log.read_text() and "Traceback" in diverging.log.read_text()
    assert f"Slurm job {cancelled.job} was cancelled (by 0)" in cancelled.log.read_text()
    assert "the same command goes on from the last checkpoint" in cancelled.log.read_text()
    assert not diverging.folder.joinpath("model.safetensors").exists()


ENDING_BADLY = """
import os, runpy, signal, sys, time

class Last:
    # When Python has no handlers any more; and not before all ranks have reported: the death of one ends the others.
    # Functions of C alone: modules are empty by then.
    def __del__(self, kill=os.kill, me=os.getpid(), sent=signal.{}, ls=os.listdir, jobs=sys.argv[-1], wait=time.sleep):
        while sum(name.endswith("_result.pkl") for name in ls(jobs)) < {}:
            wait(0.1)
        kill(me, sent)

sys.last = Last()
sys.path.insert(0, os.getcwd())
sys.argv = sys.argv[3:]  # after -u -m, which submitit gives
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    ("number", "said"),
    [
        ("SIGUSR2", "has ended: the results are there"),
        ("SIGKILL", "ended as FAILED (NonZeroExitCode) after every rank"),
    ],
)
def test_what_comes_while_a_finished_training_is_taken_down_costs_nothing(cluster, night, number, said):
    script = night.folder / "ending_badly.py"
    script.write_text(ENDING_BADLY.format(number, RANKS))
    night.edit_profile(
        lambda profile: profile["set-resources"]["train"].update(node_python=f"{sys.executable} {script}")
    )
    run = night.run_of("unet16_sar")
    night.finish(night.start(run.target))
    assert said in run.log.read_text()
    assert run.attempts() == 1 and run.record()["ranks"] == RANKS


def test_eight_runs_take_turns_and_the_scheduler_is_asked_seldom(cluster, night):
    night.edit(lambda content: content.update(seeds=[0, 1, 2, 3]))
    night.edit(lambda content: content["splits"].update(random={"variants": ["ss_rsc"]}))
    night.edit(lambda content: content["splits"]["spatial"].update(variants=["ss_rsc"]))

    def site(profile):
        profile["resources"] = ["trainings=3"]
        profile["set-resources"]["train"].update(poll_s=5, gres="gpu:v100:1")

    night.edit_profile(site)
    other = Night(night.folder.with_name(f"{night.folder.name}-other"))
    subprocess.run(["cp", "-a", night.folder, other.folder], check=True)
    other.edit(lambda content: content.update(experiment="other", seeds=[0]))
    (other.folder / "results/tiny").rename(other.folder / "results/other")
    cluster.calls.write_text("")
    begun = time.monotonic()
    process, beside = night.start("train_all"), None
    # Screens that look every second, as operators have them, beside the launchers.
    watching = (
        sys.executable,
        "-m",
        "sspipe",
        "status",
        "--configfile",
        "tiny.yaml",
        "--watch",
        "--every-seconds",
        "1",
    )
    screens = [subprocess.Popen(watching, cwd=each.folder, stdout=subprocess.DEVNULL) for each in (night, night, other)]
    most = 0
    while process.poll() is None:
        names = cluster.run("squeue", "-h", "-o", "%j %Z").splitlines()
        most = max(most, sum(line.endswith(str(night.folder)) for line in names))
        if beside is None and most:
            beside = other.start("train_all")
        time.sleep(1)
    night.finish(process)
    other.finish(beside)
    for screen in screens:
        assert screen.poll() is None  # it has looked all the while
        screen.send_signal(signal.SIGINT)
        assert screen.wait(60) == 0
    minutes = (time.monotonic() - begun) / 60
    asked = [line.split()[0] for line in cluster.calls.read_text().splitlines()]
    assert 1 <= most <= 3
    assert len(list(night.results.rglob("model.safetensors"))) == 8
    assert len(list((other.folder / "results/other").rglob("model.safetensors"))) == 2
    # Two experiments, each at most one squeue and one sacct every five seconds, whoever asks: see sspipe.slurm. Each
    # Snakemake's executor has no jobs, and asks once at its start.
    looks = asked.count("squeue") + asked.count("sacct")
    assert looks <= 2 * 2 * (12 * minutes + 1) + 2
    assert asked.count("sbatch") == 8 + 2
    # `srun` starts the ranks on the nodes; nothing else is called that would be repeated.
    assert set(asked) <= {"squeue", "sacct", "sbatch", "scontrol", "sinfo", "sacctmgr", "srun"}


def test_the_whole_experiment_gives_the_scores_of_the_local_profile(cluster, night):
    local = night.snakemake("all")
    assert local.returncode == 0, local.stdout + local.stderr
    scores = pd.read_csv(night.results / "report/scores.csv")
    subprocess.run(["mv", "results", "results-local"], cwd=night.folder, check=True)
    cluster.calls.write_text("")
    begun = time.monotonic()
    night.finish(night.start("all"))
    minutes = (time.monotonic() - begun) / 60
    asked = [line.split()[0] for line in cluster.calls.read_text().splitlines()]
    # Launchers look every two seconds here, and the executor at first as often.
    looks = asked.count("squeue") + asked.count("sacct")
    assert looks <= (2 * 30 + 30) * minutes + 10
    again = pd.read_csv(night.results / "report/scores.csv")
    kept = list(scores.loc[:, :"best_validation_iou"])  # then comes how long it took, and on what
    pd.testing.assert_frame_equal(scores[kept], again[kept])
    assert (night.results / "report/index.html").exists()
    # What each rule asked for stands beside what it used; the accounting has it, not Snakemake.
    rows = {row.what: row for row in read_csv(night.results / "report/efficiency.csv")}
    for what in ("rule measure_tiles", "train/spatial/ss_rsc/seed0"):
        assert rows[what].requested_s == 600 and rows[what].requested_mb == 500 and rows[what].queued_s is not None

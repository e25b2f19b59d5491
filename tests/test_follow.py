"""`sspipe follow` shows what jobs write into their logs while a command runs, and ends as it ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent


def follow(logs, *command, **more):
    arguments = [sys.executable, "-m", "sspipe", "follow", "--logs", str(logs), "--", *command]
    return subprocess.Popen(arguments, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)


def test_new_lines_are_shown_once_under_the_name_of_their_job_and_old_ones_never(tmp_path):
    (tmp_path / "old.log").write_text("from an earlier run\n")
    script = f"""
mkdir -p {tmp_path}/train/spatial/ss_rsc
echo 'epoch 1/4' >> {tmp_path}/train/spatial/ss_rsc/seed0.log
sleep 1
printf 'epoch 2/4\\nepoch 3' >> {tmp_path}/train/spatial/ss_rsc/seed0.log
sleep 1
echo '/4' >> {tmp_path}/train/spatial/ss_rsc/seed0.log
"""
    shown, _ = follow(tmp_path, "bash", "-c", script).communicate(timeout=60)
    assert [line.strip() for line in shown.splitlines()] == ["train: epoch 1/4", "train: epoch 2/4", "train: epoch 3/4"]


def test_the_exit_status_is_the_commands(tmp_path):
    assert follow(tmp_path, "bash", "-c", "exit 3").wait(timeout=60) == 3


def test_a_termination_reaches_the_command(tmp_path):
    script = f"trap 'echo ended > {tmp_path}/ended; exit 7' TERM; touch {tmp_path}/begun; while :; do sleep 0.1; done"
    process = follow(tmp_path, "bash", "-c", script)
    while not (tmp_path / "begun").exists():
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(timeout=60) == 7
    assert (tmp_path / "ended").exists()

"""Work on several processes: in order, and never hanging when one of them dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sspipe.errors import UserError
from sspipe.workers import in_parallel


def double(number):
    time.sleep(0.01 * (number % 3))
    return 2 * number


def die_at_three(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does when the memory runs out
    return number


def fail_at_three(number):
    if number == 3:
        raise ValueError("three")
    return number


@pytest.mark.parametrize("processes", [1, 2])
def test_results_come_in_the_order_of_the_tasks(processes):
    assert list(in_parallel(double, range(7), processes, "numbers")) == list(range(0, 14, 2))


def test_nothing_to_do_is_done():
    assert list(in_parallel(double, [], 2, "numbers")) == []


def test_a_process_that_is_killed_is_an_error_with_its_remedy_and_not_a_wait_for_ever():
    with pytest.raises(
        UserError, match=r"killed after .* of 6 numbers.*memory ran out with 2 at work.*fewer processes"
    ):
        list(in_parallel(die_at_three, range(6), 2, "numbers"))


def test_an_error_in_a_task_comes_through():
    with pytest.raises(ValueError, match="three"):
        list(in_parallel(fail_at_three, range(6), 2, "numbers"))


SCRIPT = """
import os, sys, time
from sspipe.workers import in_parallel

def nap(number):
    print(os.getpid(), flush=True)
    time.sleep(float(sys.argv[1]) if number else 0.01)
    return number

if __name__ == "__main__":
    try:
        for _ in in_parallel(nap, [0, 1, 1, 1], 2, "naps"):
            pass
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks processes up in /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_when_their_parent_is_killed(tmp_path, how):
    (tmp_path / "script.py").write_text(SCRIPT)
    parent = subprocess.Popen([sys.executable, "script.py", "60"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    workers = {int(parent.stdout.readline()) for _ in range(3)}
    parent.send_signal(how)
    parent.wait()
    end = time.monotonic() + 30
    while any(map(alive, workers)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(alive, workers))


def test_ctrl_c_ends_all_in_one_word_after_the_tasks_at_hand(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    parent = subprocess.Popen(
        [sys.executable, "script.py", "0.5"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    for _ in range(3):
        parent.stdout.readline()
    os.killpg(parent.pid, signal.SIGINT)  # a terminal sends it to the workers as well
    out, err = parent.communicate(timeout=30)
    assert out.split()[-1] == "interrupted" and err == ""

"""What a profile's resources mean for the launcher."""

import pytest

from sspipe.cli import parsed
from sspipe.errors import UserError
from sspipe.operate.launching import is_launched, launch_flags

RUN = ["launch", "--folder", "f", "--queue", "q"]


def asked(**resources):
    """What the launcher understands, of all that a profile gives."""
    return parsed([*RUN, *launch_flags({"runtime": 60, **resources}), "--", "train"])[1]


@pytest.mark.parametrize(
    ("resources", "gres", "tasks"),
    [
        ({"gres": "gpu:v100:4"}, "gpu:v100:4", 4),
        ({"gres": "gpu"}, "gpu", 1),
        ({"gres": "gpu:v100:4,lscratch:100"}, "gpu:v100:4,lscratch:100", 4),
        ({"gpu": 4}, "gpu:4", 4),
        ({"gpu": 2, "gpu_model": "a100"}, "gpu:a100:2", 2),
        ({}, None, 1),
    ],
)
def test_there_is_one_task_a_gpu_in_every_spelling(resources, gres, tasks):
    options = asked(**resources)
    assert (options["gres"], options["tasks"]) == (gres, tasks)


def test_options_of_sbatch_and_lines_of_shell_arrive_as_they_were_written():
    options = asked(slurm_extra="--exclusive --comment='two words'", slurm_setup="module load a; -x ;")
    assert options["extra"] == ["--exclusive", "--comment=two words"]
    assert options["setup"] == ["module load a", "-x"]


def test_memory_of_each_core_is_asked_for_as_the_whole_jobs():
    options = asked(gres="gpu:4", cpus_per_task=8, mem_mb_per_cpu=2000, mem_mb=1000)
    assert options["mem_mb"] == 4 * 8 * 2000


def test_what_is_not_set_is_submitits_or_slurms_own():
    options = asked()
    assert (options["signal_delay_s"], options["cpus_per_task"], options["mem_mb"], options["qos"]) == (
        90,
        1,
        None,
        None,
    )
    assert not is_launched({}) and not is_launched({"launcher": "local"}) and is_launched({"launcher": "slurm"})


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        ({"runtime": None}, r"train\.runtime is not set in the profile"),
        ({"signal_delay_s": "soon"}, r"train\.signal_delay_s in the profile: `soon` must be a whole number above 0"),
        ({"cpus_per_task": 0}, r"train\.cpus_per_task in the profile: `0`"),
        ({"poll_s": -1}, r"train\.poll_s in the profile: `-1` must be a number above 0"),
        ({"slurm_extra": "--exclusive -C v100"}, r"train\.slurm_extra in the profile: write `-C` as --option"),
        ({"slurm_extra": "--comment='x"}, r"train\.slurm_extra in the profile: .* No closing quotation"),
    ],
)
def test_what_cannot_be_used_is_told_with_its_key(resources, said):
    with pytest.raises(UserError, match=said):
        asked(**resources)

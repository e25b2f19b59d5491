"""One training as one Slurm job: what is submitted, by submitit, and what is remembered of it.

Beside a run's results, `train/{split}/{variant}/seed{seed}/slurm/` holds what is no rule's output, as Snakemake would
delete it:

    job.json                the job: see `Submission`. Written before anything is submitted, and after.
    lock                    held by the launcher that follows the job
    jobs/{id}_0_log.out     what rank 0 printed, all attempts one after the other; other ranks are {id}_1_log.out …
    jobs/{id}_submission.sh, jobs/{id}_submitted.pkl, jobs/{id}_{rank}_result.pkl      submitit's own

The name of the job is unique, so that a launcher that died between submitting and remembering finds it in the queue.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sspipe.errors import UserError
from sspipe.files import write_json
from sspipe.slurm import absent
from sspipe.train.rank import Rank

# What sbatch says when it refuses, and which key of the profile it means.
_KEYS = (
    (r"invalid account", "train.slurm_account"),
    (r"invalid partition|partition.*not available|default partition", "train.slurm_partition"),
    (r"\(gres\)|generic resource", "train.gres"),
    (r"time limit", "train.runtime"),
    (r"invalid qos|qos", "train.qos"),
    (r"invalid feature", "train.constraint"),
    (r"memory", "train.mem_mb"),
    (r"node configuration|node count|more processors|cpu count", "train.gres, train.cpus_per_task or train.mem_mb"),
)
# submitit counts the stops by walltime, and gives up after so many: a night may have as many as it takes.
_MAX_TIMEOUTS = 10_000


@dataclass(frozen=True)
class Request:
    """What a job asks of Slurm; `sspipe launch --help` has the units."""

    partition: str | None
    account: str | None
    gres: str | None
    tasks: int
    cpus_per_task: int
    mem_mb: int | None
    runtime_min: int
    signal_delay_s: int
    qos: str | None
    constraint: str | None
    extra: tuple[str, ...]
    python: str | None
    setup: tuple[str, ...]


@dataclass(frozen=True)
class Submission:
    """What `job.json` says.

    Attributes:
        name: of the Slurm job; unique.
        settings: digest of what decides the training's result; a job of other settings is not attached to.
        job_id: None until it is known.
        begun: when it was about to be submitted, UTC.
        submitted: when Slurm had it, UTC; None before.
        command: arguments of `python -m sspipe`, which every rank runs.
        request: as `Request`.
        log: rank 0's.
        told: bytes of that log that a launcher has passed on to the rule's log.
        requeued: how often a launcher had Slurm queue it again.
        ended: Slurm's final state, once a launcher has seen it.
    """

    name: str
    settings: str
    job_id: str | None
    begun: str
    submitted: str | None
    command: tuple[str, ...]
    request: dict[str, Any]
    log: str | None = None
    told: int = 0
    requeued: int = 0
    ended: str | None = None

    @classmethod
    def read(cls, folder: Path) -> Submission | None:
        """What the folder's `job.json` says; None if there is none.

        Raises:
            UserError: it cannot be read.
        """
        path = folder / "job.json"
        try:
            content = json.loads(path.read_text())
            return cls(**{**content, "command": tuple(content["command"])})
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(
                f"{path}: cannot be read, or is not what this version writes ({error}); see with `squeue --me` that no "
                "job of this run is left, or two would train it, and delete the file"
            ) from None

    def write(self, folder: Path) -> Submission:
        """Writes `job.json`; returns itself."""
        write_json(folder / "job.json", asdict(self))
        return self

    def as_submitted(self, folder: Path, job_id: str) -> Submission:
        """With the number that Slurm gave."""
        log = str(jobs_folder(folder) / f"{job_id}_0_log.out")
        return replace(self, job_id=job_id, log=log, submitted=_now())


def new_submission(label: str, settings: str, command: Sequence[str], request: Request) -> Submission:
    """What will be submitted, before it is.

    Args:
        label: `{split}-{variant}-seed{seed}`, for people who read the queue.
        settings: digest of what decides the result.
        command: of every rank.
        request: of Slurm.
    """
    name = f"train-{re.sub(r'[^A-Za-z0-9_.-]', '_', label)}-{uuid.uuid4().hex[:10]}"
    return Submission(name, settings, None, _now(), None, tuple(command), asdict(request))


def jobs_folder(folder: Path) -> Path:
    """Where submitit works; absolute, as the node may begin elsewhere."""
    return (folder / "jobs").absolute()


def submit(submission: Submission, request: Request, folder: Path) -> str:
    """Submits the job; returns its number.

    Raises:
        UserError: Slurm refuses it; the message is Slurm's, and names the key to change where that is known.
    """
    if shutil.which("sbatch") is None:
        raise UserError(f"sbatch: {absent(os.environ)}")
    from submitit import SlurmExecutor
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    with _clean_environment():
        executor = SlurmExecutor(jobs_folder(folder), max_num_timeout=_MAX_TIMEOUTS, python=_ranks_python(request))
        executor.update_parameters(**parameters(submission.name, request))
        try:
            return str(executor.submit(Rank(submission.command)).job_id)
        except (FailedJobError, FailedSubmissionError) as error:
            raise UserError(
                f"Slurm does not take the job {submission.name}:\n{error}{_key_to_change(str(error))}"
            ) from None


def _key_to_change(refusal: str) -> str:
    keys = [key for words, key in _KEYS if re.search(words, refusal, re.IGNORECASE)]
    if not keys:
        return ""
    return f"\nset {keys[0]} in the profile; `python -m sspipe preflight` with its --profile says what this Slurm has"


def parameters(name: str, request: Request) -> dict[str, Any]:
    """The parameters of submitit's executor: one node, one task a GPU."""
    additional: dict[str, Any] = {}
    for key, value in (("gres", request.gres), ("account", request.account), ("constraint", request.constraint)):
        if value:
            additional[key] = value
    for word in request.extra:
        key, _, value = word.removeprefix("--").partition("=")
        additional[key] = value or True
    if request.mem_mb is not None:
        additional["mem"] = f"{request.mem_mb}M"
    given: dict[str, Any] = {
        "job_name": name,
        "time": request.runtime_min,
        "nodes": 1,
        "ntasks_per_node": request.tasks,
        "cpus_per_task": request.cpus_per_task,
        "signal_delay_s": request.signal_delay_s,
        "stderr_to_stdout": True,
        "wckey": None,  # submitit's own default is one that some clusters refuse
        "setup": ["unset PYTHONPATH PYTHONHOME", *request.setup],
        # A rank that fails takes the others with it: they would wait for it in vain.
        "srun_args": ["--kill-on-bad-exit=1", "--open-mode=append"],
        "additional_parameters": {"requeue": True, **additional},
    }
    optional = {"partition": request.partition, "qos": request.qos}
    return {**given, **{key: value for key, value in optional.items() if value}}


def mend(submission: Submission, folder: Path) -> bool:
    """Writes again what submitit had no time to, when it was killed right after Slurm took the job.

    Returns:
        Whether something was missing.
    """
    from submitit.core.utils import DelayedSubmission, JobPaths, temporary_save_path

    assert submission.job_id is not None
    pickled = JobPaths(jobs_folder(folder), job_id=submission.job_id).submitted_pickle
    if pickled.exists():
        return False
    delayed = DelayedSubmission(Rank(submission.command))
    delayed.set_timeout(submission.request["runtime_min"], _MAX_TIMEOUTS)
    with temporary_save_path(pickled) as partial:
        delayed.dump(partial)
    return True


def failures(submission: Submission, folder: Path) -> list[tuple[int, str]]:
    """Ranks that ended by an error, the first one first, and its traceback."""
    told = _outcomes(submission, folder)
    return [(rank, what) for _, rank, outcome, what in sorted(told) if outcome == "error"]


def succeeded(submission: Submission, folder: Path) -> bool:
    """Whether every rank of the last attempt has reported success; its process may have failed after that."""
    told = _outcomes(submission, folder)
    return [outcome for _, _, outcome, _ in told] == ["success"] * submission.request["tasks"]


def _outcomes(submission: Submission, folder: Path) -> list[tuple[float, int, str, str]]:
    """When, which rank, "success" or "error", and what it returned or its traceback: of each rank that has reported."""
    from submitit.core.utils import JobPaths, pickle_load

    assert submission.job_id is not None
    told = []
    for rank in range(submission.request["tasks"]):
        path = JobPaths(jobs_folder(folder), job_id=submission.job_id, task_id=rank).result_pickle
        if path.exists():
            try:
                outcome, what = pickle_load(path)
            except Exception as error:  # a damaged pickle raises anything
                outcome, what = "error", f"{path} cannot be read ({error!r})"
            told.append((path.stat().st_mtime, rank, str(outcome), str(what)))
    return told


def node_python(given: str | None, executable: str, environment: Mapping[str, str]) -> str:
    """The shell words that start Python on a node: what this process is deployed as, unless told otherwise.

    A virtual or conda environment's Python starts all that is in it by its path. One in a container has no path outside
    of it, so there the same image is entered again.

    Args:
        given: `node_python` of the profile.
        executable: this Python.
        environment: of this process; Apptainer (and Singularity before it) says there which image it is in.
    """
    if given:
        return given
    for program, variable in (("apptainer", "APPTAINER_CONTAINER"), ("singularity", "SINGULARITY_CONTAINER")):
        if image := environment.get(variable):
            return f"{program} exec --nv {shlex.quote(image)} {shlex.quote(executable)}"
    return shlex.quote(executable)


def _ranks_python(request: Request) -> str:
    """How ranks start Python. Until the training listens, a warning of the time limit must not end it."""
    python = node_python(request.python, sys.executable, os.environ)
    return f"""bash -c 'trap "" USR2; exec "$0" "$@"' {python}"""


@contextmanager
def _clean_environment() -> Iterator[None]:
    """Hides what a job that this process may run in has set, and what would lead the ranks to other modules."""
    from submitit.helpers import clean_env

    conf = os.environ.get("SLURM_CONF")
    with clean_env(extra_names=("PYTHONPATH", "PYTHONHOME", "GLOO_SOCKET_IFNAME", "CUDA_VISIBLE_DEVICES")):
        if conf is not None:
            os.environ["SLURM_CONF"] = conf  # says which cluster, and is no job's
        yield


def digest(settings: Sequence[Path], **values: Any) -> str:
    """Of all that decides a training's result: the content of files, and plain values."""
    whole = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    for path in settings:
        try:
            whole.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); run the rule that writes it") from None
    return whole.hexdigest()[:16]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

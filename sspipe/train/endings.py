"""What people are told of a job that ended without results, and what they can do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sspipe.train.submission import Submission, failures

_AGAIN = "the same command goes on from the last checkpoint"


def why_it_ended(submission: Submission, folder: Path, outputs: Sequence[Path], state: str, reason: str) -> str:
    """Why a job has no results, and what to do.

    Args:
        submission: as it was remembered.
        folder: of it.
        outputs: that the job was to write.
        state: Slurm's final one.
        reason: Slurm's word on it; may be empty.
    """
    job = f"Slurm job {submission.job_id}"
    if state == "CANCELLED":
        return f"{job} was cancelled ({reason or 'by whom is not known'}); {_AGAIN}"
    if state == "OUT_OF_MEMORY":
        asked = submission.request["mem_mb"]
        memory = f"{asked} MB" if asked else "the partition's own"
        return f"{job} ran out of memory: raise train.mem_mb in the profile (it asked for {memory}); {_AGAIN}"
    if state == "COMPLETED":
        return f"{job} completed, but {', '.join(map(str, outputs))} are not all there; {_AGAIN}"
    told = failures(submission, folder)
    if not told:
        return f"{job} ended as {state} ({reason}) and left no word; its log: {submission.log}"
    rank, what = told[0]
    return f"{job} failed on rank {rank}:\n{what.rstrip()}\nall it said: {submission.log}"

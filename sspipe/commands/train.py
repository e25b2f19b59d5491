"""Training, and its submission to Slurm."""

from __future__ import annotations

import argparse

from sspipe.commands.flags import StageAdder, number, path, paths


def add(stage: StageAdder) -> None:
    """Adds the sub-commands."""
    sub = stage("resolve-variant", "train.resolve:resolve_variant", "write a variant's resolved settings", quiet=True)
    sub.add_argument("--settings", required=True, help="JSON text of the variant")
    path(sub, "--out", "JSON file to write")

    sub = stage(
        "train",
        "train.stage:train",
        "train one variant on one split with one seed",
        "An interrupted run goes on from its last checkpoint, and a finished one is not trained again. SIGTERM, "
        "SIGINT, SIGUSR1 and SIGUSR2 end it after the current step with a checkpoint and status 75: the same command "
        "goes on from there.",
    )
    sub.add_argument("--split", required=True)
    sub.add_argument("--variant", required=True)
    number(sub, "--seed", "of everything random", int, least=0)
    path(sub, "--settings", "the resolved variant")
    path(sub, "--split-table", "the split's table")
    path(sub, "--statistics", "the split's statistics")
    paths(sub, "--packs", "manifest.json of every shard")
    number(sub, "--threads", "CPU threads, over all ranks that are started here", int, least=1)
    path(sub, "--checkpoints", "folder of what an interrupted run goes on from")
    sub.add_argument("--precision", choices=("auto", "fp32", "bf16", "fp16"), required=True, help="auto: by hardware")
    sub.add_argument("--compile", action="store_true", help="use torch.compile")
    number(sub, "--shuffle-shards", "shards whose tiles are shuffled together", int, least=1)
    number(sub, "--micro-batch-size", "images of a view taken at once; not given: all", int, required=False, least=1)
    sub.add_argument("--ranks", type=_ranks, required=True, help="processes that share each batch; auto: one per GPU")
    number(sub, "--workers", "threads of each rank that read ahead", int, least=0)
    sub.add_argument("--scratch", help="local folder that the pack is copied to first; auto: $TMPDIR")
    number(sub, "--checkpoint-minutes", "between checkpoints, min; 0: after every step", least=0)
    number(sub, "--log-seconds", "between progress lines, s", least=0)
    sub.add_argument("--tensorboard", action="store_true", help="write event files too")
    path(sub, "--out-model", "weights to write")
    path(sub, "--out-metrics", "metrics.jsonl to write")
    path(sub, "--out-record", "train.json to write")

    sub = stage(
        "launch",
        "train.launch:launch",
        "train as a Slurm job, and follow that to its end",
        "Run again, it attaches to the job that it submitted before. Ctrl-C leaves the job running.",
        quiet=True,
    )
    path(sub, "--folder", "the run's folder of what is remembered of its job")
    path(sub, "--queue", "folder of the snapshot of the queue that launchers share")
    sub.add_argument("--partition")
    sub.add_argument("--account")
    sub.add_argument("--gres", help="GPUs of the node, as `gpu:v100:4` or `gpu:4`")
    number(sub, "--tasks", "ranks, one a GPU", int)
    number(sub, "--cpus-per-task", "CPU cores of each rank", int)
    number(sub, "--mem-mb", "memory of the job, MB; not given: the partition's own", int, required=False)
    number(sub, "--runtime-min", "walltime of one attempt, min", int)
    number(sub, "--signal-delay-s", "how long before the walltime the training is told to save, s", int)
    sub.add_argument("--qos")
    sub.add_argument("--constraint", help="features that the node must have")
    # Given with `=`, as their values begin with dashes.
    what = "a further option of sbatch, as --extra=--reservation=night; again for each"
    sub.add_argument("--extra", action="append", default=[], help=what)
    sub.add_argument("--python", help="command that starts Python on the node; not given: the one that runs this")
    sub.add_argument(
        "--setup", action="append", default=[], help="a shell line that the job begins with; again for each"
    )
    number(sub, "--poll-s", "between two looks at the queue, s", required=False, default=30.0)
    sub.add_argument("command", nargs="+", help="after `--`: train and its arguments")


def _ranks(text: str) -> str | int:
    if text == "auto":
        return text
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be auto or a number from 1, not {text}")
    return int(text)

"""Before, during and after a run."""

from __future__ import annotations

from sspipe.commands.flags import StageAdder, experiment_flags, number, path


def add(stage: StageAdder) -> None:
    """Adds the sub-commands."""
    sub = stage("plan", "operate.plan:plan", "what would run and why, how long it takes, how much disk", quiet=True)
    experiment_flags(sub)
    sub.add_argument("--night-hours", type=float, help="length of a night, h (default: plan.night_hours)")
    sub.add_argument("--json", action="store_true", dest="as_json", help="print JSON")
    sub.add_argument("targets", nargs="*", help="rules or files (default: all); after `--`: options of snakemake")

    sub = stage("preflight", "operate.preflight:preflight", "what would stop a night, before it begins", quiet=True)
    experiment_flags(sub)
    sub.add_argument("--on-node", action="store_true", help="also submit a job of one minute that looks at a node")
    number(
        sub,
        "--node-minutes",
        "how long that job may wait for a node, min (default: %(default)s)",
        float,
        False,
        default=10,
    )
    sub.add_argument("--json", action="store_true", dest="as_json", help="print JSON")

    sub = stage("check-node", "operate.node_job:check_node", "look at this node as a training finds it", quiet=True)
    path(sub, "--token-file", "what the login node wrote")
    sub.add_argument("--token", required=True, help="its content")
    number(sub, "--gpus", "that the job asked for", int)
    sub.add_argument("--scratch", help="training.scratch")
    number(sub, "--pack-bytes", "size of the pack", int)
    path(sub, "--out", "JSON to write")

    sub = stage("status", "operate.status:status", "where every run is, on one screen", quiet=True)
    experiment_flags(sub)
    sub.add_argument("--json", action="store_true", dest="as_json", help="print JSON")
    sub.add_argument("--watch", action="store_true", help="again and again, until Ctrl-C")
    what = "between two looks, s; Slurm is asked every 30 s at most (default: %(default)s)"
    number(sub, "--every-seconds", what, float, False, default=5)

    sub = stage("cancel", "operate.cancel:cancel", "end Slurm jobs of trainings, after asking", quiet=True)
    experiment_flags(sub)
    sub.add_argument(
        "--all", action="store_true", dest="all_runs", help="all of them, and this experiment's other jobs"
    )
    sub.add_argument("--yes", action="store_true", help="do not ask")
    sub.add_argument("runs", nargs="*", help="split/variant/seedN, or any part of it, such as a variant")

    sub = stage("efficiency", "operate.efficiency:efficiency", "what was asked for against what was used", quiet=True)
    experiment_flags(sub)
    path(sub, "--folder", "results/{experiment}, in place of profile and configuration", required=False)
    path(sub, "--out", "CSV to write (default: print)", required=False)
    sub.add_argument("--json", action="store_true", dest="as_json", help="print JSON")

    sub = stage(
        "follow", "follow:follow", "show what running jobs say, while a command runs or until Ctrl-C", quiet=True
    )
    path(sub, "--logs", "folder of logs")
    sub.add_argument("command", nargs="*", help="after `--`: program to run and follow")

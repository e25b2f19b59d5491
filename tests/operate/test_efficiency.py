"""What was asked for against what was used, from captured accounting and benchmark files."""

import csv
import io
import json

import pytest

from sspipe.errors import UserError
from sspipe.operate import efficiency
from sspipe.operate.accounting import executor_command, parse_accounting
from sspipe.operate.efficiency import as_csv, as_text, measured

# Slurm 22.05: a job of two tasks that was requeued once, then ran to its end.
SACCT = """\
17|train-a|REQUEUED|2026-11-22T22:33:07|2026-11-22T22:33:08|2026-11-22T22:33:16|8|5|2000M|billing=2,cpu=2,gres/gpu=2,mem=2000M,node=1|00:08.368||
17.batch|batch|CANCELLED|2026-11-22T22:33:08|2026-11-22T22:33:08|2026-11-22T22:33:19|11|||cpu=2,gres/gpu=2,mem=2000M,node=1|00:00.002|12144K|cpu=00:00:00,energy=0,fs/disk=33453,mem=12144K,pages=0,vmem=221228K
17.0|bash|CANCELLED|2026-11-22T22:33:08|2026-11-22T22:33:08|2026-11-22T22:33:19|11|||cpu=2,gres/gpu=2,mem=2000M,node=1|00:08.365|170096K|cpu=00:00:04,energy=0,fs/disk=3394270,mem=340140K,pages=0,vmem=349064K
17|train-a|COMPLETED|2026-11-22T22:33:20|2026-11-22T22:33:28|2026-11-22T22:33:44|16|5|2000M|billing=2,cpu=2,gres/gpu=2,mem=2000M,node=1|00:08.456||
17.0|bash|COMPLETED|2026-11-22T22:33:28|2026-11-22T22:33:28|2026-11-22T22:33:41|13|||cpu=2,gres/gpu=2,mem=2000M,node=1|00:08.438|170252K|cpu=00:00:04,energy=0,fs/disk=3401246,mem=409600K,pages=0,vmem=349064K
18|train-b|PENDING|2026-11-22T22:40:00|Unknown|Unknown|0|UNLIMITED|4000Mn||00:00:00||
"""
# The same release: jobs of two rules that Snakemake's executor submitted, the second requeued once.
EXECUTOR = """\
28|4f0c|COMPLETED|2026-11-22T23:00:00|2026-11-22T23:00:05|2026-11-22T23:00:35|30|10|500M|billing=1,cpu=2,mem=500M,node=1|00:20.000|||SUBMITTED:measure_tiles
28.batch|batch|COMPLETED|2026-11-22T23:00:05|2026-11-22T23:00:05|2026-11-22T23:00:35|30|||cpu=2,mem=500M,node=1|00:20.000|204800K|cpu=00:00:20,energy=0,mem=204800K|
29|4f0c|REQUEUED|2026-11-22T23:01:00|2026-11-22T23:01:10|2026-11-22T23:01:20|10|20|900M|billing=1,cpu=1,mem=900M,node=1|00:05.000|||SUBMITTED:pack_tiles_wildcards_0
29|4f0c|COMPLETED|2026-11-22T23:01:30|2026-11-22T23:01:33|2026-11-22T23:02:03|30|20|900M|billing=1,cpu=1,mem=900M,node=1|00:15.000|||SUBMITTED:pack_tiles_wildcards_0
30|4f0c|COMPLETED|2026-11-22T23:01:30|2026-11-22T23:01:35|2026-11-22T23:02:05|30|20|900M|billing=1,cpu=1,mem=900M,node=1|00:15.000|||SUBMITTED:pack_tiles_wildcards_1
""".replace("SUBMITTED:", "/usr/bin/sbatch -p a|b --job-name 4f0c --comment rule_")
BENCHMARK = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


@pytest.fixture()
def folder(tmp_path):
    run = tmp_path / "train/spatial/a/seed0"
    (run / "slurm").mkdir(parents=True)
    (run / "slurm/job.json").write_text(json.dumps({"job_id": "17"}))
    record = {"seconds": 20.0, "gpu_seconds": 36.0, "restarts": 1, "device": "2 x V100", "peak_memory_gib": 11.0}
    (run / "train.json").write_text(json.dumps(record))
    (tmp_path / "train/spatial/a/seed1").mkdir()
    for shard, seconds in enumerate((10.0, 30.0)):
        path = tmp_path / f"benchmarks/pack_tiles/{shard}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{BENCHMARK}{seconds}\t0:00:10\t{512 * (shard + 1)}\t1\t1\t1\t0\t0\t80.0\t8\n")
    return tmp_path


def test_attempts_are_told_apart_and_memory_is_that_of_all_tasks_together():
    jobs = parse_accounting(SACCT)
    first, second = jobs["17"]
    assert (first.state, first.queued_s, first.used_s, first.limit_s) == ("REQUEUED", 1, 8, 300)
    assert (second.queued_s, second.used_s, second.gpus, second.cpus) == (8, 16, 2, 2)
    assert (second.memory_mb, second.used_mb) == (2000, 400)
    assert first.cpu_s == pytest.approx(8.368)
    (waiting,) = jobs["18"]
    assert (waiting.state, waiting.queued_s, waiting.limit_s, waiting.memory_mb) == ("PENDING", 0, None, 4000)


def test_a_training_is_summed_over_its_attempts(folder, monkeypatch):
    monkeypatch.setattr(efficiency, "call", lambda command: SACCT)
    training, packing = measured(folder)
    assert (training.what, training.restarts, training.queued_s, training.used_s) == ("train/spatial/a/seed0", 1, 9, 24)
    assert (training.requested_s, training.requested_mb, training.used_mb) == (300, 2000, 400)
    assert training.gpu_hours_requested == pytest.approx(2 * 24 / 3600)
    assert training.gpu_hours_used == pytest.approx(36 / 3600)
    assert training.cpu_share == pytest.approx((8.368 + 8.456) / (2 * 24))
    assert (packing.what, packing.jobs, packing.used_s, packing.used_mb) == ("rule pack_tiles", 2, 40, 1024)


def test_a_rule_whose_jobs_snakemake_submitted_has_what_they_asked_for_and_how_long_they_waited(folder, monkeypatch):
    record = folder / "slurm/snakemake.json"
    record.parent.mkdir()
    record.write_text(json.dumps({"runs": ["4f0c"], "sessions": {"4f0c": "2026-11-22T22:59:58"}}))
    asked = []

    def call(command):
        asked.append(command)
        return EXECUTOR if command == executor_command(["4f0c"], "2026-11-22T22:59:58") else SACCT

    monkeypatch.setattr(efficiency, "call", call)
    _, packing, measuring = measured(folder)
    assert len(asked) == 2
    assert (packing.what, packing.jobs, packing.used_s, packing.restarts) == ("rule pack_tiles", 2, 40, 1)
    assert (packing.requested_s, packing.requested_mb, packing.used_mb, packing.queued_s) == (1200, 900, 1024, 18)
    assert packing.cpu_share == pytest.approx(35 / 70) and packing.cpus == 1
    # A job that Snakemake has not measured is known to Slurm.
    assert (measuring.what, measuring.jobs, measuring.used_s, measuring.used_mb) == ("rule measure_tiles", 1, 30, 200)
    assert (measuring.requested_s, measuring.queued_s, measuring.cpu_share) == (600, 5, pytest.approx(20 / 60))
    assert "40 s (20 min each)" in as_text([packing], folder)


def test_without_accounting_there_is_what_the_files_know(folder, monkeypatch, capsys):
    from sspipe.slurm import SlurmAwayError

    def away(command):
        raise SlurmAwayError("sacct: no answer within 60 s")

    monkeypatch.setattr(efficiency, "call", away)
    training = measured(folder)[0]
    assert (training.used_s, training.requested_s, training.restarts) == (20, None, 1)
    assert "sacct: no answer within 60 s" in capsys.readouterr().err


def test_a_local_training_has_the_memory_that_snakemake_measured(folder):
    (folder / "train/spatial/a/seed0/slurm/job.json").unlink()
    path = folder / "benchmarks/train/spatial/a/seed0.tsv"
    path.parent.mkdir(parents=True)
    path.write_text(f"{BENCHMARK}20.0\t0:00:20\t2048\t1\t1\t1\t0\t0\t150.0\t30\n")
    training, packing = measured(folder)
    assert (training.used_mb, training.cpu_share, training.gpu_hours_requested) == (2048, 1.5, None)
    assert packing.what == "rule pack_tiles"  # the training is told once


def test_energy_is_known_where_the_site_measures_it_in_every_attempt(folder, monkeypatch):
    # The batch step is on the node for the whole attempt and counts what the others count: 7200 J, then 5400000 J.
    measures = SACCT.replace("energy=0", "energy=3600", 1).replace("energy=0", "energy=7200", 1)
    whole = measures.replace("energy=0", "energy=5400000")
    monkeypatch.setattr(efficiency, "call", lambda command: whole)
    training, packing = measured(folder)
    assert (training.energy_j, packing.energy_j) == (5407200, None)
    assert "1.5 kWh that nodes took while trainings ran on them (1 measured)" in as_text([training, packing], folder)
    unknown = measures.replace("energy=0", f"energy={2**32 - 2}")
    for text in (SACCT, measures, unknown):
        monkeypatch.setattr(efficiency, "call", lambda command, text=text: text)
        assert measured(folder)[0].energy_j is None


def test_a_table_of_an_earlier_version_has_no_energy(folder, monkeypatch, tmp_path):
    monkeypatch.setattr(efficiency, "call", lambda command: SACCT)
    rows = measured(folder)
    path = tmp_path / "efficiency.csv"
    path.write_text("".join(line.rpartition(",")[0] + "\n" for line in as_csv(rows).splitlines()))
    assert "energy" not in path.read_text()
    assert [row.energy_j for row in efficiency.read_csv(path)] == [None, None]


def test_the_table_is_csv_with_nothing_where_nothing_is_known(folder, monkeypatch):
    monkeypatch.setattr(efficiency, "call", lambda command: SACCT)
    rows = list(csv.DictReader(io.StringIO(as_csv(measured(folder)))))
    assert rows[0]["gpu_hours_requested"] == "0.0133" and rows[1]["gpu_hours_requested"] == ""
    text = as_text(measured(folder), folder)
    assert "24 s (5 min)" in text and "0.4 (2.0)" in text and "0.0 GPU-hours of training in 0.0 that jobs held" in text


def test_the_report_reads_back_what_was_written(folder, monkeypatch, tmp_path):
    monkeypatch.setattr(efficiency, "call", lambda command: SACCT)
    path = tmp_path / "efficiency.csv"
    efficiency.efficiency(profile=None, configfile=[], folder=folder, out=path, as_json=False)
    back, rows = efficiency.read_csv(path), measured(folder)
    assert [efficiency.cells(row) for row in back] == [efficiency.cells(row) for row in rows]
    path.write_text("what,jobs\na,1\n")
    with pytest.raises(UserError, match="run the rule measure_efficiency"):
        efficiency.read_csv(path)


def test_an_experiment_of_which_nothing_has_run_says_so(tmp_path):
    assert "nothing has run there yet" in as_text(measured(tmp_path), tmp_path)

"""Scoring against solaris: time for the same counts, then time and memory against the number of buildings.

    python -m benchmarks.scoring [--sizes 10000 100000 1000000] [--rounds 2] [--scratch FOLDER]

First both evaluators go from the same two CSVs of 680 tiles with 14 buildings each to counts per tile and the IoU of
every building, in turns, and both must be identical. Then `python -m sspipe score` runs on copies of these tiles under
other names, so its counts must be solaris's times the number of copies. Its CPU time and the peak of its memory it
reads itself, from the kernel; whether CPU time is linear in the buildings is said below the table. Ten million
buildings (`--sizes 100000 10000000`) take some ten minutes of an idle core, 6 GB of disk and 1.2 GiB of memory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import shapely

from benchmarks.side_by_side import in_turns, ratio, result, table
from tests.score.against_solaris import our_result, solaris_result

TILES, BUILDINGS = 680, 14
SETTINGS = {"iou_threshold": 0.5, "min_area_px": 80.0}
TARGET = 40
# With fewer buildings, the second that Python takes to start is a good part of the time.
LEAST = 50_000
# The command, and what it used. Of VmHWM, not ru_maxrss: there a process is charged with what its parent held when it
# was forked.
CHILD = """
import json, re, resource, sys
from pathlib import Path
from sspipe.cli import main
status = main(["score", *sys.argv[1:]])
used = resource.getrusage(resource.RUSAGE_SELF)
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]
print(json.dumps({"cpu_seconds": used.ru_utime + used.ru_stime, "peak_kib": int(peak)}))
sys.exit(status)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[10_000, 100_000, 1_000_000], help="buildings")
    parser.add_argument("--rounds", type=int, default=2, help="how often both evaluators run")
    parser.add_argument("--scratch", type=Path, help="folder for the files; default: the system's temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.scratch) as name:
        folder = Path(name)
        truth, proposals = city()
        files = folder / "truth.csv", folder / "proposals.csv"
        for path, rows in zip(files, (truth, proposals), strict=True):
            rows.to_csv(path, index=False)
        seconds, counts = against_solaris(*files, options.rounds)
        faster = ratio(seconds["solaris"], seconds["sspipe"])
        print(f"\n{TILES} tiles x {BUILDINGS} buildings, CSVs to counts and IoU; identical: tp/fp/fn {counts}\n")
        table(
            [(side, f"{np.median(times):.2f}", len(times)) for side, times in seconds.items()],
            ("evaluator", "seconds", "rounds"),
        )
        print()
        measured = []
        for size in options.sizes:
            measured.append(at_size(truth, proposals, counts, size, folder))
            print(f"{measured[-1]['buildings']} buildings: done", file=sys.stderr, flush=True)
    table(
        [
            (
                f"{row['buildings']:,}",
                f"{row['csv_mb']:,.0f}",
                f"{row['seconds']:.1f}",
                f"{row['cpu_seconds']:.1f}",
                f"{row['cpu_seconds'] / row['buildings'] * 1e6:.1f}",
                f"{row['peak_mib']:,.0f}",
            )
            for row in measured
        ],
        ("buildings", "CSVs, MB", "seconds", "CPU s", "CPU us a building", "peak, MiB"),
    )
    each = {row["buildings"]: row["cpu_seconds"] / row["buildings"] for row in measured if row["buildings"] >= LEAST}
    linearity = {}
    if len(each) > 1:
        small, large = min(each), max(each)
        linearity = {"from": small, "to": large, "cpu_a_building": round(each[large] / each[small], 3)}
        print(
            f"\nCPU time a building at {large:,}: {each[large] / each[small]:.2f} times that at {small:,} (linear: 1)"
        )
    result(
        "scoring",
        ratio=faster,
        target=TARGET,
        against="solaris 0.4.0",
        seconds={side: [round(each, 3) for each in times] for side, times in seconds.items()},
        sizes=measured,
        linearity=linearity,
    )


def city() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Truth and proposals of 680 tiles: turned rectangles, each proposed once and moved a little, confidences apart."""
    random = np.random.default_rng(0)
    count = TILES * BUILDINGS
    centre, size = random.uniform(20, 880, (count, 2)), random.uniform(9, 40, (count, 2))
    angle = random.uniform(0, np.pi, count)
    corner = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) / 2 * size[:, None]
    cosine, sine = np.cos(angle)[:, None], np.sin(angle)[:, None]
    x = centre[:, :1] + corner[..., 0] * cosine - corner[..., 1] * sine
    y = centre[:, 1:] + corner[..., 0] * sine + corner[..., 1] * cosine
    there = np.stack([x, y], axis=2)
    moved = there + random.normal(0, 2.5, (count, 1, 2))
    ids = np.repeat([f"tile_{number}" for number in range(TILES)], BUILDINGS)
    tables = [
        pd.DataFrame({"ImageId": ids, "PolygonWKT_Pix": shapely.to_wkt(shapely.polygons(points), rounding_precision=3)})
        for points in (there, moved)
    ]
    # Ranks: solaris sorts ties unstably.
    return tables[0], tables[1].assign(Confidence=random.permutation(count))


def against_solaris(truth: Path, proposals: Path, rounds: int) -> tuple[dict[str, list[float]], tuple[int, int, int]]:
    """Times both evaluators, and asserts that every count and every IoU is the same.

    Returns:
        seconds of each round of each side, and tp, fp, fn in all.
    """
    given: dict[str, tuple] = {}

    def ours() -> None:
        given["sspipe"] = our_result(truth, proposals, **SETTINGS)

    def theirs() -> None:
        given["solaris"] = solaris_result(truth, proposals, **SETTINGS)

    ours()  # its first call imports and compiles what later calls have; solaris's takes a minute whatever came before
    seconds = in_turns({"solaris": theirs, "sspipe": ours}, rounds, warm_up=0)
    (counts, iou), (their_counts, their_iou) = given["sspipe"], given["solaris"]
    assert counts == their_counts, "counts of a tile differ"
    assert np.array_equal(iou, their_iou), "IoU of a building differs"
    tp, fp, fn = (sum(row[column] for row in counts) for column in (1, 2, 3))
    assert tp > fp > 0
    return seconds, (tp, fp, fn)


def at_size(
    truth: pd.DataFrame, proposals: pd.DataFrame, counts: tuple[int, int, int], size: int, folder: Path
) -> dict[str, float]:
    """Scores copies of the tiles in a process of its own, with at least `size` buildings.

    Returns:
        buildings; csv_mb of both files; seconds, start to end; cpu_seconds, of its own; peak_mib, its largest resident
        memory.
    """
    copies = -(-size // len(truth))
    paths = {name: folder / f"{name}-{copies}.csv" for name in ("truth", "proposals")}
    for path, rows in zip(paths.values(), (truth, proposals), strict=True):
        write_copies(rows, path, copies)
    out = folder / f"scores-{copies}.json"
    flags = [word for name, path in paths.items() for word in (f"--{name}", str(path))]
    begun = time.perf_counter()
    child = subprocess.run([sys.executable, "-c", CHILD, *flags, "--out", str(out)], capture_output=True, text=True)
    seconds = time.perf_counter() - begun
    assert child.returncode == 0, child.stderr
    used = json.loads(child.stdout.splitlines()[-1])
    scores = json.loads(out.read_text())
    assert [scores[name] for name in ("tp", "fp", "fn")] == [copies * count for count in counts], "counts differ"
    megabytes = sum(path.stat().st_size for path in paths.values()) / 1e6
    for path in paths.values():
        path.unlink()
    return {
        "buildings": copies * len(truth),
        "csv_mb": round(megabytes, 1),
        "seconds": round(seconds, 2),
        "cpu_seconds": round(used["cpu_seconds"], 2),
        "peak_mib": round(used["peak_kib"] / 1024),
    }


def write_copies(rows: pd.DataFrame, path: Path, copies: int) -> None:
    """Writes a table again and again, each time under other image ids."""
    header, body = rows.to_csv(index=False).split("\n", 1)
    with path.open("w") as handle:
        handle.write(f"{header}\n")
        for copy in range(copies):
            handle.write(body.replace("tile_", f"copy_{copy}_tile_"))


if __name__ == "__main__":
    main()

"""What "How it was made" tells of data, splits, machines and cost: results in, words out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sspipe.config import Config, Split
from sspipe.data.byte_progress import human_bytes
from sspipe.operate.efficiency import JOULES_PER_KWH, Row
from sspipe.report import wording
from sspipe.report.credit import credit
from sspipe.report.results import Results

Fact = tuple[str, str]
NOT_KNOWN = "not known"


def data_facts(results: Results, manifest: Mapping[str, Any], source: str) -> list[Fact]:
    """Where the data come from, which archive it was, and what is used of it.

    Args:
        results: of the experiment.
        manifest: raw.json.
        source: archive.source, or `synthetic` where the data are generated.
    """
    data, footprints = results.data, results.data["footprints"]
    turned = data["orientation"]
    return [
        ("Data", credit(source).sentence),
        ("Source", _origin(results.config, source)),
        *_archive(results.config, manifest, source),
        ("Tiles in use", f"{data['tiles']:,} from {data['strips']:,} flight strips"),
        ("Tiles dropped", _dropped(data.get("left_out"))),
        ("Orientation", f"{turned.get('0', 0):,} tiles seen from the north, {turned.get('1', 0):,} from the south"),
        ("No-data", f"{wording.percent(data['no_data_fraction'])} of radar pixels on average"),
        ("Buildings", f"{data['buildings']:,} footprints over all tiles (a building on several tiles counts on each)"),
        (
            "Footprints",
            f"{footprints['kept']:,} as they were, {footprints['repaired']:,} repaired, "
            f"{footprints['skipped']:,} skipped",
        ),
    ]


def split_rows(results: Results) -> list[dict[str, Any]]:
    """One row a split: how it was made, how many tiles each part has, and what was trained on it."""
    rows = []
    for name in results.splits:
        subsets = results.tiles.loc[results.tiles["split"] == name, "subset"].value_counts()
        counts = {part: int(subsets.get(part, 0)) for part in ("train", "validation", "test")}
        guard = int(subsets.get("guard", 0) + subsets.get("validation_guard", 0))
        settings = results.config.splits.get(name)
        rows.append({"split": name, "how": _how_split(settings), **counts, "guard": guard})
    return rows


def machine_facts(trains: Sequence[Mapping[str, Any]]) -> list[Fact]:
    """Versions, commit, devices, ranks, precision, seeds and dates of all trainings."""
    versions: dict[str, list[Any]] = {}
    for record in trains:
        for name, version in record["versions"].items():
            versions.setdefault(name, []).append(version)
    first, last = min(record["started"] for record in trains), max(record["finished"] for record in trains)
    return [
        ("Versions", ", ".join(f"{name} {_distinct(found)}" for name, found in sorted(versions.items()))),
        ("Commit", _distinct(record["commit"] for record in trains)),
        ("Hardware", _distinct(record["device"] for record in trains)),
        ("Ranks", f"{_distinct(record.get('ranks') for record in trains)} a training"),
        ("Precision", _distinct(record.get("precision") for record in trains)),
        ("Seeds", _distinct(record["seed"] for record in trains)),
        ("Dates", f"{minute(first)} to {minute(last)}, UTC"),
    ]


def cost_facts(trains: Sequence[Mapping[str, Any]], rows: Sequence[Row]) -> list[Fact]:
    """Time, GPU-hours and energy of all trainings; what nothing has measured is called not known.

    Args:
        trains: the content of each train.json.
        rows: of efficiency.csv.
    """
    trainings = [row for row in rows if row.what.startswith("train/")]
    used = sum(record.get("gpu_seconds") or 0 for record in trains) / 3600
    held = [row.gpu_hours_requested for row in trainings if row.gpu_hours_requested is not None]
    if used:
        gpu_hours = f"{used:.2f} spent training"
        gpu_hours += f", in {sum(held):.2f} that jobs held" if held else "; what jobs held is known under Slurm alone"
    else:
        gpu_hours = "none: trained without a GPU"
    return [
        ("Trainings", f"{len(trains)}, {wording.time(sum(record['seconds'] for record in trains))} in all"),
        ("GPU-hours", gpu_hours),
        ("Energy", _energy(trainings)),
    ]


def minute(moment: str) -> str:
    """An ISO 8601 moment without seconds and zone."""
    return moment[:16].replace("T", " ")


def _origin(config: Config, source: str) -> str:
    archive = config.archive
    if source == "s3":
        return f"s3://{archive.bucket}/{archive.key}" + (f" at {archive.endpoint_url}" if archive.endpoint_url else "")
    if source == "synthetic":
        city = archive.synthetic
        return f"generated: {city.strips} strips of {city.tiles_per_strip} tiles, seed {city.seed}"
    return str(archive.url if source == "url" else archive.path)


def _archive(config: Config, manifest: Mapping[str, Any], source: str) -> list[Fact]:
    if source == "table":
        return []
    digest = manifest.get("sha256")
    if digest is None:
        return [("Archive", "size and checksum were not recorded: it was unpacked by an earlier version")]
    pinned = config.archive.sha256
    if source == "synthetic" or pinned is None:
        agrees = "not pinned by the configuration"
    else:
        agrees = "as the configuration pins it" if pinned == digest else f"not {pinned}, which the configuration pins"
    return [("Archive", f"{human_bytes(manifest['bytes'])} ({manifest['bytes']:,} bytes), sha256 {digest}, {agrees}")]


def _dropped(left_out: Mapping[str, Any] | None) -> str:
    if left_out is None:
        return NOT_KNOWN
    if not left_out["count"]:
        return "none"
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in left_out["reasons"].items())
    return f"{left_out['count']:,} ({wording.percent(left_out['share'])} of all): {reasons}"


def _how_split(settings: Split | None) -> str:
    if settings is None:
        return "not in the configuration any more"
    validation = f"{_as_set(settings.validation_fraction)} of the rest for validation"
    if settings.kind == "random":
        share = _as_set(settings.test_fraction)
        return f"at random, seed {settings.seed}: {share} for test, {validation}"
    if settings.kind == "baseline_x":
        return f"the challenge baseline’s: easternmost of five slices for test, no guard, {validation}"
    line = (
        f"east of {settings.test_line_m:,.0f} m for test"
        if settings.test_line_m is not None
        else f"the easternmost {_as_set(settings.test_fraction)} for test"
    )
    return f"by place, with a guard: {line}, {validation}"


def _as_set(share: float) -> str:
    """A share that somebody chose: no decimals but theirs."""
    return f"{100 * share:g}\u00a0%"


def _energy(trainings: Sequence[Row]) -> str:
    known = [row.energy_j for row in trainings if row.energy_j is not None]
    if not known:
        return f"{NOT_KNOWN}: nothing measured it (Slurm does, where the site has set AcctGatherEnergyType)"
    total = f"{sum(known) / JOULES_PER_KWH:.3g} kWh taken by the nodes while trainings ran, other jobs on them included"
    missing = len(trainings) - len(known)
    return total + (f"; of {missing} training{'s' if missing > 1 else ''} it is not known" if missing else "")


def _distinct(values: Iterable[Any]) -> str:
    words = sorted({str(value) for value in values if value is not None and value != ""})
    return wording.listed(words, most=6) if words else "not recorded"

"""Which variants can be told apart: paired differences to a baseline, on the same resamples of the same test tiles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sspipe.errors import UserError
from sspipe.files import read_json, read_table, whole_file, write_json
from sspipe.log import say, warn
from sspipe.score.measures import ratios, resampled, score
from sspipe.score.uncertainty import interval

COMPARED = {"f1": "F1", "pixel_iou": "pixel IoU"}
# Percentile intervals of fewer units hold the truth clearly less often than they say.
FEW_UNITS = 20
MOST_DIGITS = 9
SPREAD = ("f1", "precision", "recall", "f1_macro", "pixel_iou", "pixel_iou_pooled", "matched_iou", "boundary_iou")


@dataclass(frozen=True)
class Run:
    """Scores of one run.

    Attributes:
        path: of scores.json.
        scores: its content.
        tiles: the tiles.parquet beside it, in the order of tile ids.
    """

    path: Path
    scores: dict[str, Any]
    tiles: pd.DataFrame

    @property
    def units(self) -> str:
        """What was resampled, in words."""
        count, over, block_m = (self.scores[name] for name in ("bootstrap_units", "bootstrap_over", "block_m"))
        return f"{count} test tiles" if over == "tiles" else f"{count} blocks of {block_m:g} m of the test area"


def compare_scores(
    *,
    scores: list[Path],
    baseline: str,
    bootstrap_samples: int,
    out_comparisons: Path,
    out_seeds: Path,
    out_statements: Path,
) -> None:
    """Stage: compares every variant with the baseline on each split, and sums each variant up over its seeds.

    comparisons.csv, one row per split, variant and measure (f1, pixel_iou): baseline; seeds, how many both have;
        difference, variant minus baseline, of the means over these seeds; low, high, its 95 % interval: both variants
        and all seeds are scored on each resample, so what is hard for all cancels out; smallest and largest difference
        of a seed; verdict; statement, a sentence.
    seeds.csv, one row per split, variant and measure: seeds, mean, standard_deviation (blank for one seed), low, high
        (the lowest and highest seed).
    comparisons.json: baseline, rule (how a verdict comes about), splits: for each, statements, notes, not_compared.

    A verdict is `better` or `worse` if the interval leaves out 0 and every seed's difference has the same sign, else
    `not distinguishable`.

    Args:
        scores: scores.json of every run; tiles.parquet lies beside each.
        baseline: variant that the others are compared with.
        bootstrap_samples: resamples of the tiles or blocks.
        out_comparisons: comparisons.csv.
        out_seeds: seeds.csv.
        out_statements: comparisons.json.

    Raises:
        UserError: a run occurs twice, or runs of one split were scored on other tiles, blocks or settings.
    """
    splits = _read(scores)
    rows: list[dict[str, Any]] = []
    summary: dict[str, Any] = {}
    for split, variants in splits.items():
        found: list[dict[str, Any]] = []
        alone = []
        for variant in [name for name in variants if name != baseline and baseline in variants]:
            if variants[variant].keys() & variants[baseline].keys():
                found += compare(split, variant, variants[variant], baseline, variants[baseline], bootstrap_samples)
            else:
                alone.append(variant)
        if baseline not in variants:
            warn(f"split {split}: no scores of the baseline {baseline}, so nothing is compared; see score.baseline")
            alone = list(variants)
        rows += found
        summary[split] = {
            "statements": [row["statement"] for row in found],
            "notes": _notes(variants, found),
            "not_compared": alone,
        }
        for row in found:
            say(row["statement"])
    columns = ["split", "variant", "measure", "baseline", "seeds", "difference", "low", "high"]
    columns += ["smallest", "largest", "verdict", "statement"]
    with whole_file(out_comparisons) as partial:
        pd.DataFrame(rows, columns=columns).to_csv(partial, index=False)
    with whole_file(out_seeds) as partial:
        over_seeds(splits).to_csv(partial, index=False)
    rule = (
        "better or worse: the 95 % interval of the difference leaves out 0, and every seed's difference has the same "
        "sign; otherwise not distinguishable, which does not say that two variants are equal"
    )
    write_json(out_statements, {"baseline": baseline, "rule": rule, "splits": summary})


def compare(
    split: str,
    variant: str,
    runs: dict[int, Run],
    baseline: str,
    baseline_runs: dict[int, Run],
    bootstrap_samples: int,
) -> list[dict[str, Any]]:
    """Compares two variants on the seeds that both have.

    Returns:
        One row of comparisons.csv for each measure; a measure that is undefined for a run is left out.
    """
    seeds = sorted(runs.keys() & baseline_runs.keys())
    first = baseline_runs[seeds[0]]
    units = first.tiles["block"].to_numpy(dtype=object)
    rows = []
    for measure, words in COMPARED.items():
        differences, drawn = [], []
        for seed in seeds:
            points, resamples = [], []
            for run in (runs[seed], baseline_runs[seed]):
                part = {measure: ratios(run.tiles)[measure]}
                points.append(score(measure, *(each.sum() for each in part[measure])))
                resamples.append(resampled(part, bootstrap_samples, units)[measure])
            if points[0] is None or points[1] is None:
                break
            differences.append(points[0] - points[1])
            drawn.append(resamples[0] - resamples[1])
        if len(differences) < len(seeds):
            continue
        low, high = interval(np.mean(drawn, axis=0)) if first.scores["bootstrap_units"] > 1 else (None, None)
        row = {
            "split": split,
            "variant": variant,
            "measure": measure,
            "baseline": baseline,
            "seeds": len(seeds),
            "difference": float(np.mean(differences)),
            "low": low,
            "high": high,
            "smallest": min(differences),
            "largest": max(differences),
        }
        row["verdict"] = verdict(row)
        row["statement"] = _statement(row, words, first.units)
        rows.append(row)
    return rows


def verdict(row: dict[str, Any]) -> str:
    """`better`, `worse` or `not distinguishable`, by the rule of `compare_scores`."""
    if row["low"] is not None and row["low"] > 0 and row["smallest"] > 0:
        return "better"
    if row["high"] is not None and row["high"] < 0 and row["largest"] < 0:
        return "worse"
    return "not distinguishable"


def over_seeds(splits: dict[str, dict[str, dict[int, Run]]]) -> pd.DataFrame:
    """Mean and spread of each variant's scores over its seeds: the rows of seeds.csv."""
    rows = []
    for split, variants in splits.items():
        for variant, runs in variants.items():
            for measure in SPREAD:
                values = [run.scores[measure] for run in runs.values() if run.scores.get(measure) is not None]
                if not values:
                    continue
                rows.append(
                    {
                        "split": split,
                        "variant": variant,
                        "measure": measure,
                        "seeds": len(values),
                        "mean": float(np.mean(values)),
                        "standard_deviation": float(np.std(values, ddof=1)) if len(values) > 1 else np.nan,
                        "low": min(values),
                        "high": max(values),
                    }
                )
    columns = ["split", "variant", "measure", "seeds", "mean", "standard_deviation", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def _read(paths: list[Path]) -> dict[str, dict[str, dict[int, Run]]]:
    """Runs by split, variant and seed, in the order given; all runs of a split have the same tiles and settings."""
    splits: dict[str, dict[str, dict[int, Run]]] = {}
    firsts: dict[str, Run] = {}
    for path in map(Path, paths):
        scores = read_json(path)
        tiles = read_table(path.with_name("tiles.parquet")).sort_values("tile_id", ignore_index=True)
        run = Run(path, scores, tiles)
        seeds = splits.setdefault(scores["split"], {}).setdefault(scores["variant"], {})
        if scores["seed"] in seeds:
            raise UserError(f"{path}: this run was already given by {seeds[scores['seed']].path}; give each run once")
        seeds[scores["seed"]] = run
        _refuse_other_ground(firsts.setdefault(scores["split"], run), run)
    return splits


def _refuse_other_ground(first: Run, run: Run) -> None:
    columns = ["tile_id", "block"]
    if not first.tiles[columns].equals(run.tiles[columns]):
        raise UserError(
            f"{run.path}: scored on other test tiles or blocks than {first.path}, so they cannot be compared; "
            f"delete both folders and run score_polygons again"
        )
    for setting in ("iou_threshold", "min_area_px"):
        if first.scores[setting] != run.scores[setting]:
            raise UserError(
                f"{run.path}: {setting} is {run.scores[setting]:g}, but {first.scores[setting]:g} in {first.path}; "
                f"run score_polygons again"
            )


def _statement(row: dict[str, Any], words: str, units: str) -> str:
    """A row of comparisons.csv as a sentence."""
    side = "above" if row["difference"] >= 0 else "below"
    text = f"On the {row['split']} split, {words} of {row['variant']} is {_shown(abs(row['difference']))} {side} "
    text += f"{row['baseline']}'s"
    if row["low"] is None:
        return f"{text}; all test tiles are one block, so no interval can be had: not distinguishable."
    text += f" (95 % interval of the difference {_shown(row['low'], '+')} to {_shown(row['high'], '+')} over {units}"
    text += f", mean of {row['seeds']} seeds" if row["seeds"] > 1 else ", one seed"
    text += ")"
    if row["verdict"] != "not distinguishable":
        return f"{text}: distinguishable, {row['verdict']}."
    if row["low"] > 0 or row["high"] < 0:
        spread = f"{_shown(row['smallest'], '+')} to {_shown(row['largest'], '+')}"
        return f"{text}: not distinguishable, because seeds disagree in the sign ({spread})."
    return f"{text}: not distinguishable."


def _shown(value: float, sign: str = "") -> str:
    """Three digits, and more where these would all be 0: a bound that is not 0 decides a verdict by its sign."""
    digits = 3
    while value and digits < MOST_DIGITS and not round(value, digits):
        digits += 1
    return f"{value:{sign}.{digits}f}"


def _notes(variants: dict[str, dict[int, Run]], found: list[dict[str, Any]]) -> list[str]:
    """What the intervals of a split do not hold."""
    notes = ["The intervals hold the spread between places, not that between trainings."]
    first = next(iter(next(iter(variants.values())).values()))
    if first.scores["bootstrap_units"] < FEW_UNITS:
        notes.append(f"Only {first.units}: an interval from so few is too narrow, so take its verdicts as hints.")
    if all(len(runs) == 1 for runs in variants.values()):
        notes.append("One seed a variant: how far scores spread between trainings is not known.")
    if len(found) > 1:
        notes.append(
            f"{len(found)} comparisons, each at 95 %: if all variants were equal to the baseline, one or more would "
            f"still come out as distinguishable in up to {1 - 0.95 ** len(found):.0%} of such experiments."
        )
    return notes

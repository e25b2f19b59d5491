"""What the score stage's paired comparisons with a baseline say, read and put into plain sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sspipe.report.records import read_csv, read_record
from sspipe.report.wording import listed, number, quoted
from sspipe.score.comparison import FEW_UNITS

COLUMNS = ["split", "variant", "measure", "baseline", "seeds", "difference", "low", "high", "verdict", "statement"]
VERDICTS = {"better": "higher F1", "worse": "lower F1", "not distinguishable": "not distinguishable"}


@dataclass(frozen=True)
class Paired:
    """Comparisons of every variant with one of them.

    Attributes:
        table: comparisons.csv.
        baseline: the variant that the others are compared with.
        rule: how a verdict comes about.
        rows: one row per split, variant and measure: the columns of comparisons.csv.
        notes: of each split, what the intervals do not hold.
        not_compared: of each split, variants that share no seed with the baseline.
    """

    table: Path
    baseline: str
    rule: str
    rows: pd.DataFrame
    notes: Mapping[str, Sequence[str]]
    not_compared: Mapping[str, Sequence[str]]

    def of(self, split: str, measure: str = "f1") -> pd.DataFrame:
        """The comparisons on one split."""
        return self.rows[(self.rows["split"] == split) & (self.rows["measure"] == measure)]


def read_paired(path: Path) -> Paired:
    """Reads comparisons.json and the comparisons.csv beside it.

    Raises:
        UserError: one of the two is missing or of another version.
    """
    path = Path(path)
    record, table = read_record(path, ("baseline", "rule", "splits")), path.with_suffix(".csv")
    rows = read_csv(table, COLUMNS, "compare_scores")
    splits = record["splits"]
    return Paired(
        table=table,
        baseline=record["baseline"],
        rule=record["rule"],
        rows=rows,
        notes={split: part["notes"] for split, part in splits.items()},
        not_compared={split: part["not_compared"] for split, part in splits.items()},
    )


def verdict_sentence(paired: Paired, table: pd.DataFrame, split: str) -> str:
    """Says which variants of a split can be told apart from the baseline by F1.

    Args:
        paired: the comparisons.
        table: rows of the split from `comparison.table_one`.
        split: the split.
    """
    titles = {row["variant"]: _with_role(row) for _, row in table.iterrows()}
    baseline = table[(table["variant"] == paired.baseline) & table["f1"].notna()]
    if baseline.empty:
        return f"Nothing is compared: the baseline, {quoted(titles.get(paired.baseline, paired.baseline))}, has no F1."
    rows = paired.of(split)
    rows = rows[rows["variant"].isin(titles)]
    named = f"{quoted(titles[paired.baseline])} (F1 {number(baseline['f1'].iloc[0])})"
    if rows.empty:
        return f"No other variant is compared with the baseline, {named}."
    parts = []
    for verdict, words in VERDICTS.items():
        those = [quoted(titles[name]) for name in rows.loc[rows["verdict"] == verdict, "variant"]]
        if those:
            parts.append(f"{words}: {listed(those, 5)}")
    return f"Against the baseline, {named}, on the same test ground: {'; '.join(parts)}."


def caution_sentence(rows: pd.DataFrame, units: int, by_block: bool) -> str:
    """Says why verdicts are hints and not proof; empty if nothing is compared or none of the known reasons holds.

    Args:
        rows: the comparisons of one split, of one measure.
        units: how many tiles or blocks of ground were resampled.
        by_block: whether they were blocks.
    """
    if rows["difference"].isna().all():
        return ""
    reasons = []
    if units < FEW_UNITS:
        reasons.append(f"the test ground is only {units} {'blocks' if by_block else 'tiles'}")
    if (rows["seeds"] == 1).all():
        reasons.append("each variant was trained once (one seed)")
    if len(rows) > 1:
        reasons.append(f"{len(rows)} comparisons were made at 95 % each")
    return f"Take this as hints, not proof: {listed(reasons)}." if reasons else ""


def statements(paired: Paired, table: pd.DataFrame, split: str) -> list[str]:
    """Every comparison of a split as a sentence, with titles in place of the variants' names."""
    titles = dict(zip(table["variant"], table["title"], strict=True))
    base = quoted(titles.get(paired.baseline, paired.baseline))
    told = []
    for _, row in paired.rows[paired.rows["split"] == split].iterrows():
        before, after = f" of {row['variant']} is ", f" {row['baseline']}'s"
        title = quoted(titles.get(row["variant"], row["variant"]))
        sentence = str(row["statement"]).replace(before, f" of {title} is ", 1)
        told.append(sentence.replace(after, f" that of {base}", 1))
    return told


def _with_role(row: pd.Series) -> str:
    role = row["role"]
    return row["title"] if role == "candidate" or role in row["title"] else f"{row['title']} ({role})"

"""Masks as runs: stretches of pixels in a row. A tile of 810,000 pixels has a few thousand, and work on these is quick.

A run is known by its row, its first column and the column after its last. Runs are in the order of a row-by-row scan.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components


@dataclass(frozen=True)
class Runs:
    """Stretches of pixels.

    Attributes:
        row: (n,) int64.
        start: (n,) int64, first column.
        stop: (n,) int64, column after the last.
    """

    row: np.ndarray
    start: np.ndarray
    stop: np.ndarray

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, chosen: np.ndarray) -> Runs:
        return Runs(self.row[chosen], self.start[chosen], self.stop[chosen])

    @property
    def length(self) -> np.ndarray:
        """(n,) int64, pixels."""
        return self.stop - self.start


def runs_of(mask: np.ndarray) -> Runs:
    """Finds the runs of a mask, (H, W) bool."""
    return runs_of_labels(mask)[0]


def runs_of_labels(labels: np.ndarray) -> tuple[Runs, np.ndarray]:
    """Finds the runs of equal labels.

    Args:
        labels: (H, W) bool or integers; 0 is nothing.

    Returns:
        the runs, and the label of each.
    """
    height, width = labels.shape
    # Nothing before the first row and after each: so no run goes over the end of its row.
    padded = np.zeros(height * (width + 1) + 1, labels.dtype)
    padded[1:].reshape(height, width + 1)[:, :width] = labels
    changes = np.flatnonzero(padded[1:] != padded[:-1])
    if labels.dtype == bool:
        start, stop = changes[0::2], changes[1::2]
        label = np.ones(len(start), bool)
    else:
        # Behind a change another run may begin at once.
        label = padded[changes + 1]
        some = np.flatnonzero(label)
        start, stop, label = changes[some], changes[some + 1], label[some]
    row = start // (width + 1)
    offset = row * (width + 1)
    return Runs(row, start - offset, stop - offset), label


def components_of(width: int, *several: Runs) -> list[np.ndarray]:
    """Numbers the connected components of one or more masks; neighbours are the four that share an edge.

    Args:
        width: of the masks.
        several: the runs of each mask.

    Returns:
        For each mask (n,) int64, the component of each run, from 0.
    """
    stride = width + 1
    below, number, before = [], [], 0
    for runs in several:
        start, stop = runs.row * stride + runs.start, runs.row * stride + runs.stop
        # The runs of the next row that lie under a run: those that stop behind its start and start before its stop.
        first = np.searchsorted(stop, start + stride, side="right")
        last = np.searchsorted(start, stop + stride, side="left")
        number.append(np.maximum(last - first, 0))
        below.append(ranges(first, number[-1]) + before)
        before += len(runs)
    if before == 0:
        return [np.empty(0, np.int64) for _ in several]
    begins = np.concatenate([[0], np.cumsum(np.concatenate(number))])
    linked = np.concatenate(below)
    links = csr_array((np.ones(len(linked)), linked, begins), shape=(before, before))
    component = connected_components(links, directed=False)[1].astype(np.int64)
    # One call for all masks, for the call is what takes the time. They are numbered in the order of their first runs,
    # so a mask's numbers begin where those of the one before end.
    parts = np.split(component, np.cumsum([len(runs) for runs in several])[:-1])
    return [part - part.min(initial=before) for part in parts]


def pixels_of(runs: Runs, width: int) -> np.ndarray:
    """(p,) int64: positions of all pixels of the runs in the raveled mask, run by run."""
    return ranges(runs.row * width + runs.start, runs.length)


def sums_over(runs: Runs, values: np.ndarray) -> np.ndarray:
    """(n,) float64: sum of `values`, (H, W), over the pixels of each run."""
    if len(runs) == 0:
        return np.empty(0)
    taken = values.ravel()[pixels_of(runs, values.shape[1])].astype(np.float64)
    return np.add.reduceat(taken, np.cumsum(runs.length) - runs.length)


def outlines_of(runs: Runs, owner: np.ndarray, owners: int) -> np.ndarray:
    """Draws the outline of each instance along the edges of its pixels, corners alone.

    Each run has two upright edges, at its start and at its stop. Where rows meet, the ends of an instance's edges, from
    left to right, are joined two by two: between the two the instance is on one side of the line alone, and there runs
    a level edge (of no length where an edge goes straight on). Edges at a start are walked up, those at a stop down, so
    the instance is always on the right. Where two pixels of an instance touch at a corner alone, the walk keeps to the
    hole between them: a ring never meets itself, only other rings.

    Args:
        runs: of 4-connected instances.
        owner: (n,) number of each run's instance.
        owners: how many instances there are, each with a run.

    Returns:
        (owners,) object, shapely polygons, x right and y down from the corner of the first pixel; valid, with holes.
    """
    count = len(runs)
    if count == 0:
        return np.empty(0, object)
    # Edges 0 to n - 1 are starts, n to 2 n - 1 stops; each edge has an upper and a lower end.
    x = np.concatenate([runs.start, runs.stop])
    edge = np.tile(np.arange(2 * count), 2)
    line = np.concatenate([runs.row, runs.row, runs.row + 1, runs.row + 1])
    is_start = edge < count
    is_upper = np.repeat([True, False], 2 * count)
    # By instance, line, column, starts before stops, in one number.
    width, height = int(x.max()) + 1, int(line.max()) + 1
    order = np.argsort(((owner[edge % count] * height + line) * width + x[edge]) * 2 + ~is_start, kind="stable")
    one, other = order[0::2], order[1::2]
    # A start is left at its upper end, a stop at its lower; at the other end it is met.
    left = is_start[one] == is_upper[one]
    leaving, met = edge[np.where(left, one, other)], edge[np.where(left, other, one)]
    following = np.empty(2 * count, np.int64)
    following[leaving] = met
    walk, begins = _cycles(following)

    ring = np.zeros(2 * count, np.int64)
    ring[begins] = 1
    ring = np.cumsum(ring) - 1
    after = following[walk]
    turns = x[walk] != x[after]
    y = runs.row[walk % count] + (walk >= count)
    corners = np.empty((2 * int(turns.sum()), 2))
    corners[0::2, 0], corners[1::2, 0] = x[walk][turns], x[after][turns]
    corners[0::2, 1] = corners[1::2, 1] = y[turns]
    rings = shapely.linearrings(corners, indices=np.repeat(ring[turns], 2))
    # Walked down at x and up at x: the ring's area, below 0 for a hole.
    area = np.bincount(ring, weights=np.where(walk >= count, x[walk], -x[walk]))
    ring_owner = owner[walk[begins] % count]
    shells_first = np.lexsort((area < 0, ring_owner))
    polygons: np.ndarray = shapely.polygons(rings[shells_first], indices=ring_owner[shells_first])
    assert len(polygons) == owners
    return polygons


def _cycles(following: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Walks the cycles of a permutation: its elements, cycle by cycle, and where in them each cycle begins.

    All cycles at once: with every round each element looks twice as far ahead, so a ring of a thousand takes ten.
    """
    everything = np.arange(len(following))
    # The least element of each cycle is its head.
    head, ahead = np.minimum(everything, following), following
    while True:
        nearer = np.minimum(head, head[ahead])
        if np.array_equal(nearer, head):
            break
        head, ahead = nearer, ahead[ahead]
    # Steps to the head, which is where walking ends.
    ahead = np.where(everything == head, everything, following)
    steps = (ahead != everything).astype(np.int64)
    while (further := steps[ahead]).any():
        steps += further
        ahead = ahead[ahead]
    # The head first, then from the farthest to the nearest.
    steps[everything == head] = len(following)
    walk = np.argsort((head + 1) * (len(following) + 1) - steps)
    return walk, np.flatnonzero(steps[walk] == len(following))


def ranges(first: np.ndarray, number: np.ndarray) -> np.ndarray:
    """All of first, first + 1, … first + number - 1, one range after the other."""
    ends = np.cumsum(number)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(first - (ends - number), number)

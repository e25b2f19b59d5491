"""Two CSVs of any size, in parts that fit into memory: all rows of an image, of both files, are in one part.

Small files are one part and never touch the disk. Of larger ones the rows are first dealt out by image to temporary
files, and then taken part by part; so the memory needed is that of one part, whatever the size of the files, as long as
no single image is larger than that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import shapely

from sspipe.data.spacenet_csv import CONFIDENCE, HEIGHT, read_spacenet_csv, spacenet_csv_chunks, text_size
from sspipe.log import progress, say
from sspipe.score.input_checks import NOWHERE, Extent, extent_of, refuse_other_frames

# Of both files together, as text. Polygons take about five times as much memory as their text, and matching them again.
BYTES_AT_ONCE = 32 * 2**20
# Files open at the same time; the usual limit is 1024.
MOST_PARTS = 400

_SCHEMA = pa.schema(
    [
        ("image_id", pa.large_string()),
        ("building_id", pa.large_string()),
        ("geometry", pa.large_binary()),
        ("confidence", pa.float64()),
        ("height_m", pa.float64()),
    ]
)


def pairs_in_parts(
    truth: Path, proposals: Path, scratch: Path, bytes_at_once: int = BYTES_AT_ONCE, *, heights: bool = True
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Reads a pair of SpaceNet CSVs, part by part.

    Args:
        truth: a SpaceNet CSV.
        proposals: a SpaceNet CSV.
        scratch: empty folder for what does not fit into memory: about as much as both files.
        bytes_at_once: size of a part, in bytes of the files.
        heights: read the buildings' heights; else their column is ignored.

    Yields:
        truth and proposals of some images, as `read_spacenet_csv` gives them, in the order of the files.

    Raises:
        UserError: a file cannot be read (`read_spacenet_csv`), or the two have different coordinates.
    """
    paths = {"truth": Path(truth), "proposals": Path(proposals)}
    measures = {"truth": [HEIGHT] if heights else [], "proposals": [CONFIDENCE]}
    count = min(MOST_PARTS, -(-sum(text_size(path) for path in paths.values()) // bytes_at_once))
    if count <= 1:
        tables = {name: read_spacenet_csv(path, measures=measures[name]) for name, path in paths.items()}
        extents = {name: extent_of(table) for name, table in tables.items()}
        refuse_other_frames(paths["truth"], extents["truth"], paths["proposals"], extents["proposals"])
        yield tables["truth"], tables["proposals"]
        return
    say(f"dealing the rows of both files out to {count} parts in {scratch}")
    extents = {name: _deal(path, measures[name], scratch, name, count) for name, path in paths.items()}
    refuse_other_frames(paths["truth"], extents["truth"], paths["proposals"], extents["proposals"])
    for part in progress(range(count), "parts"):
        yield _part(scratch / f"truth-{part}"), _part(scratch / f"proposals-{part}")


def _deal(path: Path, measures: list[str], scratch: Path, name: str, count: int) -> Extent:
    """Writes each row to the file of its image's part; returns where the polygons lie."""
    extent, rows = NOWHERE, 0
    with ExitStack() as stack:
        writers = [
            stack.enter_context(pa.ipc.new_stream(str(scratch / f"{name}-{part}"), _SCHEMA)) for part in range(count)
        ]
        for table in spacenet_csv_chunks(path, measures=measures):
            extent += extent_of(table)
            rows += len(table)
            part_of = pd.util.hash_array(table["image_id"].to_numpy(dtype=object)) % np.uint64(count)
            table["geometry"] = shapely.to_wkb(table["geometry"].to_numpy(dtype=object))
            for part, group in table.groupby(part_of, sort=False):
                writers[int(part)].write_table(pa.Table.from_pandas(group, _SCHEMA, preserve_index=False))
    say(f"{path}: {rows} rows read")
    return extent


def _part(path: Path) -> pd.DataFrame:
    """Reads a part and removes its file."""
    with pa.OSFile(str(path)) as handle, pa.ipc.open_stream(handle) as reader:
        table = reader.read_all().to_pandas()
    path.unlink()
    table["geometry"] = shapely.from_wkb(table["geometry"].to_numpy(dtype=object))
    return table

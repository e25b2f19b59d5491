"""Four tiles of one's own with their table, and what gathering and indexing them gives."""

import json

import geopandas
import pandas as pd
import pytest
import shapely

from sspipe.data.catalog import index_tiles
from sspipe.data.gather import gather_tiles
from sspipe.errors import UserError
from tests.own_tiles import EO_BANDS, EPSG, NORTH, PIXEL_M, SAR_BANDS, SIZE_PX, WEST, write_own_tiles

FORM = {
    "size_px": SIZE_PX,
    "pixel_m": PIXEL_M,
    "epsg": EPSG,
    "sar_bands": SAR_BANDS,
    "eo_bands": EO_BANDS,
    "sar_range": (-40, 20),
    "eo_range": (0, 255),
}


FIRST, SECOND = "plot-000", "plot-001"


@pytest.fixture()
def own(tmp_path):
    """Four tiles: the first two of a GeoPackage, the others of a GeoJSON each."""
    return write_own_tiles(tmp_path / "place", tiles=4)


def gather(own, **changes):
    out, manifest = own.folder / "raw", own.folder / "raw.json"
    gather_tiles(table=own.table, out=out, manifest=manifest, **{**FORM, **changes})
    return out


def index(own, **changes):
    outputs = {f"out_{name}": own.folder / name for name in ("catalog", "footprints", "report")}
    form = {**FORM, **changes}
    index_tiles(raw=own.folder / "raw", layout="table", max_left_out=0, processes=1, **form, **outputs)
    catalog = pd.read_parquet(outputs["out_catalog"])
    return catalog, geopandas.read_parquet(outputs["out_footprints"]), json.loads(outputs["out_report"].read_text())


def refused(own, **changes):
    """The message of a table that cannot be used, which leaves nothing behind."""
    with pytest.raises(UserError) as error:
        gather(own, **changes)
    assert not (own.folder / "raw").exists() and not (own.folder / "raw.json").exists()
    return str(error.value)


def set_cell(own, tile_id, column, value):
    own.row(tile_id)[column] = value
    own.write_table()


def set_houses(own, tile_id, name, table, **form):
    """Gives a tile a file of footprints of its own."""
    table.to_file(own.folder / "houses" / name, engine="pyogrio", **form)
    set_cell(own, tile_id, "footprint_path", f"../houses/{name}")


def houses(*shapes, crs=EPSG, **columns):
    return geopandas.GeoDataFrame(columns, geometry=list(shapes), crs=crs)


def in_first(x, y, width=10.0, height=8.0):
    """A rectangle in the first tile, m from its corner."""
    return shapely.box(WEST + x, NORTH - y - height, WEST + x + width, NORTH - y)

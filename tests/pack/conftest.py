import pytest

from sspipe.data.catalog import index_tiles
from tests.data.small_scene import PIXEL_M, SIZE_PX, write_scene


@pytest.fixture(scope="session")
def indexed(tmp_path_factory):
    """Six tiles on disk, three of each orientation, and their catalog and footprints."""
    folder = tmp_path_factory.mktemp("indexed")
    write_scene(folder / "raw")
    index_tiles(
        raw=folder / "raw",
        size_px=SIZE_PX,
        pixel_m=PIXEL_M,
        max_left_out=0.0,
        out_catalog=folder / "catalog.parquet",
        out_footprints=folder / "footprints.parquet",
        out_report=folder / "catalog.json",
        processes=1,
    )
    return folder

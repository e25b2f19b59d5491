from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sspipe.data import spacenet6
from sspipe.data.spacenet6 import PRODUCTS

TILE_ID = "20190804111224_20190804111453_tile_8679"
tile_ids = st.builds(
    lambda start, end, number: f"{start}_{end}_tile_{number}",
    st.integers(10**13, 10**14 - 1),
    st.integers(10**13, 10**14 - 1),
    st.integers(0, 99999),
)


@given(tile_ids, st.sampled_from(list(PRODUCTS)))
def test_a_file_name_gives_back_the_product_and_the_tile_it_was_built_from(tile_id, product):
    name = spacenet6.parse_file_name(spacenet6.file_name(PRODUCTS[product], tile_id))
    assert name is not None
    assert (name.product.folder, name.tile_id) == (product, tile_id)
    assert name.strip == spacenet6.strip_of(tile_id)
    assert spacenet6.tile_id_of(name.strip, name.tile_number) == tile_id
    assert spacenet6.product_of(spacenet6.file_path(PRODUCTS[product], tile_id)) == product


def test_labels_are_called_buildings_in_their_names_and_lie_in_geojson_buildings():
    path = spacenet6.file_path(spacenet6.LABELS, TILE_ID)
    assert str(path) == (
        "train/AOI_11_Rotterdam/geojson_buildings/"
        "SN6_Train_AOI_11_Rotterdam_Buildings_20190804111224_20190804111453_tile_8679.geojson"
    )


@pytest.mark.parametrize(
    "name",
    [
        "SN6_Test_Public_AOI_11_Rotterdam_SAR-Intensity_20190804111224_20190804111453_tile_1.tif",
        "SN6_Train_AOI_11_Rotterdam_SAR-Intensity_20190804111224_20190804111453_tile_1.geojson",
        "SN6_Train_AOI_11_Rotterdam_SAR-Phase_20190804111224_20190804111453_tile_1.tif",
        "SN6_Train_AOI_11_Rotterdam_SAR-Intensity_20190804111224_20190804111453_tile_1.tif.aux.xml",
        "SN6_Train_AOI_11_Rotterdam_SAR-Intensity_2019_20190804111453_tile_1.tif",
        "",
    ],
)
def test_other_names_are_nobodys(name):
    assert spacenet6.parse_file_name(name) is None


def test_a_product_in_another_products_folder_is_nobodys():
    name = spacenet6.file_name(spacenet6.SAR, TILE_ID)
    assert spacenet6.product_of(spacenet6.FOLDER / "PAN" / name) is None
    assert spacenet6.product_of(PurePosixPath(name)) is None
    assert spacenet6.product_of(spacenet6.ORIENTATION_FILE) == "SummaryData"
    assert spacenet6.product_of(spacenet6.TRUTH_FILE) == "SummaryData"


def test_products_of_a_tile_differ_in_pixel_size_by_less_than_the_catalog_tolerates():
    assert spacenet6.pixel_size_m(spacenet6.SAR, 0.5) == 0.5
    assert spacenet6.pixel_size_m(spacenet6.EO, 0.5) == pytest.approx(0.49999810, abs=1e-12)
    assert spacenet6.pixel_size_m(spacenet6.RGBNIR, 0.5) == pytest.approx(1.0000483, abs=1e-12)


def test_the_orientation_table_is_read_line_by_line_and_each_bad_line_is_told():
    text = "a_b 1\n\nc_d 0\r\ne_f 2\ng_h\na_b 0\nc_d 0\n"
    orientations, problems = spacenet6.parse_orientations(text)
    assert orientations == {"a_b": 1, "c_d": 0}
    assert [problem.split(" ")[1] for problem in problems] == ["4", "5", "6"]


def test_a_malformed_tile_id_is_refused():
    with pytest.raises(ValueError, match="not a tile id"):
        spacenet6.strip_of("tile_7")

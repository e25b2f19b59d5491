from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import shapely

from sspipe.report import data_figures, data_tables
from sspipe.report.style import NARROW_IN, WIDE_IN, svg_text


def catalog(tiles: int = 4) -> pd.DataFrame:
    names = [f"2019082{place % 2}111224_20190822111453" for place in range(tiles)]
    return pd.DataFrame(
        {
            "strip": names,
            "orientation": [place % 2 for place in range(tiles)],
            "easting_m": [592000.0 + 100 * place for place in range(tiles)],
            "northing_m": 5749000.0,
            "size_px": 900,
            "pixel_m": 0.5,
            "sar_no_data_fraction": np.linspace(0, 1, tiles),
            "eo_no_data_fraction": 0.0,
        }
    )


def values(**changes):
    band = {"count": 10, "min": 0.5, "max": 2.5, "mean": 1.2, "std": 0.4, "histogram": [4, 5, 1, 0], **changes}
    names = ["red", "green", "blue", "near infrared"]
    return {"bands": [band] * 4, "band_names": names, "bin_width": 16, "expected": [0, 2250]}


def test_a_strip_is_the_union_of_its_tiles():
    strips = data_tables.strip_table(catalog()).set_index("strip")
    assert strips["tiles"].tolist() == [2, 2] and strips["orientation"].tolist() == [0, 1]
    assert strips["date"].tolist() == ["2019-08-20", "2019-08-21"]
    first = strips["outline"].iloc[0]
    assert first.equals(shapely.box(592000, 5748550, 592650, 5749000))


def test_shares_of_a_histogram_add_up_to_one_and_bins_stand_where_they_are():
    table = data_tables.histogram_table(values())
    red = table[table["band"] == "red"]
    assert red["left"].tolist() == [0, 16, 32, 48] and red["share"].sum() == 1


def test_only_sar_has_a_reference():
    sar, eo = (data_tables.band_table(name, values()) for name in ("sar", "eo"))
    assert sar["real_mean"].tolist() == [28.63, 36.10, 33.84, 26.21]
    assert sar["real_std"].tolist() == [8.41, 8.27, 8.32, 8.64] and eo["real_mean"].isna().all()


def test_data_other_than_spacenet_6_have_no_reference_and_their_strips_no_day():
    assert data_tables.band_table("sar", values(), spacenet6=False)["real_mean"].isna().all()
    assert data_tables.strip_table(catalog().assign(strip="spring 2024"))["date"].tolist() == [""]


def test_values_below_0_stand_left_of_it():
    table = data_tables.histogram_table({**values(), "expected": [-40, 24]})
    assert table["left"].iloc[0] == -40
    figure = data_figures.values_figure(table, data_tables.band_table("eo", values()), "dB", WIDE_IN)
    assert figure.axes[0].get_xlim()[0] == -40


def test_the_map_has_a_panel_an_orientation_and_a_scale_in_km():
    figure = data_figures.strip_map_figure(data_tables.strip_table(catalog()), WIDE_IN)
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert titles == ["Strips imaged from the north: 1", "Strips imaged from the south: 1"]
    assert " km<" in svg_text(figure) and "km east" in svg_text(figure)


@pytest.mark.parametrize("width", [WIDE_IN, NARROW_IN])
def test_every_tile_is_in_the_histogram_of_no_data(width):
    figure = data_figures.no_data_figure(catalog(5), width)
    assert [sum(bar.get_height() for bar in axis.patches) for axis in figure.axes] == [5, 5]


@pytest.mark.parametrize("width", [WIDE_IN, NARROW_IN])
def test_every_footprint_is_in_the_histograms_of_size_and_height(width):
    footprints = pd.DataFrame({"area_m2": [0.3, 20, 1e5], "height_m": [-2.0, 12, np.nan]})
    sizes, heights = data_figures.building_figure(footprints, 20, width).axes
    assert sum(bar.get_height() for bar in sizes.patches) == 3
    assert sum(bar.get_height() for bar in heights.patches) == 2


def test_buildings_of_unknown_height_are_drawn_without():
    figure = data_figures.building_figure(pd.DataFrame({"area_m2": [100.0], "height_m": [np.nan]}), 20, WIDE_IN)
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["Area"]


def test_outlines_that_are_equal_have_a_place_in_the_histogram():
    figure = data_figures.agreement_figure(pd.DataFrame({"csv_distance_px": [0.0, 1e-6, 300.0, np.nan]}), WIDE_IN)
    assert sum(bar.get_height() for bar in figure.axes[0].patches) == 3


@pytest.mark.parametrize("width", [WIDE_IN, NARROW_IN])
@pytest.mark.parametrize("name", ["sar", "eo"])
def test_values_of_empty_images_are_drawn_as_nothing(name, width):
    empty = values(count=0, min=None, max=None, mean=None, std=None, histogram=[0] * 4)
    histogram, bands = data_tables.histogram_table(empty), data_tables.band_table(name, empty)
    assert "<svg" in svg_text(data_figures.values_figure(histogram, bands, "value", width))


def test_left_out_tiles_with_several_reasons_say_them_all():
    table = data_tables.left_out_table({"tiles": [{"tile_id": "a", "reasons": ["no EO image", "no label file"]}]})
    assert table.to_dict("records") == [{"tile_id": "a", "reasons": "no EO image; no label file"}]

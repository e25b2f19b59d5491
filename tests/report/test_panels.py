"""What is on the pictures of test tiles, and that they fit into the page."""

from __future__ import annotations

import functools
import io
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from shapely.geometry import Point

from sspipe.config import load_config
from sspipe.data.spacenet_csv import read_spacenet_csv
from sspipe.errors import UserError
from sspipe.report import imagery, look_content, look_section, outlines, panels
from sspipe.report.html import write_page
from sspipe.report.page import FILTERS
from sspipe.report.panel_figure import MOST_VARIANTS, panel_figure

REPOSITORY = Path(__file__).parents[2]
SIZE_PX = 900


def invented(place: int, variants: int, buildings: int = 60, split: str = "spatial", sees: bool = True) -> panels.Panel:
    """A tile of the real size: pictures of noise, which no format packs, and round buildings."""
    rng = np.random.default_rng(place)
    shapes = np.array(
        [Point(x, y).buffer(r, quad_segs=3) for x, y, r in rng.uniform((10, 10, 6), (890, 890, 30), (buildings, 3))],
        dtype=object,
    )
    third = buildings // 3
    parts = (shapes[:third], shapes[third : 2 * third], shapes[2 * third :])
    names = [f"v{number}" for number in range(variants)]
    scores = pd.DataFrame({"variant": names, "title": names, "role": "candidate", "seed": 0, "f1": 0.5})
    noise = rng.integers(0, 256, (2, panels.MAX_SIDE_PX, panels.MAX_SIDE_PX, 3), dtype=np.uint8)
    return panels.Panel(
        split=split,
        tile_id=f"tile_{place}",
        group="best",
        reason="best F1",
        size_px=SIZE_PX,
        side_m=450.0,
        optical=noise[0] if sees else None,
        radar=noise[1],
        truth=outlines.Truth(shapes, shapes[:2]),
        judged={name: outlines.Judged(*parts, shapes[:1]) for name in names},
        scores=scores.assign(tp=third, fp=third, fn=buildings - 2 * third, pixel_iou=0.4),
    )


def tiled(panel: panels.Panel, count: int) -> list[list[look_content.Drawn]]:
    """Two splits with this tile, again and again."""
    drawn = look_content.draw(panel)
    return [
        [drawn._replace(panel=replace(panel, split=split, tile_id=str(place))) for place in range(count)]
        for split in ("spatial", "random")
    ]


def rows_of(variants: int) -> pd.DataFrame:
    names = [f"v{number}" for number in range(variants)]
    return pd.DataFrame({"variant": names, "title": names, "role": "candidate"})


def page_bytes(shown: list[look_content.Drawn], variants: int, tmp_path) -> int:
    content = {**look_content.look_content(shown, rows_of(variants)), "rule": "", "dropped": 0}
    return write_page("look.html.jinja", {"content": content}, FILTERS, tmp_path / "look.html")


@pytest.mark.parametrize(("tiles", "variants", "buildings"), [(12, 8, 60), (12, 8, 150), (40, 8, 60), (12, 66, 60)])
def test_two_splits_of_real_size_tiles_leave_room_for_the_rest_of_the_page(
    tmp_path, monkeypatch, tiles, variants, buildings
):
    one = invented(0, variants, buildings)
    # The same noise on every tile, so it is encoded once for each size.
    encode = look_content._encoded
    cached = functools.cache(lambda side: encode(one.radar, side))
    monkeypatch.setattr(look_content, "_encoded", lambda picture, side: cached(side))
    shown = look_content.fitting(tiled(one, tiles), variants)
    assert {tile.panel.split for tile in shown} == {"spatial", "random"}
    if variants == 8 and tiles * buildings <= 12 * 60:
        assert len(shown) == 2 * tiles
    assert page_bytes(shown, variants, tmp_path) < 9_000_000


def test_the_last_tiles_of_each_split_are_the_ones_that_do_not_fit(monkeypatch):
    one = invented(0, 3)
    read = tiled(one, 6)
    monkeypatch.setattr(look_content, "OUTLINE_BYTES", 4 * (look_content.CELL_BYTES * 6 + read[0][0].size))
    shown = look_content.fitting(read, 3)
    assert [(tile.panel.split, tile.panel.tile_id) for tile in shown] == [
        ("spatial", "0"), ("spatial", "1"), ("random", "0"), ("random", "1"),
    ]  # fmt: skip
    monkeypatch.setattr(look_content, "OUTLINE_BYTES", 0)
    assert len(look_content.fitting(read, 3)) == 2


def test_pictures_are_as_large_as_there_is_room_for(monkeypatch):
    content = look_content.look_content([look_content.draw(invented(0, 1))], rows_of(1))
    assert content["side_px"] == panels.MAX_SIDE_PX
    monkeypatch.setattr(look_content, "PICTURE_BYTES", 200_000)
    assert (
        content["side_px"]
        > look_content.look_content([look_content.draw(invented(0, 1))], rows_of(1))["side_px"]
        >= 150
    )


def test_what_the_viewer_says_holds_no_tag():
    panel = invented(0, 1)
    told = look_content.look_content(
        [look_content.draw(replace(panel, reason="</script><b>"))], rows_of(1).assign(title="<i>")
    )
    assert "<" not in told["data"]
    assert json.loads(told["data"])["tiles"][0]["reason"] == "</script><b>"


def test_a_variant_without_footprints_is_a_gap():
    content = look_content.look_content([look_content.draw(invented(0, 1))], rows_of(2))
    assert content["tiles"][0]["cells"][1]["gap"] == "no footprints of it on the spatial split"
    assert json.loads(content["data"])["tiles"][0]["runs"][1] == {"gap": "no footprints of it on the spatial split"}


def test_variants_without_any_run_keep_their_place_as_gaps():
    have = pd.DataFrame({"variant": ["unet16_sar", "own"], "title": ["T", "Own"], "role": ["floor", "candidate"]})
    content = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    config = load_config({**content, "experiment": "x"})
    table = look_section._variants(SimpleNamespace(runs=have, config=config))
    assert list(table["variant"]) == [*config.variants, "own"]
    assert table.set_index("variant").loc["unet16_eo", "role"] == "ceiling"
    told = look_content.look_content([look_content.draw(invented(0, 1))], table)
    assert all(cell["gap"] for cell in told["tiles"][0]["cells"])


@pytest.mark.parametrize("sees", [True, False])
def test_the_printed_form_has_a_picture_for_every_variant_and_says_what_colours_mean(sees):
    figure = panel_figure(invented(0, 6, sees=sees), 10.8)
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert titles[:3] == ["Optical (EO)", "Radar (SAR)", "Truth: 60 buildings"]
    assert titles[3:] == [f"v{number}\nF1 0.50" for number in range(6)]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(outlines.KIND_WORDS.values())
    words = [text.get_text() for axis in figure.axes for text in axis.texts]
    assert "100 m" in words and "N" in words
    assert ("no optical image" in words) == (not sees)
    boxes = [axis.get_position() for axis in figure.axes]
    assert all(place.x0 >= 0 and place.x1 <= 1 and place.y0 > 0.03 and place.y1 <= 1 for place in boxes)


def test_the_printed_form_of_very_many_variants_has_the_best_of_them_and_says_so():
    panel = invented(0, 40)
    better = panel.scores.assign(f1=[0.9 if place % 2 else 0.1 for place in range(40)])
    figure = panel_figure(replace(panel, scores=better), 10.8)
    titles = [axis.get_title(loc="left") for axis in figure.axes[3:]]
    assert len(titles) == MOST_VARIANTS and sum(title.endswith("0.90") for title in titles) == 20
    assert [text.get_text() for text in figure.texts] == [
        f"The {MOST_VARIANTS} highest F1 on this tile, of 40 variants"
    ]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6])
def test_no_data_is_black_and_does_not_bend_the_stretch_whatever_the_bands(count):
    rng = np.random.default_rng(0)
    bands = rng.uniform(20, 60, (count, 30, 30)).astype(np.float32)
    for nothing in (0, np.nan):
        half = bands.copy()
        half[:, :, :15] = nothing
        for picture in (imagery.radar_picture, imagery.optical_picture):
            shown = picture(half)
            assert shown.shape == (30, 30, 3) and shown.dtype == np.uint8
            assert (shown[:, :15] == 0).all()
            assert np.array_equal(shown[:, 15:], picture(bands[:, :, 15:]))
            assert shown.max() == 255
    assert (imagery.radar_picture(np.zeros((count, 5, 5), np.float32)) == 0).all()


def test_one_band_is_grey_and_the_colours_of_more_are_named():
    rng = np.random.default_rng(0)
    for picture in (imagery.radar_picture, imagery.optical_picture):
        grey = picture(rng.uniform(1, 9, (1, 20, 20)))
        assert np.array_equal(grey[..., 0], grey[..., 1]) and np.array_equal(grey[..., 0], grey[..., 2])
    assert imagery.radar_words(["VV"]) == "Radar: VV in grey."
    assert "blue VV minus VH" in imagery.radar_words(["VV", "VH"])
    assert "green the mean of HV and VH" in imagery.radar_words(["HH", "HV", "VH", "VV"])
    assert imagery.radar_words(["a", "b", "c"]) == "Radar colours: red a, green b, blue c."


def test_colours_are_those_of_the_bands_that_are_called_so():
    bands = np.random.default_rng(0).uniform(1, 9, (4, 20, 20))
    natural = imagery.optical_picture(bands, ["red", "green", "blue", "near infrared"])
    assert np.array_equal(natural, imagery.optical_picture(bands))
    turned = imagery.optical_picture(bands[::-1], ["NIR", "Blue", "Green", "Red"])
    assert np.array_equal(turned, natural)
    assert np.array_equal(imagery.optical_picture(bands, ["a", "b", "c", "d"]), natural)


def test_two_bands_make_a_picture_of_the_two_and_their_difference():
    bands = np.random.default_rng(0).uniform(20, 60, (2, 40, 40))
    bands[0, 5, 5], bands[1, 5, 5] = 100, 1
    shown = imagery.radar_picture(bands)
    assert shown[5, 5].tolist() == [255, 0, 255]


def test_shrinking_averages_and_leaves_small_pictures_alone():
    colours = np.zeros((4, 4, 3), np.uint8)
    colours[::2] = 200
    assert (imagery.shrunk(colours, 2) == 100).all()
    assert imagery.shrunk(colours, 4) is colours
    assert imagery.shrunk(np.zeros((9, 9, 3), np.uint8), 6).shape == (6, 6, 3)


def test_a_picture_comes_back_nearly_as_it_was():
    rows, columns = np.mgrid[0:90, 0:90]
    picture = np.stack([rows * 2, columns * 2, rows + columns], axis=2).astype(np.uint8)
    read = np.array(Image.open(io.BytesIO(imagery.webp(picture))).convert("RGB"))
    assert np.abs(read.astype(int) - picture).mean() < 3


@pytest.mark.parametrize(("side_m", "bar_m"), [(450, 100), (112.5, 20), (32, 10), (150, 50), (1.5, 0.5)])
def test_the_scale_bar_is_a_round_length(side_m, bar_m):
    assert panels.scale_bar_m(side_m) == pytest.approx(bar_m)


def test_a_run_whose_footprints_are_gone_is_an_error_and_one_that_has_none_is_left_out(tmp_path):
    for folder, name in (("score", "scores.json"), ("predict", "probabilities.json")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text('{"split": "s", "variant": "v", "seed": 0}')
    scores, polygons = tmp_path / "score" / "scores.json", tmp_path / "predict" / "polygons.parquet"
    assert panels.index_runs([scores], []) == {}
    with pytest.raises(UserError, match=r"polygons\.parquet: no such file; run the rule extract_polygons"):
        panels.index_runs([scores], [polygons])
    polygons.write_bytes(b"")
    with pytest.raises(UserError, match=r"buildings\.parquet: no such file; run the rule score_polygons"):
        panels.index_runs([scores], [polygons])
    (tmp_path / "score" / "buildings.parquet").write_bytes(b"")
    assert list(panels.index_runs([scores], [polygons])) == [panels.Run("s", "v", 0)]


@pytest.mark.parametrize(("file", "rule"), [("polygons", "extract_polygons"), ("buildings", "score_polygons")])
def test_damaged_footprints_are_named_with_the_rule_that_makes_them(report, tmp_path, file, rule):
    run = panels.Run("spatial", "ss_rsc_shared", 0)
    files = panels.index_runs(report.files.scores, report.files.polygons)[run]
    damaged = tmp_path / f"{file}.parquet"
    damaged.write_bytes(b"PAR1")
    catalog = pd.read_parquet(report.arguments["catalog"])
    runs = pd.read_parquet(files.buildings.with_name("tiles.parquet")).assign(**run._asdict(), title="T", role="")
    chosen = runs.head(1)[["tile_id"]].assign(group="best", reason="best")
    truth = read_spacenet_csv(report.arguments["truth"])
    with pytest.raises(UserError, match=rf"{file}\.parquet: not a table that can be used .* run the rule {rule} again"):
        panels.read_panels(
            chosen, catalog, runs, {run: files._replace(**{file: damaged})}, report.arguments["raw"], truth, 1.0
        )

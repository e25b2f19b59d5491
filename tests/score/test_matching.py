"""The matcher counts as solaris does: on its own data, at every edge of its rules, and on random scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import GeometryCollection, LineString, MultiPolygon, Polygon, box

from sspipe.data.spacenet_csv import read_spacenet_csv
from sspipe.score.matching import match_polygons, true_positives_at
from sspipe.score.overlaps import find_overlaps
from tests.score.against_solaris import assert_same_as_solaris, our_result, solaris_result

FIXTURE = Path(__file__).parents[1] / "data" / "solaris"
TRUTH, PROPOSALS = FIXTURE / "SN2_sample_truth.csv", FIXTURE / "SN2_sample_preds.csv"
BOW_TIE = Polygon([(0, 0), (4, 4), (4, 0), (0, 4)])
# Crosses itself, with unequal lobes: its area is not 0, and buffer(0) keeps a part of it.
LOPSIDED = Polygon([(0, 0), (6, 6), (6, 0), (0, 3)])


def counts(truth, proposals, **settings) -> tuple[int, int, int]:
    """tp, fp, fn of (image, polygon) and (image, polygon, confidence) rows, after comparing with solaris."""
    assert_same_as_solaris(truth, proposals, **settings)
    images = match_polygons(
        pd.DataFrame({"image_id": [row[0] for row in truth], "geometry": [row[1] for row in truth]}),
        pd.DataFrame(
            {
                "image_id": [row[0] for row in proposals],
                "geometry": [row[1] for row in proposals],
                "confidence": [float(row[2]) for row in proposals],
            }
        ),
        **settings,
    ).images
    return tuple(int(images[name].sum()) for name in ("tp", "fp", "fn"))


def test_solaris_fixture_gives_its_published_counts():
    images, _ = our_result(TRUTH, PROPOSALS, iou_threshold=0.5, min_area_px=20)
    table = pd.DataFrame(images, columns=["image", "tp", "fp", "fn"])
    assert table[["tp", "fp", "fn"]].sum().tolist() == [87, 57, 82]
    area = table["image"].str.extract(r"^(AOI_\d_[A-Za-z]+)")[0]
    by_area = table.groupby(area)[["tp", "fp", "fn"]].sum()
    assert by_area.loc["AOI_2_Vegas"].tolist() == [35, 2, 7]
    assert by_area.loc["AOI_5_Khartoum"].tolist() == [52, 55, 75]


def test_solaris_fixture_gives_its_iou_of_every_building():
    expected = pd.read_csv(FIXTURE / "SN2_sample_iou_by_building.csv")["iou_score"].to_numpy()
    _, iou = our_result(TRUTH, PROPOSALS, iou_threshold=0.5, min_area_px=20)
    np.testing.assert_allclose(iou, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("iou_threshold", "min_area_px"), [(0.5, 20), (0.25, 0), (0.75, 300)])
def test_installed_solaris_agrees_on_its_fixture(iou_threshold, min_area_px, tmp_path):
    # The fixture has tied confidences, which solaris orders by chance; ranks in our order take the chance away.
    proposals = pd.read_csv(PROPOSALS).sort_values("Confidence", ascending=False, kind="stable")
    proposals["Confidence"] = range(len(proposals), 0, -1)
    proposals.to_csv(tmp_path / "ranked.csv", index=False)
    settings = {"iou_threshold": iou_threshold, "min_area_px": min_area_px}
    ours, iou = our_result(TRUTH, PROPOSALS, **settings)
    theirs, their_iou = solaris_result(TRUTH, tmp_path / "ranked.csv", **settings)
    assert ours == theirs
    np.testing.assert_array_equal(iou, their_iou)


def test_iou_of_exactly_the_threshold_is_a_miss():
    assert counts([("a", box(0, 0, 2, 1))], [("a", box(0, 0, 1, 1), 1)]) == (0, 1, 1)
    assert counts([("a", box(0, 0, 2, 1))], [("a", box(0, 0, 1.001, 1), 1)]) == (1, 0, 0)


def test_truth_of_exactly_the_minimum_area_counts_and_such_a_proposal_does_not():
    square = box(0, 0, 4, 5)
    assert counts([("a", square)], [("a", square, 1)], min_area_px=20) == (0, 0, 1)
    assert counts([("a", square)], [("a", box(0, 0, 4, 5.1), 1)], min_area_px=20) == (1, 0, 0)
    assert counts([("a", box(0, 0, 4, 4.9))], [("a", box(0, 0, 4, 5.1), 1)], min_area_px=20) == (0, 1, 0)


def test_more_confident_proposal_wins_even_with_less_overlap():
    truth = [("a", box(0, 0, 10, 10))]
    better, worse = box(0, 0, 10, 9.5), box(0, 0, 10, 6)
    assert counts(truth, [("a", better, 0.2), ("a", worse, 0.9)]) == (1, 1, 0)


def test_file_order_decides_ties_in_confidence():
    truth = pd.DataFrame({"image_id": ["a"], "geometry": [box(0, 0, 10, 10)]})
    proposals = pd.DataFrame(
        {"image_id": ["a"] * 3, "geometry": [box(0, 0, 10, y) for y in (6, 9, 8)], "confidence": [0.5] * 3}
    )
    matching = match_polygons(truth, proposals)
    assert matching.proposals["matched"].tolist() == [True, False, False]
    assert matching.truth["iou"].tolist() == [0.6]


def test_proposal_has_no_second_choice():
    # The proposal's best building is taken, so it looks at the next one, which it covers too little of.
    truth = [("a", box(0, 0, 10, 10)), ("a", box(10, 0, 20, 10))]
    proposals = [("a", box(0, 0, 10, 10), 0.9), ("a", box(0, 0, 14, 10), 0.8)]
    assert counts(truth, proposals) == (1, 1, 1)


def test_of_equally_good_buildings_the_first_is_taken():
    truth = [("a", box(0, 0, 4, 4)), ("a", box(0, 0, 4, 4))]
    assert counts(truth, [("a", box(0, 0, 4, 4), 1)]) == (1, 0, 1)
    assert counts(truth, [("a", box(0, 0, 4, 4), 1), ("a", box(0, 0, 4, 3), 0.5)]) == (2, 0, 0)


def test_copies_of_a_building_are_taken_in_the_order_of_the_file():
    # Two polygons equally good for the proposals, by turns in the file, one of them in another image as well.
    left, right, claim = box(0, 0, 4, 4), box(4, 0, 8, 4), box(0, 0, 8, 4)
    truth = [("a", left), ("a", right), ("b", left), ("a", left), ("a", right), ("a", left)]
    proposals = [("a", claim, 1.0 / n) for n in range(1, 8)]
    assert counts(truth, proposals, iou_threshold=0.4) == (5, 2, 1)
    rows = pd.DataFrame(truth, columns=["image_id", "geometry"])
    claims = pd.DataFrame(proposals, columns=["image_id", "geometry", "confidence"])
    matching = match_polygons(rows, claims, iou_threshold=0.4)
    assert matching.proposals["partner"].tolist() == [0, 1, 3, 4, 5, -1, -1]


def test_copies_of_a_building_make_no_pairs_of_their_own():
    rows = pd.DataFrame({"image_id": ["a"] * 300, "geometry": [box(0, 0, 4, 4)] * 300})
    overlaps = find_overlaps(rows, rows.assign(confidence=1.0))
    assert len(overlaps.pair_iou) == 300
    assert true_positives_at(overlaps, [0.5]).tolist() == [[300]]


def test_invalid_truth_never_matches():
    assert not LOPSIDED.is_valid
    assert counts([("a", LOPSIDED)], [("a", LOPSIDED.buffer(0), 1)]) == (0, 1, 1)


def test_invalid_proposal_is_mended_before_it_is_measured():
    mended = LOPSIDED.buffer(0)
    assert counts([("a", mended)], [("a", LOPSIDED, 1)]) == (1, 0, 0)


def test_bow_tie_without_area_counts_for_nothing_as_a_proposal():
    assert BOW_TIE.area == 0
    assert counts([("a", box(0, 0, 4, 4))], [("a", BOW_TIE, 1)]) == (0, 0, 1)


def test_empty_polygons_count_for_nothing():
    assert counts([("a", Polygon())], [("a", Polygon(), 1)]) == (0, 0, 0)
    assert counts([("a", Polygon())], [("a", box(0, 0, 2, 2), 1)]) == (0, 1, 0)


def test_collection_counts_by_the_area_in_it():
    # As clipping leaves them: what is no area plays no part, but area that lies twice counts twice against the minimum.
    clipped = GeometryCollection([box(0, 0, 4, 4), LineString([(4, 0), (9, 0)])])
    assert counts([("a", clipped)], [("a", box(0, 0, 4, 3), 1)]) == (1, 0, 0)
    assert counts([("a", box(0, 0, 4, 3))], [("a", clipped, 1)]) == (1, 0, 0)
    twice = GeometryCollection([box(0, 0, 4, 4), box(0, 0, 4, 2)])
    assert counts([("a", box(0, 0, 4, 4))], [("a", twice, 1)], min_area_px=16) == (1, 0, 0)


def test_hole_is_not_building():
    ring = box(0, 0, 10, 10).difference(box(1, 1, 9, 9))
    assert counts([("a", ring)], [("a", box(0, 0, 10, 10), 1)]) == (0, 1, 1)
    assert counts([("a", ring)], [("a", ring, 1)]) == (1, 0, 0)


def test_same_place_in_another_image_does_not_match():
    assert counts([("a", box(0, 0, 2, 2))], [("b", box(0, 0, 2, 2), 1)]) == (0, 1, 1)


def test_images_of_either_file_are_listed_with_their_own_counts():
    truth = pd.DataFrame({"image_id": ["a", "b"], "geometry": [box(0, 0, 2, 2)] * 2})
    proposals = pd.DataFrame({"image_id": ["c", "b"], "geometry": [box(0, 0, 2, 2)] * 2, "confidence": [1.0, 1.0]})
    images = match_polygons(truth, proposals).images
    assert images.to_numpy().tolist() == [["a", 0, 0, 1], ["b", 1, 0, 0], ["c", 0, 1, 0]]


def test_no_proposals_at_all_leaves_every_building_missed():
    truth = pd.DataFrame({"image_id": ["a", "a"], "geometry": [box(0, 0, 2, 2), box(3, 3, 4, 4)]})
    proposals = pd.DataFrame({"image_id": [], "geometry": [], "confidence": []})
    assert match_polygons(truth, proposals).images.to_numpy().tolist() == [["a", 0, 0, 2]]


def test_far_away_coordinates_do_not_lose_pairs():
    # Widely spread boxes in many images: the shared index rounds, the result must not.
    truth = [(f"t{n}", box(5e6 + n, 4e5, 5e6 + n + 3, 4e5 + 3)) for n in range(30)]
    truth.append(("t0", box(-1e7, -1e7, -1e7 + 2, -1e7 + 2)))
    proposals = [(image, shape, 1.0) for image, shape in truth]
    assert counts(truth, proposals) == (31, 0, 0)


@st.composite
def polygons(draw):
    """Polygons on a coarse grid: exact ties, shared edges and touching corners are common there."""
    kind = draw(
        st.sampled_from(
            [
                "box",
                "box",
                "box",
                "hole",
                "pair",
                "ring",
                "ring",
                "bow tie",
                "empty",
                "overlapping",
                "stray hole",
                "spike",
            ]
        )
    )
    x, y = draw(st.integers(0, 8)), draw(st.integers(0, 8))
    w, h = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    if kind == "box":
        return box(x, y, x + w, y + h)
    if kind == "hole":
        return box(x, y, x + w + 2, y + h + 2).difference(box(x + 1, y + 1, x + 1 + w, y + 1 + h))
    if kind == "pair":
        return MultiPolygon([box(x, y, x + w, y + h), box(x + w + 1, y, x + w + 3, y + h)])
    if kind == "ring":  # often self-crossing, so invalid with area
        corners = st.tuples(st.integers(0, 10), st.integers(0, 10))
        return Polygon(draw(st.lists(corners, min_size=3, max_size=6)))
    if kind == "overlapping":  # invalid: its parts share area, which counts twice until it is mended
        return MultiPolygon([box(x, y, x + w, y + h), box(x, y, x + w + 1, y + 1)])
    if kind == "stray hole":  # invalid: the hole lies outside
        return Polygon(box(x, y, x + w, y + h).exterior, [box(x + w + 1, y, x + w + 2, y + h).exterior])
    if kind == "spike":  # invalid: the outline goes out and back, and says one corner twice
        return Polygon([(x, y), (x + w, y), (x + w, y), (x + w + 3, y), (x + w, y), (x + w, y + h), (x, y + h)])
    if kind == "bow tie":
        return Polygon([(x, y), (x + w, y + h), (x + w, y), (x, y + h)])
    return Polygon()


@st.composite
def scenes(draw):
    """Truth and proposals that share many shapes, in images of which some are in one file only."""
    pool = draw(st.lists(polygons(), min_size=1, max_size=8))
    shape = st.sampled_from(pool) | polygons()
    truth = draw(st.lists(st.tuples(st.sampled_from("abt"), shape), min_size=1, max_size=10))
    confidence = st.sampled_from([0.1, 0.5, 0.5, 0.9])
    proposals = draw(st.lists(st.tuples(st.sampled_from("abp"), shape, confidence), min_size=1, max_size=10))
    return truth, proposals


@settings(max_examples=80, deadline=None)
@given(scenes(), st.sampled_from([0.25, 0.5, 0.75]), st.sampled_from([0.0, 1.0, 4.0, 12.0]))
def test_random_scenes_are_counted_as_solaris_counts_them(scene, iou_threshold, min_area_px):
    assert_same_as_solaris(*scene, iou_threshold=iou_threshold, min_area_px=min_area_px)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_crowded_city_is_counted_as_solaris_counts_it(seed):
    random = np.random.default_rng(seed)

    def city(count: int) -> list:
        corner, size = random.uniform(0, 60, (count, 2)), random.uniform(2, 12, (count, 2))
        plain = shapely.box(*corner.T, *(corner + size).T)
        angle = random.uniform(0, 90, count)
        return [shapely.affinity.rotate(shape, turn) for shape, turn in zip(plain, angle, strict=True)]

    truth = city(25)
    shaken = [shapely.affinity.translate(shape, *random.normal(0, 1, 2)) for shape in truth]
    proposals = [("ab"[n % 2], shape, random.random()) for n, shape in enumerate(shaken + city(10))]
    assert_same_as_solaris([("ab"[n % 2], shape) for n, shape in enumerate(truth)], proposals, min_area_px=20)


@settings(max_examples=25, deadline=None)
@given(scenes(), st.sampled_from([0.0, 4.0]))
def test_counts_at_several_thresholds_are_those_of_a_matching_at_each(scene, min_area_px):
    truth = pd.DataFrame(scene[0], columns=["image_id", "geometry"])
    proposals = pd.DataFrame(scene[1], columns=["image_id", "geometry", "confidence"])
    thresholds = (0.3, 0.5, 0.75)
    found = true_positives_at(find_overlaps(truth, proposals, min_area_px=min_area_px), thresholds)
    for column, threshold in enumerate(thresholds):
        matching = match_polygons(truth, proposals, iou_threshold=threshold, min_area_px=min_area_px)
        assert found[:, column].tolist() == matching.images["tp"].tolist()


@settings(max_examples=25, deadline=None)
@given(scenes())
def test_partners_are_pairs_of_one_image_and_each_has_the_iou_that_it_is_said_to_have(scene):
    truth = pd.DataFrame(scene[0], columns=["image_id", "geometry"])
    proposals = pd.DataFrame(scene[1], columns=["image_id", "geometry", "confidence"])
    matching = match_polygons(truth, proposals, iou_threshold=0.5)
    for row, found in matching.truth[matching.truth["matched"]].iterrows():
        partner = matching.proposals.loc[found["partner"]]
        assert (partner["partner"], partner["iou"], partner["matched"]) == (row, found["iou"], True)
        assert truth["image_id"][row] == proposals["image_id"][found["partner"]]
        mine, other = truth["geometry"][row], proposals["geometry"][found["partner"]].buffer(0)
        assert found["iou"] == pytest.approx(mine.intersection(other).area / mine.union(other).area)
    assert (matching.truth["partner"] >= 0).tolist() == matching.truth["matched"].tolist()
    assert (matching.proposals["partner"] >= 0).sum() == matching.truth["matched"].sum()


def test_third_dimension_is_dropped_when_reading(tmp_path):
    path = tmp_path / "three.csv"
    path.write_text('ImageId,PolygonWKT_Pix\na,"POLYGON ((0 0 7,2 0 7,2 2 7,0 0 7))"\n')
    shape = read_spacenet_csv(path)["geometry"].iloc[0]
    assert not shape.has_z
    assert shape.area == 2

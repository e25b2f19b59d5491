"""The configuration accepts the paper's experiment and names every mistake."""

import copy
from pathlib import Path

import pytest
import yaml

from sspipe.config import load_config
from sspipe.errors import UserError
from sspipe.validation import merged

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def paper():
    return yaml.safe_load((ROOT / "config.yaml").read_text())


@pytest.fixture()
def content(paper):
    return copy.deepcopy(paper)


def message_of(content):
    with pytest.raises(UserError) as caught:
        load_config(content)
    return str(caught.value)


def test_config_yaml_holds_the_values_of_section_5_1(paper):
    config = load_config(paper)
    assert config.splits["random"].test_fraction == 0.2
    assert config.splits["random"].validation_fraction == 0.2
    assert (config.tiles.size_px, config.tiles.padded_px) == (900, 1024)
    finetune = config.variants["unet16_finetune"]
    assert [(stage.views, stage.epochs) for stage in finetune.stages] == [(("eo",), 150), (("sar",), 50)]
    for name, variant in config.variants.items():
        assert variant.learning_rate == 1e-3
        assert variant.batch_size == 8
        assert (variant.loss.dice, variant.loss.bce) == ((0, 1) if name.endswith("_bce") else (1, 1))
        if variant.model.kind == "shared_space":
            assert [(stage.views, stage.epochs) for stage in variant.stages] == [(("sar", "eo"), 100)]


def test_every_row_of_table_1_has_a_variant_and_so_have_floor_ceiling_and_bce_twin(paper):
    config = load_config(paper)
    assert sum(variant.paper_row is not None for variant in config.variants.values()) == 5
    assert config.variants["unet16_eo"].test_view == "eo"
    assert config.variants["unet16_sar"].stages[0].views == ("sar",)


def test_demo_overlay_trains_all_variants_on_the_spatial_split_and_two_on_the_random_one(paper):
    overlay = yaml.safe_load((ROOT / "profiles/demo/experiment.yaml").read_text())
    config = load_config(merged(paper, overlay))
    assert len(config.variants_of("spatial")) == 8
    assert {"unet16_finetune", "ss_rsc_shared"} <= set(config.variants_of("random"))
    assert (config.tiles.size_px, config.tiles.padded_px) == (225, 256)


@pytest.mark.parametrize(
    ("section", "wrong", "nearest"),
    [
        ((), "seed", "seeds"),
        (("tiles",), "padding_px", "padded_px"),
        (("splits", "random"), "testfraction", "test_fraction"),
        (("variants", "ss_rsc", "model"), "privat_blocks", "private_blocks"),
        (("variants", "ss_rsc", "model", "skips"), "shard", "shared"),
    ],
)
def test_unknown_key_is_named_with_the_nearest_valid_one(content, section, wrong, nearest):
    place = content
    for key in section:
        place = place[key]
    place[wrong] = 1
    message = message_of(content)
    assert f"{'.'.join([*section, wrong])}: unknown key; did you mean `{nearest}`?" in message


def test_unknown_key_in_defaults_is_reported_once_and_not_for_every_variant(content):
    content["defaults"]["learnin_rate"] = 1
    message = message_of(content)
    assert message.count("learnin_rate") == 1
    assert "defaults.learnin_rate: unknown key; did you mean `learning_rate`?" in message


@pytest.mark.parametrize(
    ("variant", "says"),
    [
        ({"model": {"kind": "unet16", "skips": {"shared": "random"}}}, "unet16 has one"),
        ({"model": {"kind": "unet16"}, "stages": [{"views": ["sar", "eo"], "epochs": 1}]}, "one encoder"),
        ({"model": {"skips": {"shared": "random"}}, "stages": [{"views": ["sar"], "epochs": 1}]}, "views: [sar, eo]"),
        ({"stages": [{"views": ["sar"], "epochs": 1}], "test_view": "eo"}, "no stage trains on"),
        ({"stages": [{"views": ["sar"], "epochs": 1}, {"views": ["eo"], "epochs": 1}]}, "wrong view"),
        ({"stages": [{"views": ["sar", "sar"], "epochs": 1}]}, "named twice"),
        ({"stages": []}, "at least 1"),
        ({"paper_row": "SS with UNet skip-con"}, "SS with UNet skip-conns"),
        ({"loss": {"dice": 0, "bce": 0}}, "nothing to train on"),
        ({"model": {"width": 0.5, "vgg16_weights": "vgg16.pth"}}, "needs width 1"),
        ({"learning_rate": float("inf")}, "finite number"),
        ({"model": {"private_blocks": 6}}, "at most 5"),
    ],
)
def test_impossible_combination_is_refused_and_the_variant_is_named(content, variant, says):
    content["variants"]["mine"] = variant
    message = message_of(content)
    assert "variants.mine" in message
    assert says in message


@pytest.mark.parametrize("defaults", [None, [1], "wide"])
def test_defaults_that_are_no_mapping_are_named(content, defaults):
    content["defaults"] = defaults
    assert "defaults: must be a mapping" in message_of(content)


@pytest.mark.parametrize(
    ("section", "key", "given", "said"),
    [
        ("training", "workers", "many", "must be a whole number (given: 'many')"),
        ("training", "ranks", "many", "must be 'auto' or a whole number (given: 'many')"),
        ("training", "scratch", 3, "must be 'auto' or a path (given: 3)"),
        ("training", "compile", None, "must be true or false (nothing is given)"),
        ("score", "area_edges_m2", 5, "must be a list, such as [a, b] (given: 5)"),
        ("tiles", "sar_bands", [], "has too few entries: at least 1"),
        ("archive", "source", "s4", "must be 's3', 'url', 'file', 'table' or 'synthetic' (given: 's4')"),
        ("archive", "url", "ftp://x/y", "must be an address that begins with http:// or https:// (given: 'ftp://x/y')"),
    ],
)
def test_what_was_expected_is_said_in_one_line_without_names_of_python_types(content, section, key, given, said):
    content[section][key] = given
    assert message_of(content).splitlines()[1:] == [f"  {section}.{key}: {said}"]


def test_names_that_cannot_be_used_are_told_with_what_a_name_is(content):
    content["experiment"] = "My City"
    content["variants"]["My-Net"] = {}
    assert message_of(content).count("must be lower-case letters, digits and underscores, a letter first") == 2


def test_a_wrong_value_in_defaults_is_told_once_and_not_for_every_variant(content):
    content["defaults"]["learning_rate"] = "fast"
    assert message_of(content).splitlines()[1:] == ["  defaults.learning_rate: must be a number (given: 'fast')"]


def test_defaults_that_only_some_variants_can_have_are_told_for_those(content):
    content["defaults"]["model"]["kind"] = "unet16"
    del content["defaults"]["stages"]
    assert "variants.ss_rsc.model" in message_of(content)
    assert "defaults." not in message_of(content)


def test_a_baseline_that_is_no_variant_is_refused_before_anything_is_trained(content):
    content["score"]["baseline"] = "ss_rcs"
    assert "score.baseline: no variant `ss_rcs`; did you mean `ss_rsc`?" in message_of(content)


def test_a_refused_item_of_a_list_is_told_once(content):
    content["seeds"] = [-1]
    assert message_of(content).splitlines()[1:] == ["  seeds.0: must be at least 0 (given: -1)"]


def test_paths_with_braces_are_refused_because_snakemake_reads_them_as_wildcards(content):
    content["results"] = "re{s}ults"
    content["archive"]["path"] = "{my}/tiles.csv"
    content["defaults"]["model"]["vgg16_weights"] = None
    content["variants"]["ss_rsc"]["model"]["vgg16_weights"] = "vgg{16}.pth"
    message = message_of(content)
    for key in ("results", "archive.path", "variants.ss_rsc.model.vgg16_weights"):
        assert f"{key}: braces" in message


def test_variants_come_in_the_order_of_table_1_whatever_the_order_of_the_files(content):
    expected = list(load_config(copy.deepcopy(content)).variants)
    assert expected[:5] == ["unet16_finetune", "ss_no_skips", "ss_unet_skips", "ss_rsc", "ss_rsc_shared"]
    content["variants"] = dict(reversed(content["variants"].items()))
    assert list(load_config(content).variants)[:5] == expected[:5]


def test_padded_size_that_the_network_cannot_halve_five_times_is_refused(content):
    content["tiles"]["padded_px"] = 1000
    assert "divisible by 32" in message_of(content)


def test_edges_of_bins_must_ascend(content):
    content["score"]["area_edges_m2"] = [50, 200, 100]
    assert "score.area_edges_m2: must ascend, but is 50, 200, 100" in message_of(content)


def test_split_that_names_an_unknown_variant_is_refused(content):
    content["splits"]["random"]["variants"] = ["ss_rsk"]
    assert "did you mean `ss_rsc`" in message_of(content)


def test_views_are_always_in_the_order_of_equation_1(content):
    content["variants"]["ss_rsc"]["stages"] = [{"views": ["eo", "sar"], "epochs": 1}]
    assert load_config(content).variants["ss_rsc"].stages[0].views == ("sar", "eo")


def test_merging_replaces_lists_and_scalars_and_merges_mappings():
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 1}
    assert merged(base, {"a": {"c": [3]}, "e": 2}) == {"a": {"b": 1, "c": [3]}, "d": 1, "e": 2}


def test_a_baseline_split_needs_no_more_than_its_kind(content):
    content["splits"]["baseline"] = {"kind": "baseline_x"}
    assert load_config(content).splits["baseline"].edges_m is None


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"kind": "baseline_x", "test_line_m": 595343}, "a baseline_x split has no line"),
        ({"kind": "random", "edges_m": [1, 2]}, "edges_m belongs to `kind: baseline_x`"),
        ({"kind": "baseline_x", "edges_m": [2, 1]}, "edges_m must name the west end first"),
        ({"kind": "baseline_x", "edges_m": [1]}, "splits.mine.edges_m"),
        ({"kind": "baseline"}, "splits.mine.kind"),
    ],
)
def test_a_setting_that_a_split_has_no_use_for_is_refused(content, settings, told):
    content["splits"]["mine"] = settings
    message = message_of(content)
    assert told in message and "splits.mine" in message


@pytest.fixture()
def own(content):
    """The configuration of tiles of one's own."""
    content["archive"] |= {"source": "table", "path": "tiles.csv"}
    return content


def test_own_tiles_have_their_own_bands_and_crs(own):
    own["tiles"] |= {"epsg": 32633, "sar_bands": ["VV", "VH"], "eo_bands": ["red", "green", "blue"]}
    tiles = load_config(own).tiles
    assert (tiles.epsg, tiles.sar_bands, len(tiles.eo_bands)) == (32633, ("VV", "VH"), 3)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("sar_bands", 2, "tiles.sar_bands: must name the bands, 2 of them, such as [VV, VH]"),
        ("sar_bands", ["VV", "VV"], "tiles.sar_bands: names a band twice"),
        ("eo_bands", [], "tiles.eo_bands"),
        ("sar_range", [5, 5], "tiles.sar_range: must name the lowest first"),
        ("epsg", "EPSG:32633", "tiles.epsg"),
    ],
)
def test_a_form_that_own_tiles_cannot_have_is_told(own, key, value, told):
    own["tiles"][key] = value
    assert told in message_of(own)


def test_own_tiles_need_a_table(own):
    own["archive"]["path"] = None
    assert "source is `table`, so `archive.path` must name the table of tiles" in message_of(own)


@pytest.mark.parametrize("folder", ["results/spacenet6", "./results/../results/spacenet6", "linked"])
def test_an_archive_may_not_lie_where_snakemake_would_remove_it(content, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "linked").symlink_to("results/spacenet6")
    (tmp_path / "results" / "spacenet6").mkdir(parents=True)
    content["archive"] |= {"source": "file", "path": f"{folder}/archive.tar.gz"}
    assert "archive.path: " in (message := message_of(content)) and "move the archive elsewhere" in message
    content["archive"]["path"] = "elsewhere/archive.tar.gz"
    # As a run leaves it: what is there then is the workflow's own link.
    (tmp_path / "results" / "spacenet6" / "archive.tar.gz").symlink_to(tmp_path / "elsewhere" / "archive.tar.gz")
    assert load_config(content).archive.source == "file"


@pytest.mark.parametrize(("key", "value"), [("epsg", 32633), ("sar_bands", ["VV", "VH"]), ("eo_range", [0, 255])])
def test_spacenet_6_cannot_be_given_another_form(content, key, value):
    content["tiles"][key] = value
    message = message_of(content)
    assert f"tiles.{key}: is " in message and "only tiles of your own (archive.source: table)" in message

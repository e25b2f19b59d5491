"""UNet16 and the shared-space network: sizes, what flows where, and initial weights."""

import pytest
import torch
from safetensors.torch import save_file

from sspipe.errors import UserError
from sspipe.models import unet16
from sspipe.models.build import build_network, count_parameters, input_bands
from sspipe.variants import Model, Skips, Variant

SMALL = {"width": 0.0625}


def shared_space(private="random", shared="random", **more):
    return build_network(Model(skips=Skips(private=private, shared=shared), **{**SMALL, **more}), seed=0).eval()


def images(batch=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 4, 64, 64, generator=generator)


def psi(value, batch=3):
    return torch.full((2, batch, 5), value)


def test_unet16_at_width_1_has_the_known_number_of_parameters():
    unique, paper_style = count_parameters(build_network(Model(kind="unet16"), seed=0))
    assert unique == 29_307_074
    assert paper_style == 44_022_338


def test_removing_skips_removes_parameters_but_under_neither_count_gives_the_papers_36_million():
    counts = count_parameters(build_network(Model(skips=Skips(shared="none", private="none")), seed=0))
    full = count_parameters(build_network(Model(), seed=0))
    assert counts[0] < full[0] and counts[1] < full[1]
    assert all(round(count / 1e6) != 36 for count in counts)


@pytest.mark.parametrize("private_blocks", range(6))
@pytest.mark.parametrize("source", ["none", "own", "random"])
def test_every_kind_of_skip_and_depth_of_private_encoders_gives_logits_of_both_masks(source, private_blocks):
    network = shared_space(source, source, private_blocks=private_blocks)
    logits = network({"sar": images(), "eo": images()}, psi(True))
    assert {view: tuple(tensor.shape) for view, tensor in logits.items()} == {
        "sar": (3, 2, 64, 64),
        "eo": (3, 2, 64, 64),
    }


def test_a_batch_that_is_too_large_for_torchs_upsampling_is_upsampled_in_parts_to_the_same(monkeypatch):
    """Counted without memory: a kernel that counts in 32 bits takes fewer than 2**31 numbers."""
    network, views = shared_space(), {"sar": images(), "eo": images(seed=1)}
    whole = network(views, psi(True))
    sizes = []
    interpolate = torch.nn.functional.interpolate

    def counted(image, **settings):
        sizes.append(4 * image.numel())
        return interpolate(image, **settings)

    monkeypatch.setattr(torch.nn.functional, "interpolate", counted)
    network(views, psi(True))
    most = max(sizes)
    assert len(sizes) == 5  # each in one piece
    sizes.clear()
    monkeypatch.setattr(unet16, "_TOO_MANY", most)  # as at width 1 with 16 images of 1024 px, where most is 2**31
    parts = network(views, psi(True))
    assert len(sizes) > 5 and max(sizes) < most
    assert all(torch.equal(whole[view], parts[view]) for view in whole)


@pytest.mark.parametrize("source", ["own", "none"])
def test_at_full_size_no_upsampling_reaches_the_number_that_torch_cannot_count(monkeypatch, source):
    sizes = []

    def counted(image, **settings):
        sizes.append(4 * image.numel())
        return image.new_empty((*image.shape[:2], 2 * image.shape[2], 2 * image.shape[3]))

    monkeypatch.setattr(torch.nn.functional, "interpolate", counted)
    with torch.device("meta"):
        network = unet16.Decoder([source == "own"] * 2 + [True] * 3)
        channels = (64, 128, 256, 512, 512)
        levels = [torch.empty(16, count, 1024 >> level, 1024 >> level) for level, count in enumerate(channels)]
        skips = [level if number > 1 or source == "own" else None for number, level in enumerate(levels)]
        assert network(levels[-1], skips).shape == (16, 2, 1024, 1024)
    assert max(sizes) < 2**31


def test_inference_needs_no_eo_and_equals_psi_1():
    network = shared_space()
    alone = network({"sar": images()})["sar"]
    beside = network({"sar": images(), "eo": images(seed=1)}, psi(True))["sar"]
    assert torch.allclose(alone, beside, atol=1e-5)


def test_with_psi_1_the_sar_decode_does_not_depend_on_eo_and_with_psi_0_it_does():
    network = shared_space()

    def decode(value, eo_seed):
        return network({"sar": images(), "eo": images(seed=eo_seed)}, psi(value))["sar"]

    assert torch.equal(decode(True, 1), decode(True, 2))
    assert not torch.allclose(decode(False, 1), decode(False, 2))


def test_fixed_p_1_makes_the_sar_decode_the_vanilla_skip():
    randomized, vanilla = shared_space(), shared_space("own", "own")
    vanilla.load_state_dict(randomized.state_dict())
    views = {"sar": images(), "eo": images(seed=1)}
    assert torch.equal(randomized(views, psi(True))["sar"], vanilla(views)["sar"])


def test_own_skips_keep_the_views_apart_until_the_weights():
    network = shared_space("own", "own")
    one = network({"sar": images(), "eo": images(seed=1)})
    other = network({"sar": images(), "eo": images(seed=2)})
    assert torch.equal(one["sar"], other["sar"])
    assert torch.allclose(one["sar"], network({"sar": images()})["sar"], atol=1e-5)


def test_private_skips_none_means_that_private_features_reach_the_decoder_through_the_shared_space_alone():
    network = shared_space(private="none", shared="random")
    assert network.decoder.stage1[0].in_channels == network.decoder.head.in_channels
    assert shared_space().decoder.stage1[0].in_channels > network.decoder.stage1[0].in_channels


@pytest.mark.parametrize("value", [True, False])
def test_gradients_reach_both_private_encoders(value):
    network = shared_space().train()
    logits = network({"sar": images(), "eo": images(seed=1)}, psi(value))
    sum(view.square().mean() for view in logits.values()).backward()
    for view in ("sar", "eo"):
        gradient = network.private[view][0][0][0].weight.grad
        assert gradient is not None and gradient.abs().sum() > 0


def test_sar_loss_alone_teaches_the_eo_encoder_through_mixed_skips():
    network = shared_space().train()
    network({"sar": images(), "eo": images(seed=1)}, psi(False))["sar"].square().mean().backward()
    assert network.private["eo"][0][0][0].weight.grad.abs().sum() > 0


def test_wrong_views_are_refused():
    network = shared_space()
    with pytest.raises(ValueError, match="psi"):
        network({"sar": images(), "eo": images()})
    with pytest.raises(ValueError, match="EO alone"):
        network({"eo": images()})
    with pytest.raises(ValueError, match="no view"):
        network({})
    with pytest.raises(ValueError, match="one view"):
        build_network(Model(kind="unet16", **SMALL), seed=0)({"sar": images(), "eo": images()})


def test_initial_weights_follow_from_the_seed_and_have_hes_spread():
    one, same, other = (build_network(Model(kind="unet16", width=0.25), seed) for seed in (0, 0, 1))
    weight = [network.encoder[2][1][0].weight for network in (one, same, other)]
    assert torch.equal(weight[0], weight[1])
    assert not torch.equal(weight[0], weight[2])
    fan_in = weight[0][0].numel()
    assert abs(weight[0].std().item() / (2 / fan_in) ** 0.5 - 1) < 0.05
    assert one.encoder[2][1][0].bias.abs().sum() == 0


def test_batch_norm_is_there_when_asked_for():
    def norms(norm):
        return sum(isinstance(module, torch.nn.BatchNorm2d) for module in shared_space(norm=norm).modules())

    assert norms("none") == 0
    assert norms("batch") > 0


@pytest.fixture(scope="module")
def vgg16_file(tmp_path_factory):
    """Weights in the form and with the names of an ImageNet VGG16."""
    channels = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    layers = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    weights = {}
    for layer, inputs, outputs in zip(layers, channels, channels[1:], strict=False):
        weights[f"features.{layer}.weight"] = torch.randn(outputs, inputs, 3, 3)
        weights[f"features.{layer}.bias"] = torch.randn(outputs)
    path = tmp_path_factory.mktemp("weights") / "vgg16.safetensors"
    save_file(weights, path)
    return path, weights


@pytest.mark.parametrize("kind", ["unet16", "shared_space"])
def test_vgg16_weights_fill_every_encoder_and_the_first_layer_takes_four_bands(vgg16_file, kind):
    path, weights = vgg16_file
    network = build_network(Model(kind=kind, vgg16_weights=path), seed=0)
    for blocks in network.encoders():
        first = blocks[0][0][0].weight
        assert torch.allclose(first[:, :3], weights["features.0.weight"] * 0.75)
        grey = torch.ones(1, 4, 3, 3)
        assert torch.allclose(
            (first * grey).sum((1, 2, 3)), weights["features.0.weight"].sum((1, 2, 3)), rtol=1e-4, atol=1e-4
        )
        assert torch.equal(blocks[4][2][0].weight, weights["features.28.weight"])


def test_vgg16_weights_that_are_missing_or_do_not_fit_are_named(vgg16_file, tmp_path):
    with pytest.raises(UserError, match=r"absent\.pth.*no such file"):
        build_network(Model(vgg16_weights=tmp_path / "absent.pth"), seed=0)
    (tmp_path / "cut.safetensors").write_bytes(vgg16_file[0].read_bytes()[:1000])
    with pytest.raises(UserError, match=r"cut\.safetensors"):
        build_network(Model(vgg16_weights=tmp_path / "cut.safetensors"), seed=0)
    (tmp_path / "text.pth").write_text("not weights")
    with pytest.raises(UserError, match=r"text\.pth"):
        build_network(Model(vgg16_weights=tmp_path / "text.pth"), seed=0)


@pytest.mark.parametrize("blocks", [0, 2])
def test_a_shared_space_takes_views_of_as_many_bands_as_they_have(blocks):
    network = build_network(Model(private_blocks=blocks, **SMALL), seed=0, bands={"sar": 2, "eo": 3}).eval()
    sar, eo = torch.rand(2, 2, 64, 64), torch.rand(2, 3, 64, 64)
    both = network({"sar": sar, "eo": eo})
    assert both["sar"].shape == both["eo"].shape == (2, 2, 64, 64)
    assert torch.allclose(network({"sar": sar})["sar"], both["sar"], atol=1e-5)


def test_one_encoder_serves_views_of_different_counts_and_a_band_of_0_changes_nothing():
    network = build_network(Model(kind="unet16", **SMALL), seed=0, bands={"sar": 2, "eo": 3}).eval()
    sar = torch.rand(1, 2, 64, 64)
    widened = torch.cat([sar, torch.zeros(1, 1, 64, 64)], dim=1)
    assert torch.equal(network({"sar": sar})["sar"], network({"sar": widened})["sar"])
    assert network({"eo": torch.rand(1, 3, 64, 64)})["eo"].shape == (1, 2, 64, 64)


def test_a_network_is_as_wide_as_the_views_that_its_stages_train_on():
    statistics = {"views": {"sar": {"mean": [0.0] * 2}, "eo": {"mean": [0.0] * 3}}}
    stages = {"alone": [{"views": ["sar"], "epochs": 1}], "both": [{"views": [v], "epochs": 1} for v in ("eo", "sar")]}
    variants = {name: Variant(model=Model(kind="unet16"), stages=value) for name, value in stages.items()}
    assert input_bands(variants["alone"], statistics) == {"sar": 2}
    assert input_bands(variants["both"], statistics) == {"sar": 2, "eo": 3}
    shared = Variant(model=Model(), stages=[{"views": ["sar"], "epochs": 1}])
    assert input_bands(shared, statistics) == {"sar": 2, "eo": 3}  # it has an encoder for each


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 6])
def test_the_weights_of_vgg16_keep_their_sum_for_any_number_of_bands(vgg16_file, bands):
    path, weights = vgg16_file
    network = build_network(Model(kind="unet16", vgg16_weights=path), seed=0, bands={"sar": bands})
    first = network.encoders()[0][0][0][0].weight
    assert first.shape[1] == bands
    assert torch.allclose(first.sum(dim=1), weights["features.0.weight"].sum(dim=1), atol=1e-4)

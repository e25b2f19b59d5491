"""One step: gradients add up over micro-batches, overflow in fp16 is no error, and nothing waits for the device."""

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from sspipe.errors import UserError
from sspipe.files import read_json
from sspipe.models.build import build_network
from sspipe.train.dataset import PackedTiles, read_subset
from sspipe.train.distributed import Place, Ranks
from sspipe.train.loader import Batch, BatchLoader
from sspipe.train.options import Options
from sspipe.train.precision import Precision
from sspipe.train.steps import Stepper
from sspipe.train.transforms import Standardiser, network_input
from sspipe.variants import Variant
from tests.train.engine import training

CPU = torch.device("cpu")
FP32 = Precision("fp32", "cpu")
RANDOM = {
    "model": {"width": 0.0625, "skips": {"shared": "random", "private": "none"}},
    "stages": [{"views": ["sar", "eo"], "epochs": 1}],
}
BOTH = {"model": {"width": 0.0625}, "stages": [{"views": ["sar", "eo"], "epochs": 1}]}


def stepper(packed, settings, precision=FP32, **more):
    variant = Variant.model_validate(settings)
    network = build_network(variant.model, 0)
    standardise = Standardiser(read_json(packed.statistics), CPU)
    ranks = Ranks(Place(), CPU)
    return network, Stepper(network, variant, variant.stages[0], standardise, ranks=ranks, precision=precision, **more)


def first_batch(packed, count=5):
    tiles = PackedTiles(packed.manifests, read_subset(packed.split, "train"))
    draws = {"psi": torch.rand(2, count, 5, generator=torch.Generator().manual_seed(0)) < 0.5}
    draws["flips"] = draws["psi"][0, :, 0]

    def drawn(samples, share):
        return {name: array.numpy() for name, array in draws.items()}

    loader = BatchLoader(tiles, ("sar", "eo", "masks"), device=CPU, batch_size=count)
    with loader:
        return next(loader.epoch(range(count), drawn))


@pytest.mark.parametrize("micro_batch_size", [1, 2, 3, 5, 9])
def test_micro_batches_give_the_losses_and_gradients_of_the_whole(packed, micro_batch_size, monkeypatch):
    """In float64: in float32 a sum of another order can turn which of two equal pixels a max pool takes."""

    def double(*given):
        views, masks = network_input(*given)
        return {view: image.double() for view, image in views.items()}, masks

    def gradients(size):
        network, one = stepper(packed, RANDOM, micro_batch_size=size)
        network.double()
        losses = one.step(first_batch(packed))
        return losses, torch.cat([parameter.grad.flatten() for parameter in network.parameters()])

    monkeypatch.setattr("sspipe.train.steps.network_input", double)
    (whole, whole_gradients), (parts, part_gradients) = gradients(None), gradients(micro_batch_size)
    assert torch.allclose(whole, parts, rtol=1e-6)
    assert torch.allclose(whole_gradients, part_gradients, rtol=1e-4, atol=1e-6 * whole_gradients.abs().max().item())


def test_a_micro_batch_size_changes_a_run_by_rounding_alone(packed):
    runs = [training(packed, **RANDOM, learning_rate=1e-3, engine={"options": Options(micro_batch_size=size)})
            for size in (None, 1)]  # fmt: skip
    whole, parts = (run.run()[0] for run in runs)
    assert parts.train_loss == pytest.approx(whole.train_loss, rel=1e-5)
    assert parts.validation_loss == pytest.approx(whole.validation_loss, rel=1e-4)


def test_a_rank_without_an_image_gives_gradients_of_0_and_no_layer_a_batch_of_none(packed):
    """Several of torch's kernels for GPUs cannot be launched for nothing."""
    network, one = stepper(packed, RANDOM)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    seen = []
    for module in network.modules():
        module.register_forward_hook(lambda module, given, out: seen.extend(map(len, given)))
    batch = first_batch(packed, 3)
    none = {name: array[:0] for name, array in batch.arrays.items()}
    losses = one.step(
        Batch(
            0, batch.samples, slice(1, 1), none, {"flips": batch.draws["flips"][:0], "psi": batch.draws["psi"][:, :0]}
        )
    )
    assert losses.shape == (0, 3)
    assert min(seen) > 0
    assert all(not parameter.grad.any() for parameter in network.parameters())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_both_views_go_through_the_shared_part_as_one_batch(packed):
    network, one = stepper(packed, RANDOM)
    seen = []
    network.shared[0].register_forward_hook(lambda module, given, out: seen.append(len(given[0])))
    one.step(first_batch(packed))
    assert seen == [2 * 5]


def test_the_network_and_its_input_are_channels_last(packed):
    run = training(packed, **BOTH)
    weights = [module.weight for module in run.network.modules() if isinstance(module, torch.nn.Conv2d)]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)
    seen = []
    run.network.private["sar"][0].register_forward_hook(lambda module, given, out: seen.append(given[0]))
    run.train_epoch()
    assert all(image.is_contiguous(memory_format=torch.channels_last) for image in seen)


def test_a_step_looks_at_no_number_on_the_device(packed):
    """Under fake tensors, which have no numbers, whatever would fetch one fails."""
    batch = first_batch(packed)
    with FakeTensorMode(allow_non_fake_inputs=True) as fake:
        _, one = stepper(packed, RANDOM, micro_batch_size=2)
        arrays = {name: fake.from_tensor(array) for name, array in batch.arrays.items()}
        draws = {name: fake.from_tensor(array) for name, array in batch.draws.items()}
        losses = one.step(Batch(batch.step, batch.samples, batch.share, arrays, draws))
        assert losses.shape == (5, 3)
        with pytest.raises(DataDependentOutputException):  # so the test can tell
            losses[0, 0].item()


def test_an_overflow_in_fp16_leaves_the_step_out_and_lowers_the_scale(packed):
    network, one = stepper(packed, BOTH, Precision("fp16", "cpu"))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = one.state()
    one.restore({**state, "scaler": {**state["scaler"], "scale": 1e38}})
    losses = one.step(first_batch(packed))
    assert torch.isfinite(losses).all() and one.all_finite() and not one.scale_collapsed()
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert one.state()["scaler"]["scale"] == pytest.approx(0.5e38)
    one.restore({**one.state(), "scaler": {**state["scaler"], "scale": 8.0}})
    one.step(first_batch(packed))
    assert any(not torch.equal(before[name], value) for name, value in network.state_dict().items())
    one.restore({**one.state(), "scaler": {**state["scaler"], "scale": 1e-9}})
    assert one.scale_collapsed()


def test_a_checkpoint_in_fp16_takes_its_scale_along_and_one_in_fp32_has_none(packed):
    _, half = stepper(packed, BOTH, Precision("fp16", "cpu"))
    half.step(first_batch(packed))
    state = half.state()
    state["scaler"]["scale"] = 1024.0
    _, other = stepper(packed, BOTH, Precision("fp16", "cpu"))
    other.restore(state)
    assert other.state()["scaler"]["scale"] == 1024.0
    _, whole = stepper(packed, BOTH)
    whole.restore(state)
    assert whole.state()["scaler"] == {}


def test_weights_that_broke_in_a_step_with_a_finite_loss_are_found(packed):
    network, one = stepper(packed, BOTH)
    assert one.all_finite()
    with torch.no_grad():
        network.decoder.head.bias[0] = float("nan")
    assert not one.all_finite()
    run = training(packed, **BOTH)
    run.train_epoch()
    with torch.no_grad():
        run.network.decoder.head.bias[0] = float("inf")
    with pytest.raises(UserError, match="step 3: the weights are not finite"):
        run.losses_so_far()

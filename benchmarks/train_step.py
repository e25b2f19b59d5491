"""Pairs per second of the engine's training step, against the same network written the plain way, in turns.

    python -m benchmarks.train_step                    # on a CPU: a quarter of the width, 256 px
    python -m benchmarks.train_step --device cuda      # on a GPU: the real thing, width 1, 1024 px, batch 8
    python -m benchmarks.train_step --device cuda --profile     # and where the engine's time goes

A pair is one tile's SAR and EO. Batches are on the device already. The engine gets them as they are packed and
standardises and flips them within its step; the plain side gets them standardised (`benchmarks.plain_network`), which
is to its advantage. On a GPU the plain way also runs under autocast in the engine's precision.

Model FLOP/s are those of the network's convolutions, forward and backward, as torch.utils.flop_counter counts them on
the plain network (a multiplication and an addition are two), divided by the time of a whole step. The matrix rate is
the best of some large square matrix products in the same precision, measured in the same run.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.plain_network import PlainSharedSpace, plain_step
from benchmarks.side_by_side import OwnProcess, in_turns, ratio, result, table
from benchmarks.tiles import STATISTICS, images
from sspipe.models.build import build_network
from sspipe.models.shared_space import SharedSpace
from sspipe.models.skips import draw_psi
from sspipe.train.dataset import Array
from sspipe.train.device import prepare
from sspipe.train.distributed import Place, Ranks
from sspipe.train.loader import Batch
from sspipe.train.precision import Precision, choose_precision, device_facts
from sspipe.train.steps import Stepper
from sspipe.train.transforms import Standardiser, network_input
from sspipe.variants import Variant

# Targets on an H200 at width 1, 1024 px, batch 8; on a CPU the first alone holds, with its own figure.
CPU_TARGET = 1.5
GPU_TARGETS = {"plain float32": 6.0, "plain autocast": 1.5, "share of the matrix rate": 0.45}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--width", type=float, help="of the network; 0.25 on a CPU, 1 on a GPU")
    parser.add_argument("--size-px", type=int, help="sides of a packed tile; 256 on a CPU, 1024 on a GPU")
    parser.add_argument("--batch", type=int, default=8, help="pairs in a step")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16", "fp16"), default="auto")
    parser.add_argument("--compile", action="store_true", help="training.compile")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--profile", action="store_true", help="list where the engine's time goes, and measure nothing")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("no GPU is visible to torch here: run without --device cuda, or on a machine with one")
    on_gpu = options.device == "cuda"
    options.width = options.width or (1.0 if on_gpu else 0.25)
    options.size_px = options.size_px or (1024 if on_gpu else 256)
    Comparison(options).run()


class Comparison:
    """The sides, on one batch."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.device = torch.device(options.device)
        self.precision = choose_precision(options.precision, device_facts(self.device))
        self.variant = Variant.model_validate(
            {
                "model": {"width": options.width, "skips": {"shared": "random", "private": "none"}},
                "stages": [{"views": ["sar", "eo"], "epochs": 1}],
                "learning_rate": 1e-4,
            }
        )
        self.standardise = Standardiser(STATISTICS, self.device)
        self.batch = self.made_up_batch()

    def run(self) -> None:
        if self.options.profile:
            self.profile()
            return
        sides: dict[str, Callable[[], Any]]
        if self.device.type == "cuda":
            prepare(self.device)  # for all sides alike
            torch.backends.cudnn.allow_tf32 = True  # but the plain way's float32 is what torch begins with
            sides = {"engine": self.engine(), "plain float32": self.plain(None)}
            sides["plain autocast"] = self.plain(self.precision)
        else:  # the engine sets how its process keeps memory, so each side has a process
            names = ["engine", "plain float32"]
            if device_facts(self.device).multiplies_bf16 and self.precision.name == "fp32":
                names.insert(1, "engine in bf16")
            sides = {name: OwnProcess(_cpu_side, name, self.options) for name in names}
        self.check_losses(sides)
        # Those steps have warmed all sides up.
        seconds = in_turns({name: self.until_done(side) for name, side in sides.items()}, self.options.rounds, 0)
        self.tell(seconds)

    def made_up_batch(self) -> Batch:
        count, size = self.options.batch, self.options.size_px
        drawn = [images(number, size) for number in range(count)]
        arrays: dict[Array, np.ndarray] = {
            "sar": np.stack([image["sar"] for image in drawn]).astype(np.float16),
            "eo": np.stack([image["eo"] for image in drawn]),
            "masks": np.stack([image["masks"] for image in drawn]),
        }
        samples = tuple(range(count))
        draws = {"psi": draw_psi((0,), samples), "flips": np.zeros(count, bool)}  # the plain side flips nothing
        return Batch(
            0,
            samples,
            slice(0, count),
            {name: torch.from_numpy(array).to(self.device) for name, array in arrays.items()},
            {name: torch.from_numpy(array).to(self.device) for name, array in draws.items()},
        )

    def network(self) -> SharedSpace:
        network = build_network(self.variant.model, seed=0).to(self.device)
        assert isinstance(network, SharedSpace)  # a UNet16 has no two views to be plain with
        return network

    def engine(self) -> Callable[[], torch.Tensor]:
        network = self.network()
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # missing in torch's stubs
        stepper = Stepper(
            network,
            self.variant,
            self.variant.stages[0],
            self.standardise,
            ranks=Ranks(Place(), self.device),
            precision=self.precision,
            compiled=self.options.compile,
        )
        return lambda: stepper.step(self.batch)[:, 0].mean()

    def plain(self, precision: Precision | None) -> Callable[[], torch.Tensor]:
        step = plain_step(
            self.network(), self.variant.learning_rate, *([] if precision is None else [precision.autocast])
        )
        views, masks = network_input(self.batch.arrays, self.standardise)
        psi = self.batch.draws["psi"]
        return lambda: step(views["sar"], views["eo"], masks, psi)

    def check_losses(self, sides: dict[str, Callable[[], torch.Tensor]]) -> None:
        """The first three steps must lose alike; in half precision, as far as that goes.

        Of fp16 the first alone: where its scaled gradients overflow the engine leaves a step out and lowers the scale.
        """
        losses = {name: torch.tensor([float(side()) for _ in range(3)]) for name, side in sides.items()}
        if self.precision.uses_scaler:
            losses = {name: found[:1] for name, found in losses.items()}
        for name, found in losses.items():
            tolerance = 1e-3 if self.precision.name == "fp32" and name != "engine in bf16" else 3e-2
            assert torch.allclose(found, losses["engine"], rtol=tolerance), (name, losses)

    def until_done(self, side: Callable[[], Any]) -> Callable[[], None]:
        def run() -> None:
            side()
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)

        return run

    def tell(self, seconds: dict[str, list[float]]) -> None:
        pairs = {name: self.options.batch * len(times) / sum(times) for name, times in seconds.items()}
        ratios = {name: ratio(seconds[name], seconds["engine"]) for name in seconds}
        flop = self.flop_of_a_step()
        rates = {name: flop / self.options.batch * per_second / 1e12 for name, per_second in pairs.items()}
        table(
            [
                (name, f"{pairs[name]:.2f}", f"{rates[name]:.3f}", f"{ratios[name]:.2f}" if name != "engine" else "")
                for name in seconds
            ],
            ("training step", "pairs/s", "model TFLOP/s", "engine is faster by"),
        )
        figures: dict[str, Any] = {
            "pairs_per_second": {name: round(value, 3) for name, value in pairs.items()},
            "model_tflop_per_step": round(flop / 1e12, 4),
            "width": self.options.width,
            "size_px": self.options.size_px,
            "batch": self.options.batch,
            "precision": self.precision.name,
            "compile": self.options.compile,
        }
        target = CPU_TARGET
        if self.device.type == "cuda":
            target = GPU_TARGETS["plain float32"]
            figures |= self.against_targets(ratios, rates["engine"])
        print(f"on {device_facts(self.device).name}, {self.precision.name}, width {self.options.width:g}, ", end="")
        print(f"{self.options.size_px} px, batch {self.options.batch}: {flop / 1e12:.3f} TFLOP a step")
        headline = ratios["plain float32"]
        if "engine in bf16" in seconds:  # mixed precision by hardware, as on a GPU
            figures |= {"precision": "bf16", "ratio_fp32": round(headline, 3)}
            headline = ratio(seconds["plain float32"], seconds["engine in bf16"])
            print(f"in float32 the engine is {figures['ratio_fp32']:.2f} times as fast as the plain way, in bf16:")
        result("train_step", ratio=headline, target=target, against="plain float32", **figures)

    def against_targets(self, ratios: dict[str, float], rate: float) -> dict[str, Any]:
        matrix = self.matrix_rate()
        found = {**ratios, "share of the matrix rate": rate / matrix}
        print(f"matrix products in {self.precision.name}: {matrix:.1f} TFLOP/s")
        for name, target in GPU_TARGETS.items():
            print(f"{name}: {found[name]:.2f} (target {target:g}: {'met' if found[name] >= target else 'missed'})")
        peak = torch.cuda.max_memory_allocated(self.device) / 2**30
        return {
            "gpu": torch.cuda.get_device_name(self.device),
            "ratio_autocast": round(ratios["plain autocast"], 3),
            "matrix_tflop_per_second": round(matrix, 1),
            "share_of_matrix_rate": round(found["share of the matrix rate"], 4),
            "targets": GPU_TARGETS,
            "peak_memory_gib": round(peak, 1),
        }

    def flop_of_a_step(self) -> int:
        plain = PlainSharedSpace(self.network())
        views, _ = network_input(self.batch.arrays, self.standardise)
        one = {view: image[:1] for view, image in views.items()}  # one pair, so that memory does not matter
        with FlopCounterMode(display=False) as counter:
            logits = plain(one["sar"], one["eo"], self.batch.draws["psi"][:, :1])
            torch.stack(logits).sum().backward()
        return counter.get_total_flops() * self.options.batch

    def matrix_rate(self, side: int = 8192, repeats: int = 20) -> float:
        """The best rate of products of square matrices, TFLOP/s."""
        dtype = self.precision.dtype or torch.float32
        one, other = (torch.randn(side, side, device=self.device).to(dtype) for _ in range(2))
        best = 0.0
        for _ in range(5):
            torch.cuda.synchronize(self.device)
            begun = time.perf_counter()
            for _ in range(repeats):
                one @ other
            torch.cuda.synchronize(self.device)
            best = max(best, repeats * 2 * side**3 / (time.perf_counter() - begun) / 1e12)
        return best

    def profile(self) -> None:
        """Lists where a step's time goes, by operation."""
        step = self.until_done(self.engine())
        for _ in range(3):
            step()
        activities = [torch.profiler.ProfilerActivity.CPU]
        key = "self_cpu_time_total"
        if self.device.type == "cuda":
            activities.append(torch.profiler.ProfilerActivity.CUDA)
            key = "self_device_time_total"
        with torch.profiler.profile(activities=activities, record_shapes=True) as profiler:
            for _ in range(3):
                step()
        print(profiler.key_averages(group_by_input_shape=False).table(sort_by=key, row_limit=30))


def _cpu_side(name: str, options: argparse.Namespace) -> Callable[[], float]:
    """One side, in its own process; each step returns its loss."""
    comparison = Comparison(options)
    if name.startswith("engine"):
        prepare(comparison.device)
        if name == "engine in bf16":
            comparison.precision = Precision("bf16", "cpu")
        side = comparison.engine()
    else:
        side = comparison.plain(None)
    return lambda: side().item()


if __name__ == "__main__":
    main()

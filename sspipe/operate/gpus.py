"""GPUs in Slurm's words: how many are asked for, and what the models that sites name there are built for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# (name in a gres, as a pattern; compute capability): the first that fits. From NVIDIA's list of CUDA GPUs.
_CAPABILITIES = (
    (r"gb?200|b[12]00", (10, 0)),
    (r"gh200|h[128]00|h200", (9, 0)),
    (r"l4\b|l40|rtx_?(?:40|6000_?ada|4500_?ada|4000_?ada)|ada", (8, 9)),
    (r"rtx_?50|5090|rtx_?pro", (12, 0)),
    (r"4090|4080", (8, 9)),
    (r"a100|a800|a30", (8, 0)),
    (r"a40|a10|a16|a2\b|a[456]000|rtx_?a|rtx_?30|30[789]0", (8, 6)),
    (r"t4|titan_?rtx|rtx_?20|20[678]0|quadro_?rtx|rtx_?[568]000", (7, 5)),
    (r"v100|volta|titan_?v", (7, 0)),
    (r"p100", (6, 0)),
    (r"p4\b|p40|gtx_?10[5678]0|10[5678]0|titan_?x", (6, 1)),
    (r"k80", (3, 7)),
)


def capability_of(model: str) -> tuple[int, int] | None:
    """Compute capability of a GPU by its gres type (`v100`, `nvidia_a100_80gb_pcie`); None if it is not known."""
    name = re.sub(r"[\s.-]+", "_", model.lower())
    for pattern, capability in _CAPABILITIES:
        if re.search(rf"(?<![a-z0-9])(?:tesla_|nvidia_|geforce_)*(?:{pattern})", name):
            return capability
    return None


def gpus_of(resources: Mapping[str, Any]) -> int:
    """GPUs that a job's resources ask for, in any of the spellings: `gres: gpu:v100:4`, `gpu: 4`, `gpus: 4`."""
    counts = [sum(parse_gres(str(resources.get("gres") or "")).values())]
    counts += [int(text) for name in ("gpu", "gpus") if (text := str(resources.get(name))).isdigit()]
    return max(counts)


def parse_gres(text: str) -> dict[str, int]:
    """GPUs of a gres text by type: `gpu:v100:4(S:0-1),nvme:1` -> {"v100": 4}; `gpu:4` -> {"": 4}."""
    found: dict[str, int] = {}
    for item in re.sub(r"\([^)]*\)", "", text).split(","):
        kind, *rest = item.strip().split(":")
        if kind != "gpu":
            continue
        count = int(rest[-1]) if rest and rest[-1].isdigit() else 1
        model = rest[0] if rest and not rest[0].isdigit() else ""
        found[model] = found.get(model, 0) + count
    return found

"""GPU models by the names that sites give them in their gres, and what each is built for."""

from __future__ import annotations

import re

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

"""The settings of `training` that the loop needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sspipe.train.precision import Setting


@dataclass(frozen=True)
class Options:
    """See `sspipe.config.Training` for each."""

    precision: Setting = "auto"
    compile: bool = False
    shuffle_shards: int = 8
    micro_batch_size: int | None = None
    workers: int = 0
    checkpoint_minutes: float = 10
    log_seconds: float = 30

    @property
    def deciding(self) -> dict[str, Any]:
        """Those that decide a result; the others only how it is come by."""
        return {"precision": self.precision, "compile": self.compile, "shuffle_shards": self.shuffle_shards}

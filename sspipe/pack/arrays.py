"""Writing one large array tile by tile, and its checksum with it."""

from __future__ import annotations

import math
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import DTypeLike, NDArray

from sspipe import checksum
from sspipe.errors import UserError


class ArrayWriter:
    """Writes an `.npy` file of known shape one leading row after the other.

    Rows go straight to the file, so memory holds one tile however large the shard, and the checksum is taken on the way
    instead of reading gigabytes again.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self._path = path
        self._digest = checksum.new()
        self._rows = 0
        self._bytes = 0

    def __enter__(self) -> ArrayWriter:
        self._handle = self._path.open("wb")
        header = {"descr": npy.dtype_to_descr(self.dtype), "fortran_order": False, "shape": self.shape}
        npy.write_array_header_1_0(self, header)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._handle.close()
        except OSError as late:
            if error is None:  # otherwise that was told first, and says the same
                raise self._unwritable(late) from None
        assert error is not None or self._rows == self.shape[0], f"{self._path}: {self._rows} rows of {self.shape[0]}"

    def append(self, row: NDArray[Any]) -> None:
        """Writes the next row, (shape[1:]) of the array's dtype."""
        assert row.shape == self.shape[1:], (row.shape, self.shape)
        assert row.dtype == self.dtype, (row.dtype, self.dtype)
        self.write(np.ascontiguousarray(row).data.cast("B") if row.size else b"")
        self._rows += 1

    def write(self, content: bytes | memoryview) -> None:
        """Writes bytes; numpy's header writer calls it as well."""
        try:
            self._handle.write(content)
        except OSError as error:
            raise self._unwritable(error) from None
        self._digest.update(content)
        self._bytes += len(content)

    def entry(self) -> dict[str, Any]:
        """The file's entry in the manifest."""
        return {
            "shape": list(self.shape),
            "dtype": self.dtype.name,
            "bytes": self._bytes,
            checksum.NAME: self._digest.hexdigest(),
        }

    def _unwritable(self, error: OSError) -> UserError:
        needed = math.prod(self.shape) * self.dtype.itemsize / 2**30
        return UserError(
            f"{self._path}: cannot be written ({error.strerror}), {needed:.1f} GiB in all; make room and run again"
        )


def file_entry(path: Path) -> dict[str, Any]:
    """The manifest's entry of a file that is no array."""
    return {"bytes": path.stat().st_size, checksum.NAME: checksum.of_file(path)}

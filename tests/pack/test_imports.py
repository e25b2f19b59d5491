from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module", ["sspipe.pack.orientation", "sspipe.pack.halves", "sspipe.pack.moments", "sspipe.data.spacenet6"]
)
def test_what_training_and_inference_may_use_needs_no_raster_library(module):
    code = (
        f"import sys, {module}; "
        "sys.exit(', '.join({'rasterio', 'geopandas', 'shapely', 'pyogrio'} & set(sys.modules)) or 0)"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr

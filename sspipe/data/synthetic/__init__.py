"""The embedded data: one small invented city, written as an archive of SpaceNet 6's form.

`layout` plans the strips, `streets`, `buildings` and `scene` draw the city as vectors, `relief` turns a window of it
into rasters, `optical` and `radar` image those, `labels` cuts the footprints, and `archive` writes everything down.
"""

from sspipe.data.synthetic.archive import synthesize_archive

__all__ = ["synthesize_archive"]

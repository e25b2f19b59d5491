"""A small archive in SpaceNet 6's form, and what unpacking it says."""

from __future__ import annotations

import io
import json
import tarfile

import pytest

from sspipe.data import spacenet6
from sspipe.data.archive import unpack_archive
from sspipe.errors import UserError
from tests.data.small_scene import TILE_IDS, write_scene


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """Two tiles, with a product that is not in use."""
    raw = write_scene(tmp_path_factory.mktemp("scene"), TILE_IDS[:2])
    sar = raw / spacenet6.file_path(spacenet6.SAR, TILE_IDS[0])
    pan = raw / spacenet6.file_path(spacenet6.PAN, TILE_IDS[0])
    pan.parent.mkdir()
    pan.write_bytes(sar.read_bytes())
    return raw


def unpack(archive):
    folder = archive.parent
    unpack_archive(archive=archive, out=folder / "raw", manifest=folder / "raw.json")
    return json.loads((folder / "raw.json").read_text())


def refusal(archive):
    """The message of an archive that must be refused, after which nothing may lie beside it."""
    with pytest.raises(UserError) as error:
        unpack(archive)
    assert [path.name for path in archive.parent.iterdir()] == [archive.name]
    assert str(archive) in str(error.value)
    return str(error.value)


def member(name, kind=tarfile.REGTYPE, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


SAR_NAME = f"./{spacenet6.file_path(spacenet6.SAR, TILE_IDS[5])}"


def headers_of(content):
    with tarfile.open(fileobj=io.BytesIO(content)) as members:
        return [member.offset for member in members.getmembers()]


def with_checksum(content, header):
    """Makes a changed header's checksum right again."""
    content[header + 148 : header + 156] = b" " * 8
    content[header + 148 : header + 156] = b"%06o\0 " % sum(content[header : header + 512])

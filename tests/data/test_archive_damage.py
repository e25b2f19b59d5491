"""Archives that are damaged or cut: noticed with the member, and nothing stays."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import re
import shutil
import tarfile
import tempfile
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sspipe.data import spacenet6
from sspipe.data.archive import BLOCK
from sspipe.errors import UserError
from tests.data.small_archive import headers_of, refusal, scene, unpack
from tests.data.small_scene import TILE_IDS, pack_archive

__all__ = ["scene"]  # a fixture


def test_a_corrupt_checksum_at_the_very_end_is_noticed(scene, tmp_path):
    archive = pack_archive(scene, tmp_path / "archive.tar.gz")
    content = bytearray(archive.read_bytes())
    content[-8] ^= 1  # the CRC; its last reader is whoever reads to the end
    archive.write_bytes(content)
    assert "CRC check failed" in refusal(archive)


@pytest.fixture(scope="module")
def long_archive(scene, tmp_path_factory):
    """An archive of several blocks: its bytes, and where each of its members ends in the tar."""
    raw = tmp_path_factory.mktemp("long") / "raw"
    shutil.copytree(scene, raw)
    for index, tile_id in enumerate(TILE_IDS):
        content = np.random.default_rng(index).bytes(300_000)
        (raw / spacenet6.file_path(spacenet6.EO, tile_id)).write_bytes(content)
    archive = pack_archive(raw, raw.parent / "archive.tar.gz")
    with tarfile.open(archive) as members:
        ends = {member.name: member.offset_data + member.size for member in members.getmembers()}
    return archive.read_bytes(), ends


@pytest.mark.parametrize("kept", [0.002, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.9999])
def test_a_truncated_archive_is_noticed_and_the_last_member_named(long_archive, tmp_path, kept):
    content, ends = long_archive
    archive = tmp_path / "archive.tar.gz"
    archive.write_bytes(content[: int(len(content) * kept)])
    message = refusal(archive)
    assert "damaged, as was noticed" in message and "fetch it again" in message
    named = re.search(r"member,? `(.*?)`", message)[1]
    there = len(zlib.decompressobj(31).decompress(archive.read_bytes()))
    # The member named is the one in which the bytes end, or one that a block less would have ended in.
    assert ends["./" + named.removeprefix("./")] > there - BLOCK - 1024


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), kind=st.sampled_from(["cut", "flip", "zeros", "garbage"]))
def test_no_damage_passes_for_a_whole_archive(long_archive, place, kind):
    before = set(threading.enumerate())
    content = bytearray(long_archive[0])
    at = int(place * len(content))
    if kind == "cut":
        content = content[:at]
    elif kind == "flip":
        content[at] ^= 1 << at % 8
    elif kind == "zeros":
        content[at : at + 600] = bytes(len(content[at : at + 600]))
    else:
        content += b"garbage" + content[:at]
    if bytes(content) == long_archive[0]:
        return
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "archive.tar.gz"
        archive.write_bytes(content)
        if 3 < at < 22 and kind == "flip":  # the gzip header's time and file name: not part of the content
            with contextlib.suppress(UserError):
                unpack(archive)
        else:
            refusal(archive)
    assert set(threading.enumerate()) <= before


def test_a_missing_gzip_trailer_is_noticed(scene, tmp_path):
    archive = pack_archive(scene, tmp_path / "archive.tar.gz")
    archive.write_bytes(archive.read_bytes()[:-4])
    assert "damaged, as was noticed" in refusal(archive)


def test_a_flipped_bit_in_the_compressed_data_is_noticed(scene, tmp_path):
    archive = pack_archive(scene, tmp_path / "archive.tar.gz")
    content = archive.read_bytes()

    def flipped(place: int) -> bytes:
        return content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :]

    def matters(place: int) -> bool:  # a few bits only fill bytes up, and mean nothing
        try:
            return gzip.decompress(flipped(place)) != gzip.decompress(content)
        except (EOFError, OSError, zlib.error):
            return True

    archive.write_bytes(flipped(next(place for place in range(len(content) // 2, len(content)) if matters(place))))
    assert "damaged, as was noticed" in refusal(archive)


def test_a_damaged_member_header_is_not_taken_for_the_archives_end(scene, tmp_path):
    archive = pack_archive(scene, tmp_path / "archive.tar.gz")
    with tarfile.open(archive) as members:
        third = members.getmembers()[3].offset
    content = bytearray(gzip.decompress(archive.read_bytes()))
    content[third : third + 8] = b"\xff" * 8
    archive.write_bytes(gzip.compress(bytes(content)))
    assert "bad checksum where a member was expected" in refusal(archive)


def test_an_archive_cut_between_two_members_is_noticed_though_its_gzip_is_whole(scene, tmp_path):
    archive = pack_archive(scene, tmp_path / "archive.tar.gz")
    with tarfile.open(archive) as members:
        third = members.getmembers()[3].offset
    archive.write_bytes(gzip.compress(gzip.decompress(archive.read_bytes())[:third]))
    assert "damaged, as was noticed" in refusal(archive)


def test_a_second_archive_behind_the_first_is_noticed(scene, tmp_path):
    archive = pack_archive(scene, tmp_path / "archive.tar.gz")
    archive.write_bytes(archive.read_bytes() * 2)
    assert "data follow the archive's end" in refusal(archive)


def test_a_zeroed_header_is_not_taken_for_the_archives_end(scene, tmp_path):
    archive = pack_archive(scene, tmp_path / "archive.tar.gz")
    content = bytearray(gzip.decompress(archive.read_bytes()))
    third = headers_of(bytes(content))[3]
    content[third : third + 512] = bytes(512)
    archive.write_bytes(gzip.compress(bytes(content)))
    assert "data follow the archive's end" in refusal(archive)


def test_a_refused_archive_leaves_what_an_earlier_run_unpacked(scene, tmp_path):
    archive = pack_archive(scene, tmp_path / "archive.tar.gz")
    unpack(archive)
    before = hashlib.sha256((tmp_path / "raw.json").read_bytes()).digest()
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(UserError):
        unpack(archive)
    assert hashlib.sha256((tmp_path / "raw.json").read_bytes()).digest() == before
    assert len(list((tmp_path / "raw").rglob("*.tif"))) == 4

"""Archives made to do harm: members and headers that no archive of SpaceNet has."""

from __future__ import annotations

import gzip
import shutil
import tarfile
import tempfile
import tracemalloc
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sspipe.data import spacenet6
from sspipe.data.archive import WANTED
from sspipe.data.byte_progress import MIB
from sspipe.errors import UserError
from tests.data.small_archive import SAR_NAME, headers_of, member, refusal, scene, unpack, with_checksum
from tests.data.small_scene import pack_archive

__all__ = ["scene"]  # a fixture


@pytest.mark.parametrize(
    ("hostile", "reason"),
    [
        (member("/etc/cron.d/evil"), "absolute"),
        (member("../evil"), "leads out of the folder"),
        (member("./train/../../evil"), "leads out of the folder"),
        (member("./train/AOI_11_Rotterdam/SAR-Intensity/../../../../evil.tif"), "leads out of the folder"),
        (member("../folder", tarfile.DIRTYPE), "leads out of the folder"),
        (member(SAR_NAME, tarfile.SYMTYPE, "/etc/passwd"), "link to `/etc/passwd`"),
        (member(SAR_NAME, tarfile.LNKTYPE, "../../secret"), "link to `../../secret`"),
        (member("./train", tarfile.SYMTYPE, "/tmp"), "link to `/tmp`"),
        (member(SAR_NAME, tarfile.FIFOTYPE), "neither a file nor a folder"),
        (member(SAR_NAME, tarfile.CHRTYPE), "neither a file nor a folder"),
    ],
    ids=lambda value: value.name if isinstance(value, tarfile.TarInfo) else "",
)
def test_a_member_that_would_leave_the_folder_is_refused_by_name(scene, tmp_path, hostile, reason):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    message = refusal(pack_archive(scene, inner / "archive.tar.gz", [(hostile, b"")]))
    assert f"refused member `{hostile.name}`" in message and reason in message
    assert not list(tmp_path.rglob("evil*"))


def test_a_member_that_occurs_twice_is_refused(scene, tmp_path):
    twice = member(f"./{spacenet6.ORIENTATION_FILE}")
    assert "`SAR_orientations.txt` occurs twice" in refusal(
        pack_archive(scene, tmp_path / "archive.tar.gz", [(twice, b"x 1\n")] * 2)
    )


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_change_of_the_headers_ends_in_one_message_or_in_files_of_known_names(scene, small_tar, data):
    content = bytearray(small_tar)
    for _ in range(data.draw(st.integers(1, 3))):
        header = data.draw(st.sampled_from(headers_of(small_tar)))
        start, length = data.draw(
            st.sampled_from([(0, 100), (100, 8), (124, 12), (156, 1), (157, 100), (257, 8), (345, 155)])
        )
        place = data.draw(st.integers(0, length - 1))
        content[header + start + place] = data.draw(st.sampled_from([*b"/.\0157KLSxgDV\xff\x80\n"]))
        with_checksum(content, header)
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "inner" / "archive.tar.gz"
        archive.parent.mkdir()
        archive.write_bytes(gzip.compress(bytes(content), 1))
        try:
            unpack(archive)
        except UserError as error:
            assert str(archive) in str(error)
            assert [path.name for path in archive.parent.iterdir()] == [archive.name]
        else:
            files = [path for path in (archive.parent / "raw").rglob("*") if not path.is_dir()]
            names = [path.relative_to(archive.parent / "raw") for path in files]
            assert all(spacenet6.product_of(PurePosixPath(name)) in WANTED for name in names)
            assert all(path.is_file() and not path.is_symlink() for path in files)
        assert [path.name for path in Path(folder).iterdir()] == ["inner"]


@pytest.fixture(scope="module")
def small_tar(scene, tmp_path_factory):
    """A tar of labels and tables alone, so that headers are a large part of it."""
    raw = tmp_path_factory.mktemp("small") / "raw"
    shutil.copytree(scene, raw, ignore=shutil.ignore_patterns("*.tif"))
    return gzip.decompress(pack_archive(raw, raw.parent / "archive.tar.gz").read_bytes())


@pytest.mark.parametrize(
    ("hostile", "reason"),
    [
        ({"size": 2**40}, "its size is given as 1099511627776 bytes"),
        ({"pax_headers": {"size": str(2**62)}}, "its size is given as"),
        ({"pax_headers": {"path": "../evil"}}, "leads out of the folder"),
        ({"pax_headers": {"path": "/tmp/evil"}}, "absolute"),
        ({"pax_headers": {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(2**50)}}, ""),
        ({"pax_headers": {"GNU.sparse.map": "0,1,1099511627776,1", "GNU.sparse.size": str(2**41)}}, "sparse"),
        ({"type": tarfile.GNUTYPE_SPARSE}, ""),
        ({"type": tarfile.GNUTYPE_LONGNAME, "size": 2**40}, "a header of 1099511627776 bytes"),
        ({"type": tarfile.XHDTYPE, "size": 2**40}, "a header of 1099511627776 bytes"),
    ],
    ids=lambda value: str(value)[:50] if isinstance(value, dict) else "",
)
def test_headers_that_claim_what_cannot_be_are_refused(scene, tmp_path, hostile, reason):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    archive = pack_archive(scene, inner / "archive.tar.gz")
    content = gzip.decompress(archive.read_bytes())
    info = tarfile.TarInfo(SAR_NAME)
    for name, value in hostile.items():
        setattr(info, name, value)
    header = info.tobuf(tarfile.PAX_FORMAT if "pax_headers" in hostile else tarfile.GNU_FORMAT)
    archive.write_bytes(gzip.compress(header + content))
    assert reason in refusal(archive)
    assert not list(tmp_path.rglob("evil*"))


def test_a_thousand_headers_one_in_the_other_are_refused(scene, tmp_path):
    archive = pack_archive(scene, tmp_path / "archive.tar.gz")
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 5
    nested = (info.tobuf() + b"name\0".ljust(512, b"\0")) * 1000
    archive.write_bytes(gzip.compress(nested + gzip.decompress(archive.read_bytes())))
    assert "damaged" in refusal(archive)


def test_names_in_another_case_are_not_those_of_the_products(scene, tmp_path):
    extra = [(member(f"./{spacenet6.ORIENTATION_FILE}".upper()), b"x 1\n"), (member(SAR_NAME.lower()), b"x")]
    assert unpack(pack_archive(scene, tmp_path / "archive.tar.gz", extra))["unknown"]["members"] == 2


def test_names_that_a_terminal_would_act_on_are_shown_escaped(scene, tmp_path):
    message = refusal(pack_archive(scene, tmp_path / "archive.tar.gz", [(member("../\x1b[2Jevil\n"), b"")]))
    assert "`../\\x1b[2Jevil\\n`" in message


def test_memory_stays_small_however_many_members_there_are(tmp_path):
    archive = tmp_path / "archive.tar.gz"
    with gzip.open(archive, "wb", compresslevel=1) as stream:
        for number in range(20_000):
            stream.write(member(f"./junk/{number}").tobuf())
        stream.write(bytes(1024))
    tracemalloc.start()
    with pytest.raises(UserError, match="holds no SAR-Intensity"):
        unpack(archive)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * MIB  # their headers alone would be 30 MiB

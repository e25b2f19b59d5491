"""Fetching from a real S3 server, with what goes wrong between here and there."""

from __future__ import annotations

import os
import random
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.s3.fetching import LIMIT_S, fetches
from tests.s3.store import PRIVATE, PUBLIC

__all__ = ["fetches"]  # a fixture

pytestmark = pytest.mark.xdist_group("s3")

MIB = 1024**2
SIZE = 64 * MIB + 12345
OUTAGE_S = 20
both = pytest.mark.parametrize("scheme", ["http", "https"])


@pytest.fixture(scope="module")
def archive(store):
    """An object as the archive is one: uploaded in parts."""
    return store.put("tarballs/train.tar.gz", SIZE, seed=0)


@both
@pytest.mark.parametrize("by_url", [False, True], ids=["s3", "url"])
def test_a_public_object_is_fetched_whole_in_little_memory(fetches, archive, scheme, by_url):
    fetch = fetches(scheme)
    process = fetch.start_and_hold(0.95, archive, by_url=by_url)
    peak_kib = int(Path(f"/proc/{process.pid}/status").read_text().split("VmHWM:")[1].split()[0])
    fetch.proxy.release()
    status, said = fetch.end(process)
    assert status == 0, said
    fetch.check(archive)
    assert "is whole: its sha256 is archive.sha256" in said
    assert fetch.refetched(archive) < 0.02
    assert peak_kib < 200 * 1024


@both
@pytest.mark.parametrize("by_url", [False, True], ids=["s3", "url"])
def test_a_fetch_that_is_killed_goes_on_with_less_than_a_tenth_fetched_again(fetches, archive, scheme, by_url):
    fetch = fetches(scheme)
    chance = random.Random(f"{scheme} {by_url}")
    kills = 3
    for _ in range(kills):
        assert fetch.kill_at(chance.uniform(0.1, 0.3), archive, by_url=by_url) == -signal.SIGKILL
        assert fetch.left() == ["archive.tar.gz.part", "archive.tar.gz.part.journal"]
    assert "going on from" in fetch.succeed(archive, by_url=by_url)
    assert fetch.refetched(archive) < 0.1 * kills


@both
def test_one_kill_late_in_the_object_costs_less_than_a_tenth(fetches, archive, scheme):
    fetch = fetches(scheme)
    fetch.kill_at(0.9, archive)
    fetch.succeed(archive)
    assert fetch.refetched(archive) < 0.1


def test_a_server_that_is_stopped_for_20_s_is_waited_for(fetches, store, archive):
    running = []
    for scheme in ("http", "https"):
        fetch = fetches(scheme)
        running.append((fetch, fetch.start_and_hold(0.2, archive)))
    store.server.stop_gateway()
    for fetch, _ in running:
        fetch.proxy.release()
    time.sleep(OUTAGE_S)
    store.server.start_gateway()
    for fetch, process in running:
        status, said = fetch.end(process)
        assert status == 0, said
        fetch.check(archive)
        assert "trying again in" in said and re.search(r"nothing came for 0:[12]\d; trying again", said)
        assert fetch.refetched(archive) < 0.1


@both
def test_a_source_that_stays_away_is_given_up_and_gone_on_from_later(fetches, archive, scheme):
    fetch = fetches(scheme)
    process = fetch.start_and_hold(0.5, archive, outage_minutes=0.04)
    fetch.proxy.refusing = True
    fetch.proxy.release()
    status, said = fetch.end(process)
    assert status == 1 and "Traceback" not in said
    assert re.search(r"nothing came for 0:\d\d \(archive.outage_minutes\)", said)
    assert "run again: it goes on where it stopped" in said
    fetch.refused(archive, outage_minutes=0)  # before it has looked at what is there
    fetch.proxy.refusing = False
    assert "going on from" in fetch.succeed(archive)
    assert fetch.refetched(archive) < 0.1


@both
def test_cut_connections_are_opened_anew_where_they_stopped(fetches, archive, scheme):
    fetch = fetches(scheme)
    fetch.proxy.cut_every = 5 * MIB + 77
    said = fetch.succeed(archive)
    assert "trying again in" in said
    assert fetch.refetched(archive) < 0.1


def test_a_flipped_bit_leaves_nothing_and_the_next_run_fetches_anew(fetches, archive):
    fetch = fetches("http")
    fetch.proxy.flip_at = SIZE // 2
    said = fetch.refused(archive)
    assert f"not {archive.sha256} (archive.sha256): it was damaged on the way" in said and "run again" in said
    assert fetch.left() == []
    fetch.succeed(archive)


def test_a_flipped_bit_under_tls_is_noticed_at_once_and_only_its_part_comes_again(fetches, archive):
    fetch = fetches("https")
    fetch.proxy.flip_at = SIZE // 2
    assert "trying again in" in fetch.succeed(archive)
    assert fetch.refetched(archive) < 0.1


@both
def test_an_object_that_is_replaced_during_the_run_stops_it_and_the_next_starts_anew(fetches, store, scheme):
    fetch = fetches(scheme)
    old = store.put("replaced.tar.gz", 24 * MIB, seed=1)
    process = fetch.start_and_hold(0.3, old)
    new = store.put("replaced.tar.gz", 24 * MIB, seed=2)
    fetch.proxy.release()
    status, said = fetch.end(process)
    assert status == 1 and "was replaced while it was being fetched; run again" in said
    assert not fetch.out.exists()
    assert "starting anew" in fetch.succeed(new)


@both
def test_an_object_that_is_replaced_between_runs_is_fetched_anew(fetches, store, scheme):
    fetch = fetches(scheme)
    old = store.put("between.tar.gz", 24 * MIB, seed=3)
    fetch.kill_at(0.5, old)
    new = store.put("between.tar.gz", 24 * MIB, seed=4)
    assert "starting anew" in fetch.succeed(new)


@both
def test_a_truncated_object_is_told_before_anything_comes(fetches, store, archive, scheme):
    fetch = fetches(scheme)
    short = store.put("short.tar.gz", SIZE // 8, seed=0)
    said = fetch.refused(short, size_bytes=SIZE, sha256=archive.sha256)
    assert f"measures {SIZE // 8} bytes, expected {SIZE}" in said
    assert fetch.left() == [] and fetch.proxy.passed < 64 * 1024


def test_a_truncated_object_is_noticed_by_its_checksum_too(fetches, store, archive):
    fetch = fetches("http")
    short = store.put("short.tar.gz", SIZE // 8, seed=0)
    said = fetch.refused(short, size_bytes=None, sha256=archive.sha256)
    assert "is what the source holds" in said


@both
def test_a_wrong_checksum_in_the_config_is_told_and_correcting_it_fetches_nothing_again(fetches, archive, scheme):
    fetch = fetches(scheme)
    said = fetch.refused(archive, sha256="0" * 64)
    assert archive.sha256 in said and "correct archive.sha256" in said
    fetch.succeed(archive)
    assert fetch.refetched(archive) < 0.02


@pytest.mark.parametrize("part_mib", [8, None], ids=["in parts", "whole"])
def test_without_a_pinned_checksum_the_stores_own_is_compared(fetches, store, part_mib):
    fetch = fetches("http")
    stored = store.put(f"unpinned-{part_mib}", 20 * MIB + 5, seed=5, part_mib=part_mib)
    said = fetch.succeed(stored, sha256=None, size_bytes=None)
    assert "its size and the store's own md5 agree; archive.sha256 is not set, so pin what came" in said
    assert stored.sha256 in said


def test_a_flipped_bit_is_noticed_by_the_stores_own_md5_where_no_checksum_is_pinned(fetches, store):
    fetch = fetches("http")
    stored = store.put("unpinned-flipped", 12 * MIB, seed=6, part_mib=None)
    fetch.proxy.flip_at = 6 * MIB
    assert "not the md5 that the store keeps of it" in fetch.refused(stored, sha256=None)
    assert fetch.left() == []


@both
def test_a_private_bucket_is_told(fetches, store, scheme):
    secret = store.put("secret", MIB, seed=7, bucket=PRIVATE)
    fetch = fetches(scheme)
    said = fetch.refused(secret, bucket=PRIVATE)
    assert "s3://private/secret" in said and "not readable without credentials" in said
    assert fetch.left() == []


def test_a_missing_key_and_a_missing_bucket_are_told(fetches, archive):
    fetch = fetches("http")
    assert "there is no such object; check archive.bucket and archive.key" in fetch.refused(archive, key="nothing")
    assert "there is no such object" in fetch.refused(archive, bucket="nothing")
    url = f"{fetch.proxy.url}/{PUBLIC}/nothing"
    assert "there is no such object; check archive.url" in fetch.refused(archive, by_url=True, url=url)


def test_a_certificate_that_nobody_vouches_for_is_told(fetches, archive):
    fetch = fetches("https")
    said = fetch.refused(archive, ca_bundle=None)
    assert "certificate is not trusted" in said and "archive.ca_bundle" in said
    said = fetch.refused(archive, ca_bundle=None, by_url=True)
    assert "certificate is not trusted" in said


@pytest.mark.parametrize(("how", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_fetch_that_is_told_to_end_says_that_it_can_go_on(fetches, archive, how, status):
    fetch = fetches("http")
    assert fetch.kill_at(0.5, archive, how) == status
    said = fetch.log.read_text()
    assert "are kept in" in said and "run again and it goes on from there" in said and "Traceback" not in said
    fetch.succeed(archive)
    assert fetch.refetched(archive) < 0.1


def test_a_fetch_that_waits_for_a_dead_server_ends_at_once_when_told(fetches, archive):
    fetch = fetches("http")
    process = fetch.start_and_hold(0.3, archive)
    begun = time.monotonic()
    process.terminate()
    assert process.wait(LIMIT_S) == 143
    assert time.monotonic() - begun < 15  # and not the 30 s after which a silent connection is given up


def test_only_one_fetch_writes_an_archive(fetches, archive):
    fetch = fetches("http")
    process = fetch.start_and_hold(0.2, archive)
    first_log, fetch.log = fetch.log, fetch.log.with_name("second.log")
    assert "another fetch is writing it" in fetch.refused(archive)
    fetch.proxy.release()
    fetch.log = first_log
    status, said = fetch.end(process)
    assert status == 0, said
    fetch.check(archive)


def test_parts_that_a_power_failure_damaged_are_fetched_again(fetches, archive):
    fetch = fetches("http")
    fetch.kill_at(0.6, archive)
    with (fetch.out.parent / "archive.tar.gz.part").open("r+b") as part:
        part.write(b"\0" * 100)
    with (fetch.out.parent / "archive.tar.gz.part.journal").open("ab") as journal:
        journal.write(b'{"part": 12, "crc')
    assert "1 part on disk is damaged and will be fetched again" in fetch.succeed(archive)
    assert fetch.refetched(archive) < 0.1


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 96 MiB: how to run a command that sees it, where that finds it, and where others do.

    Root mounts one; anybody else may in a name space of his own.
    """
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96m", "none", str(folder)]
    if os.geteuid() == 0:
        mounted = subprocess.run(mount, capture_output=True, text=True)
        if mounted.returncode:
            pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
        yield [], folder, folder
        subprocess.run(["umount", "--lazy", folder], check=True)
        return
    script = f"{shlex.join(mount)} && echo ready && exec sleep 600"
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stderr is not None
    try:
        if holder.stdout.readline() != "ready\n":
            pytest.skip(f"no small disk can be mounted here: {holder.stderr.read().strip()}")
        user = ["--user", "--preserve-credentials"]
        enter = ["nsenter", "--target", str(holder.pid), *user, "--mount", "--wd=" + str(Path.cwd()), "--"]
        yield enter, folder, Path(f"/proc/{holder.pid}/root{folder}")
    finally:
        holder.kill()
        holder.wait()


def test_too_small_a_disk_is_told_before_anything_is_fetched(fetches, archive, small_disk):
    enter, inside, outside = small_disk
    (outside / "filler").write_bytes(b"\0" * 50 * MIB)
    fetch = fetches("http")
    said = fetch.refused(archive, prefix=enter, out=inside / "archive.tar.gz")
    assert "46.0 MiB are free, and the archive needs 64.0 MiB" in said
    assert fetch.proxy.passed < 64 * 1024
    assert [path.name for path in outside.iterdir()] == ["filler"]


@both
def test_a_disk_that_fills_up_meanwhile_is_told_and_the_fetch_goes_on_when_there_is_space(
    fetches, archive, small_disk, scheme
):
    enter, inside, outside = small_disk
    fetch = fetches(scheme)
    process = fetch.start_and_hold(0.2, archive, prefix=enter, out=inside / "archive.tar.gz")
    (outside / "filler").write_bytes(b"\0" * 50 * MIB)
    fetch.proxy.release()
    status, said = fetch.end(process)
    assert status == 1 and "Traceback" not in said
    assert "the disk is full" in said and "free some space and run again, and it goes on" in said
    assert not (outside / "archive.tar.gz").exists()
    assert "free, and the archive needs" in fetch.refused(archive, prefix=enter, out=inside / "archive.tar.gz")

    (outside / "filler").unlink()
    status, said = fetch.run(archive, prefix=enter, out=inside / "archive.tar.gz")
    assert status == 0 and "going on from" in said
    assert (outside / "archive.tar.gz").read_bytes() == archive.content
    assert fetch.refetched(archive) < 0.1

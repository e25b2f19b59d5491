"""Snakemake fetches the archive from a store."""

import os

import pytest

from tests.s3.store import PUBLIC, environment

pytestmark = pytest.mark.xdist_group("s3")

ARCHIVE = "results/tiny/archive.tar.gz"


@pytest.fixture
def stored(store):
    return store.put("workflow.tar.gz", 12 * 1024**2, seed=8)


@pytest.fixture
def from_store(store, stored, fresh, monkeypatch):
    """A checkout whose config names the store."""
    for name in os.environ.keys() - environment().keys():
        monkeypatch.delenv(name)
    archive = {"source": "s3", "endpoint_url": store.server.https, "ca_bundle": str(store.server.ca_bundle)}
    archive |= {"bucket": PUBLIC, "key": stored.key, "size_bytes": len(stored.content), "sha256": stored.sha256}
    fresh.edit(lambda content: content.update({"archive": archive}))
    return fresh


def test_the_rule_fetches_and_logs_and_how_it_fetches_may_change_without_fetching_again(from_store, stored):
    done = from_store.snakemake(ARCHIVE)
    log = from_store.results / "logs" / "fetch_archive.log"
    assert done.returncode == 0, done.stdout + done.stderr + log.read_text()
    assert (from_store.folder / ARCHIVE).read_bytes() == stored.content
    assert "over 8 connections" in log.read_text()

    from_store.edit(lambda content: content["archive"].update({"connections": 3, "outage_minutes": 1}))
    assert from_store.planned(ARCHIVE) == {}
    from_store.edit(lambda content: content["archive"].update({"sha256": "0" * 64}))
    assert from_store.planned(ARCHIVE) == {"fetch_archive": 1}


def test_a_mirror_is_fetched_from_by_its_url(from_store, store, stored):
    mirror = {"source": "url", "url": f"{store.server.http}/{PUBLIC}/{stored.key}", "connections": 2}
    from_store.edit(lambda content: content["archive"].update(mirror))
    done = from_store.snakemake(ARCHIVE)
    log = from_store.results / "logs" / "fetch_archive.log"
    assert done.returncode == 0, done.stdout + done.stderr + log.read_text()
    assert (from_store.folder / ARCHIVE).read_bytes() == stored.content


def test_a_mirror_without_a_url_is_refused_before_anything_runs(fresh):
    fresh.edit(lambda content: content["archive"].update({"source": "url"}))
    done = fresh.snakemake(ARCHIVE)
    assert done.returncode != 0
    assert "source is `url`, so `archive.url` must name the archive" in done.stdout + done.stderr

"""A real browser for tests: Chromium through playwright, without a network."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

SCREENSHOTS = Path(__file__).parents[1] / "screenshots"
PIECE_PX = 3000
# Quiet start: nothing of the browser's own looks for the network.
ARGUMENTS = [
    "--no-sandbox",  # it cannot nest inside most containers, and the pages are ours
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--hide-scrollbars",
    "--disable-dev-shm-usage",  # some containers have little of it
]
# Contrast of text on what lies behind it (WCAG 2), for every element that holds text of its own.
CONTRASTS = """() => {
  const parse = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = node => {
    for (; node; node = node.parentElement) {
      const colour = parse(getComputedStyle(node).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const node of document.querySelectorAll('body *:not(script):not(style)')) {
    const own = [...node.childNodes].some(child => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.checkVisibility() || node.closest('.scale, .skip')) continue;
    const style = getComputedStyle(node), inside = node.closest('svg');
    const pair = [light(parse(inside ? style.fill : style.color)), light(behind(node))].sort((a, b) => b - a);
    found.push([(pair[0] + 0.05) / (pair[1] + 0.05), node.tagName, node.textContent.trim().slice(0, 40)]);
  }
  return found.sort((a, b) => a[0] - b[0]).slice(0, 3);
}"""
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One Chromium for all tests. Without one, tests fail on CI (env CI) and are skipped elsewhere, with the reason."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _give_up("playwright is not installed (pip install playwright)")
    try:
        session = sync_playwright().start()
    except Exception as error:  # what its driver lacks shows in many ways; all mean that there is no browser
        _give_up(f"playwright's driver does not start ({error}); on Debian: apt-get install libatomic1")
    try:
        executable = _executable(Path(session.chromium.executable_path))
        if executable is None:
            _give_up(f"no browser: none of {', '.join(NAMES)} is on PATH and playwright has none of its own")
        chromium = session.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield chromium
        chromium.close()
    finally:
        session.stop()


@contextmanager
def opened(browser: Any, page_file: Path, width: int = 1280, height: int = 900, **context: Any) -> Iterator[Any]:
    """Opens a file and yields the page; `page.complaints` has console errors, `page.requested` each address asked for.

    Args:
        browser: the fixture.
        page_file: an HTML file.
        width: of the window, CSS px.
        height: of the window, CSS px.
        context: options of the browser context, such as color_scheme="dark".
    """
    with_context = browser.new_context(viewport={"width": width, "height": height}, **context)
    page = with_context.new_page()
    page.complaints, page.requested = [], []
    page.on("console", lambda message: page.complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda request: page.requested.append(request.url))
    try:
        page.goto(page_file.resolve().as_uri(), wait_until="load")
        yield page
    finally:
        with_context.close()


def screenshot(page: Any, name: str) -> list[Path]:
    """Saves the page as tests/screenshots/{name}_0.png and so on from top to bottom, for people to look at.

    In pieces: of a page of tens of thousands of pixels a browser cannot draw one picture on every machine.
    """
    SCREENSHOTS.mkdir(exist_ok=True)
    for old in SCREENSHOTS.glob(f"{name}_*.png"):
        old.unlink()
    size = page.viewport_size
    page.set_viewport_size({"width": size["width"], "height": PIECE_PX})
    pieces = []
    for number, top in enumerate(range(0, page.evaluate("() => document.documentElement.scrollHeight"), PIECE_PX)):
        page.evaluate("top => scrollTo({top, behavior: 'instant'})", top)
        pieces.append(SCREENSHOTS / f"{name}_{number}.png")
        page.screenshot(path=str(pieces[-1]))
    page.set_viewport_size(size)
    return pieces


def _executable(own: Path) -> str | None:
    for name in NAMES:
        found = shutil.which(name)
        if found:
            return found
    return str(own) if own.is_file() else None


def _give_up(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)

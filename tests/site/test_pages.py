"""Every page of the built site, opened in a headless browser: no console errors, and no text outside its box. `./nox -s site` runs it."""

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from tests.browser import OVERFLOWS, open_browser

SITE = Path(__file__).parents[2] / "reports" / "site"
OUTSIDE = """() => [...document.querySelectorAll("text")].filter(text => {
    const own = text.closest("a, g")?.querySelector(":scope > rect");
    const box = (own && text.closest("a") ? own : document.documentElement).getBoundingClientRect(), t = text.getBoundingClientRect();
    return t.left < box.left - 1 || t.right > box.right + 1 || t.top < box.top - 1 || t.bottom > box.bottom + 1;
  }).map(text => text.textContent)"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The built site, served on this machine: search needs a server."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            if self.path == "/favicon.ico":  # a browser asks for it beside a picture
                self.send_response(204)
                self.end_headers()
            else:
                super().do_GET()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(SITE))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as started:
        yield started


def open_page(browser: Browser, address: str, *, width: int = 1280, dark: bool = False) -> tuple[Page, list[str]]:
    """A page, and what its console says of errors and warnings."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light")
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("requestfailed", lambda request: said.append(f"{request.url} failed"))
    page.on("response", lambda response: said.append(f"{response.url}: {response.status}") if response.status >= 400 else None)
    page.goto(address, wait_until="load")
    return page, said


def pages() -> list[str]:
    return sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html") if path.name != "404.html")


def test_the_site_was_built() -> None:
    assert len(pages()) > 15, f"{SITE} has no pages: build it with ./nox -s site"


@pytest.mark.parametrize("name", pages())
def test_a_page_opens_without_errors_and_its_text_stays_in_its_box(browser: Browser, address: str, name: str) -> None:
    for width, dark in ((1280, False), (1280, True), (420, False)):
        page, said = open_page(browser, f"{address}/{name}", width=width, dark=dark)
        overflowing = page.evaluate(OVERFLOWS)
        page.close()
        assert said == [], f"{width} wide, {dark=}"
        assert overflowing == [], f"{width} wide, {dark=}"


@pytest.mark.parametrize("name", sorted(path.name for path in SITE.glob("docs/*.svg")))
def test_the_text_of_a_picture_stays_in_its_box(browser: Browser, address: str, name: str) -> None:
    page, said = open_page(browser, f"{address}/docs/{name}")
    outside = page.evaluate(OUTSIDE)
    page.close()
    assert said == []
    assert outside == []


def test_overflowing_text_is_found(browser: Browser) -> None:
    page = browser.new_page(viewport={"width": 400, "height": 300})
    page.set_content('<div role="main"><p style="white-space: nowrap">' + "word " * 99 + "</p></div>")
    assert any(line.startswith('p "word word') for line in page.evaluate(OVERFLOWS))
    page.close()


def test_search_finds_a_page(browser: Browser, address: str) -> None:
    page, _ = open_page(browser, f"{address}/index.html")
    page.get_by_text("Search", exact=True).first.click()
    page.locator("#properdocs-search-query").wait_for(state="visible")
    page.wait_for_timeout(500)  # the modal takes the focus when it has slid in
    page.locator("#properdocs-search-query").press_sequentially("rotary")
    page.locator("#properdocs-search-results article").first.wait_for()
    assert "nn.html" in page.inner_html("#properdocs-search-results")
    page.close()


def test_code_is_highlighted(browser: Browser, address: str) -> None:
    page, _ = open_page(browser, f"{address}/docs/nn.html")
    colors = page.evaluate("() => [...document.querySelectorAll('.codehilite span')].map(e => getComputedStyle(e).color)")
    page.close()
    assert len(set(colors)) > 3

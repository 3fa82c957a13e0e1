"""The machine's own Chromium or Chrome, or what CHROMIUM names; Playwright drives it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

__all__ = ["OVERFLOWS", "open_browser"]

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

OVERFLOWS = """() => {
  const found = [], wide = document.documentElement.clientWidth;
  const name = element => `${element.tagName.toLowerCase()} "${element.textContent.trim().slice(0, 60)}"`;
  const clipped = element => { for (let e = element; e; e = e.parentElement)
    if (/auto|scroll|hidden/.test(getComputedStyle(e).overflowX)) return true; return false; };
  if (document.documentElement.scrollWidth > wide) found.push(`the page is ${document.documentElement.scrollWidth} wide, of ${wide}`);
  for (const element of document.querySelectorAll("main *, [role=main] *, body > header *, body > footer *, nav *")) {
    const box = element.getBoundingClientRect();
    if (!box.width || clipped(element)) continue;
    if (element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).display !== "inline") found.push(name(element));
    else if (box.right > wide + 1) found.push(name(element));
  }
  return found;
}"""
"""Finds the elements of a page whose text is wider than they are."""


@contextmanager
def open_browser() -> Iterator[Browser]:
    """A browser that asks no other host for anything of its own."""
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    assert path, "no browser was found: install Chromium (apt-get install chromium), or name one in CHROMIUM"
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=options)
        yield browser
        browser.close()

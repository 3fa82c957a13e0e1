"""Draws docs/page-light.png and docs/page-dark.png: the page of `samebits serve smollm2`, with an answer that is verified.

Run it as `python -m tests.clients.draw_page`, where the locks of the session clients and models are installed.
"""

from pathlib import Path

from tests.browser import open_browser
from tests.clients.small_server import SmallServer

DOCS = Path(__file__).parents[2] / "docs"
QUESTION = "Write a Python function that reverses a string."


def main() -> None:
    """Draw the page in both color schemes."""
    with SmallServer(Path("smollm2")) as server, open_browser() as browser:
        for scheme in ("light", "dark"):
            page = browser.new_page(viewport={"width": 900, "height": 600}, color_scheme=scheme)
            page.goto(server.url)
            page.get_by_label("Question").fill(QUESTION)
            page.keyboard.press("Enter")
            page.get_by_role("button", name="Verify").click(timeout=120_000)
            page.get_by_text("Verified: ").first.wait_for(timeout=120_000)
            page.get_by_label("Question").click()
            page.screenshot(path=DOCS / f"page-{scheme}.png")
            page.close()


if __name__ == "__main__":
    main()

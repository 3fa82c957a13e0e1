"""The pages are tested where Playwright is installed, as the session `site` does: an editor's discovery goes on without."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("playwright") else ["test_pages.py"]

"""The page of the server, in a headless browser: conversations by mouse and by keyboard, receipts, errors, colors, and hostile text."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect
from tests.browser import OVERFLOWS, open_browser
from tests.clients.small_server import Alone, SmallServer

from samebits.core.canonical import canonical_json
from samebits.lm.receipts import read_receipt

TOKENS = 24
ENDLESS: dict[str, Any] = {"temperature": 0, "max_tokens": 16_000}  # settings with which an answer takes seconds

HOSTILE = """<img src=x onerror="window.hurt = 1"><script>window.hurt = 2</script> {{ 7 * 7 }} ${window.hurt = 3} &lt;b&gt;
```html
<svg onload="window.hurt = 4"></svg><style>* { display: none }</style>
```
</li></ol><iframe srcdoc="<script>parent.hurt = 5</script>"></iframe> javascript:window.hurt=6"""

# every text that is seen, with the contrast of its color and of what is behind it (WCAG 2.2, 1.4.3)
CONTRASTS = """() => {
  const parts = color => { const found = color.match(/[\\d.]+/g).map(Number); return found.length > 3 ? found : [...found, 1]; };
  const light = color => { const [r, g, b] = parts(color).map(x => (x /= 255) <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = e => { for (; e; e = e.parentElement) { const color = getComputedStyle(e).backgroundColor;
    if (parts(color)[3] === 1) return color; } return "none"; };
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((one, two) => two - one); return (x + 0.05) / (y + 0.05); };
  const found = [];
  for (const e of document.querySelectorAll("body *")) {
    if (!e.checkVisibility({ visibilityProperty: true, opacityProperty: true }) || !e.getBoundingClientRect().width) continue;
    const text = [...e.childNodes].filter(node => node.nodeType === Node.TEXT_NODE).map(node => node.textContent.trim()).join("");
    if (text) found.push([text.slice(0, 40), ratio(getComputedStyle(e).color, behind(e))]);
    if (e.placeholder && !e.value) found.push([e.placeholder, ratio(getComputedStyle(e, "::placeholder").color, behind(e))]);
  }
  return found;
}"""

MESSAGES = """() => JSON.parse(sessionStorage.getItem("samebits.messages"))"""


class Opened:
    """The page in a window of its own, and all it does that it must not."""

    def __init__(self, browser: Browser, address: str, *, width: int = 1000, dark: bool = False, **settings: Any) -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 800},
            color_scheme="dark" if dark else "light",
            permissions=["clipboard-read", "clipboard-write"],
        )
        self.context.set_default_timeout(10_000)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text) if message.type in {"error", "warning"} else None)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.add_init_script(
            f"localStorage['samebits.settings'] ??= JSON.stringify({json.dumps({'max_tokens': TOKENS, **settings})})"
        )
        self.page.goto(address)
        expect(self.page.locator("#model")).to_have_text("small")

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation as the page keeps it."""
        found: list[dict[str, Any]] = self.page.evaluate(MESSAGES)
        return found

    def ask(self, question: str, *, wait: bool = True) -> None:
        """Ask a question, and wait for the end of the answer."""
        self.page.get_by_label("Question").fill(question)
        self.page.keyboard.press("Enter")
        if wait:
            self.settle()

    def settle(self) -> None:
        """Wait until no answer is being written."""
        expect(self.page.get_by_role("button", name="Send")).to_be_visible(timeout=30_000)

    def answer(self) -> Locator:
        """The last answer."""
        return self.page.locator(".answer").last

    def close(self, address: str) -> None:
        """Check that nothing failed, and that no other host was asked for anything."""
        foreign = [url for url in self.requests if not url.startswith((address, "blob:", "data:"))]
        self.context.close()
        assert self.said == []
        assert foreign == []


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as started:
        yield started


@pytest.fixture
def opened(browser: Browser, server: SmallServer) -> Iterator[Opened]:
    window = Opened(browser, f"{server.url}/")
    yield window
    window.close(server.url)


@pytest.fixture
def endless(browser: Browser, server: SmallServer) -> Iterator[Opened]:
    """The page with settings that give long answers."""
    window = Opened(browser, f"{server.url}/", **ENDLESS)
    yield window
    window.close(server.url)


def test_the_answers_are_those_of_the_model_alone(opened: Opened, alone: Alone) -> None:
    opened.ask("Hello")
    opened.ask("And you?")
    expected = alone.answers("Hello", "And you?", tokens=TOKENS)
    assert [one["content"] for one in opened.messages] == ["Hello", expected[0], "And you?", expected[1]]
    expect(opened.answer().locator(".text")).to_have_text(expected[1].strip())
    expect(opened.page.get_by_role("status")).to_have_text(f"Answer: {expected[1]}".strip())


def test_a_model_that_was_not_trained_to_answer_says_so(opened: Opened) -> None:
    trouble = opened.page.locator("#trouble")
    expect(trouble).to_be_hidden()
    models = {"data": [{"id": "small", "meta": {"chat": False}}]}
    opened.page.route("**/v1/models", lambda route: route.fulfill(json=models))
    opened.page.reload()
    expect(trouble).to_contain_text("This model continues texts")


def test_an_answer_is_seen_while_it_is_written(endless: Opened, alone: Alone) -> None:
    endless.page.evaluate("""() => {
      window.lengths = new Set();
      new MutationObserver(() => lengths.add(document.querySelector(".writing .text")?.textContent.length))
        .observe(document.getElementById("turns"), { childList: true, characterData: true, subtree: true });
    }""")
    endless.page.get_by_role("button", name="Settings").click()
    endless.page.get_by_label("Max tokens").fill("3000")
    endless.page.keyboard.press("Escape")
    endless.ask("Hello")
    assert any(0 < length < 3000 for length in endless.page.evaluate("() => [...lengths].filter(Number)"))
    assert endless.messages[1]["content"] == alone.answers("Hello", temperature=0, tokens=3000)[0]
    expect(endless.answer().locator(".note")).to_contain_text("cut at its largest number of tokens")


@pytest.mark.parametrize("by", ["button", "key"])
def test_an_answer_is_stopped_and_the_conversation_goes_on(endless: Opened, server: SmallServer, by: str) -> None:
    endless.ask("Hello", wait=False)
    expect(endless.page.locator(".writing .text")).to_have_text(re.compile(r"\S"))
    if by == "button":
        endless.page.get_by_role("button", name="Stop").click()
    else:
        endless.page.keyboard.press("Escape")
    endless.settle()
    expect(endless.answer().locator(".note")).to_have_text("Stopped. Only a whole answer has a receipt.")
    expect(endless.page.get_by_role("button", name="Verify")).to_have_count(0)
    assert 0 < len(endless.messages[1]["content"]) < ENDLESS["max_tokens"]
    server.settle()
    endless.ask("And you?", wait=False)
    expect(endless.page.locator(".writing .text")).to_have_text(re.compile(r"\S"))
    endless.page.keyboard.press("Escape")
    endless.settle()
    assert len(endless.messages) == 4


def test_another_answer_has_the_next_seed(opened: Opened, alone: Alone) -> None:
    opened.ask("Hello")
    opened.page.get_by_role("button", name="Another answer").click()
    opened.settle()
    assert opened.messages[1]["content"] == alone.answers("Hello", seed=1, tokens=TOKENS)[0]
    assert [opened.messages[1]["seed"], len(opened.messages)] == [1, 2]
    opened.ask("And you?")
    expect(opened.page.get_by_role("button", name="Another answer")).to_have_count(1)


def test_settings_are_obeyed_and_kept(opened: Opened, alone: Alone) -> None:
    opened.page.get_by_role("button", name="Settings").click()
    dialog = opened.page.get_by_role("dialog")
    expect(dialog.get_by_label("Temperature")).to_have_attribute("placeholder", "0.8")
    expect(dialog).to_contain_text(alone.digest)
    for name, value in {
        "System prompt": "Be brief.",
        "Temperature": "0.5",
        "Top p": "0.9",
        "Max tokens": "30",
        "Seed": "7",
    }.items():
        dialog.get_by_label(name).fill(value)
    dialog.get_by_role("button", name="Done").click()
    opened.ask("Hello")
    expected = alone.answers("Hello", system="Be brief.", seed=7, temperature=0.5, top_p=0.9, tokens=30)
    assert opened.messages[1]["content"] == expected[0]
    opened.page.reload()
    assert opened.messages[1]["content"] == expected[0]
    expect(opened.answer().locator(".text")).to_have_text(expected[0].strip())
    opened.page.get_by_role("button", name="Settings").click()
    expect(opened.page.get_by_label("Seed")).to_have_value("7")
    opened.page.get_by_label("Seed").fill("-1")
    opened.page.get_by_role("button", name="Done").click()
    expect(dialog).to_be_visible()  # the browser says what is wrong
    opened.page.get_by_role("button", name="Defaults").click()
    opened.page.get_by_role("button", name="Done").click()
    expect(dialog).to_be_hidden()
    assert opened.page.evaluate("localStorage['samebits.settings']") == "{}"


def test_a_question_is_edited_and_what_followed_is_replaced(opened: Opened, alone: Alone) -> None:
    opened.ask("Hello")
    opened.ask("And you?")
    question = opened.page.get_by_label("Question")
    question.fill("a draft")
    opened.page.get_by_role("button", name="Edit").first.click()
    expect(question).to_have_value("Hello")
    opened.page.keyboard.press("Escape")
    expect(question).to_have_value("a draft")
    opened.page.get_by_role("button", name="Edit").first.click()
    opened.ask("Goodbye")
    assert [one["content"] for one in opened.messages] == ["Goodbye", *alone.answers("Goodbye", tokens=TOKENS)]
    expect(question).to_have_value("a draft")


def test_a_new_conversation_and_the_last_one(opened: Opened) -> None:
    opened.ask("Hello")
    before = opened.messages
    opened.page.get_by_role("button", name="New conversation").click()
    expect(opened.page.locator(".question")).to_have_count(0)
    assert opened.messages == []
    opened.page.get_by_role("button", name="Bring back the last conversation").click()
    assert opened.messages == before
    expect(opened.page.locator(".answer")).to_have_count(1)


def test_a_receipt_is_verified_shown_and_downloaded(opened: Opened, alone: Alone) -> None:
    opened.ask("Hello")
    receipt = opened.messages[1]["receipt"]
    steps = len(receipt["texts"][0]["tokens"])
    opened.page.get_by_role("button", name="Verify").click()
    expect(opened.answer().locator(".result")).to_have_text(f"Verified: {steps} of {steps} steps")
    shown = opened.page.get_by_role("button", name="Receipt")
    expect(shown).to_have_text(f"Receipt {receipt['digest'][:12]}")
    expect(shown).to_have_attribute("title", receipt["digest"])
    shown.click()
    expect(shown).to_have_attribute("aria-expanded", "true")
    facts = opened.answer().locator(".facts")
    expect(facts).to_contain_text(receipt["digest"])
    expect(facts).to_contain_text(alone.digest)
    with opened.page.expect_download() as download:
        opened.page.get_by_role("button", name="Download").click()
    data = Path(download.value.path()).read_bytes()
    assert download.value.suggested_filename == f"receipt-{receipt['digest'][:12]}.json"
    assert data == canonical_json(receipt)
    read = read_receipt(data, "the download")
    assert (read.digest, read.model) == (receipt["digest"], alone.digest)


def test_a_tampered_receipt_is_refused_with_the_field(opened: Opened) -> None:
    opened.ask("Hello")
    receipt = opened.messages[1]["receipt"]
    receipt["texts"][0]["tokens"][2] ^= 1
    verify_instead(opened, receipt)
    expect(opened.answer().locator(".result.bad")).to_contain_text("texts was changed")
    assert all("status of 400" in line for line in opened.said)
    opened.said.clear()


def test_a_tampered_receipt_with_digests_of_its_own_differs_from_the_model(opened: Opened) -> None:
    opened.ask("Hello")
    receipt = read_receipt(canonical_json(opened.messages[1]["receipt"]), "the answer")
    (text,) = receipt.texts
    tokens = [*text.tokens[:2], text.tokens[2] ^ 1, *text.tokens[3:]]
    verify_instead(opened, json.loads(replace(receipt, texts=[replace(text, tokens=tokens)]).to_json()))
    words = f"Differs first at texts[0].tokens[2]: the receipt says {tokens[2]}, the model {text.tokens[2]}"
    expect(opened.answer().locator(".result.bad")).to_have_text(words)


def verify_instead(opened: Opened, receipt: dict[str, Any]) -> None:
    """Verify another receipt in the place of the last answer's."""
    changed = opened.messages
    changed[-1]["receipt"] = receipt
    opened.page.evaluate("messages => sessionStorage.setItem('samebits.messages', JSON.stringify(messages))", changed)
    opened.page.reload()
    opened.page.get_by_role("button", name="Verify").click()


def test_an_answer_is_copied(opened: Opened) -> None:
    opened.ask("Hello")
    opened.page.get_by_role("button", name="Copy").click()
    expect(opened.page.get_by_role("button", name="Copied")).to_be_visible()
    assert opened.page.evaluate("navigator.clipboard.readText()") == opened.messages[1]["content"]


def test_everything_is_reached_by_keyboard(opened: Opened, alone: Alone) -> None:
    keyboard, question = opened.page.keyboard, opened.page.get_by_label("Question")
    expect(question).to_be_focused()
    keyboard.type("Hello")
    keyboard.press("Shift+Enter")
    keyboard.type("there")
    keyboard.press("Enter")
    opened.settle()
    assert opened.messages[0]["content"] == "Hello\nthere"
    assert opened.messages[1]["content"] == alone.answers("Hello\nthere", tokens=TOKENS)[0]
    opened.page.get_by_role("link", name="Skip to the question").focus()
    focused = []
    order = ["Skip to the question", "New conversation", "Settings", "Edit"]
    order += ["Receipt", "Verify", "Download", "Copy", "Another answer", "Question", "Send"]
    for _ in order:
        name, visible = opened.page.evaluate("""() => {
          const e = document.activeElement, style = getComputedStyle(e.id === "question" ? e.parentElement : e);
          return [e.labels?.[0]?.textContent ?? e.textContent.trim(), style.outlineStyle !== "none" || style.boxShadow !== "none"];
        }""")
        focused.append(re.sub(r"Receipt \w+", "Receipt", name))
        assert visible, f"the focus on {name} is not seen"
        keyboard.press("Tab")
    assert focused == order
    for _ in order[3:]:
        keyboard.press("Shift+Tab")
    expect(opened.page.get_by_role("button", name="Edit")).to_be_focused()
    keyboard.press("Tab")
    keyboard.press("Tab")
    keyboard.press("Space")
    expect(opened.answer().locator(".result")).to_contain_text("Verified")
    opened.page.get_by_role("link", name="Skip to the question").focus()
    keyboard.press("Enter")
    expect(question).to_be_focused()
    opened.page.get_by_role("button", name="Settings").focus()
    keyboard.press("Enter")
    expect(opened.page.get_by_label("System prompt")).to_be_focused()
    keyboard.press("Escape")
    expect(opened.page.get_by_role("button", name="Settings")).to_be_focused()


def answer_with(page: Page, text: str) -> None:
    """Let the server answer the next questions with this text."""

    def fulfill(route: Route) -> None:
        chunks = [{"choices": [{"delta": {"content": text[i : i + 7]}}]} for i in range(0, len(text), 7)]
        events = [f"data: {json.dumps(one)}\n\n" for one in [*chunks, {"choices": [{"delta": {}, "finish_reason": "stop"}]}]]
        route.fulfill(status=200, content_type="text/event-stream", body="".join([*events, "data: [DONE]\n\n"]))

    page.route("**/v1/chat/completions", fulfill)


def test_markup_is_shown_as_text_and_nothing_of_it_runs(opened: Opened) -> None:
    answer_with(opened.page, HOSTILE)
    opened.ask(HOSTILE)
    for reloaded in (False, True):
        if reloaded:
            opened.page.reload()
        assert [one["content"] for one in opened.messages] == [HOSTILE, HOSTILE]
        for text in opened.page.locator(".text").all():
            shown = text.inner_text()
            assert all(line.strip() in shown for line in HOSTILE.splitlines() if not line.startswith("```"))
            assert text.evaluate("e => [...e.querySelectorAll('*')].map(one => one.localName)") == ["p", "pre", "p"]
        opened.page.wait_for_timeout(200)
        assert opened.page.evaluate("window.hurt") is None
        assert opened.page.locator("img, iframe, svg").count() == 0


def test_the_policy_forbids_foreign_scripts(browser: Browser, server: SmallServer) -> None:
    window = Opened(browser, f"{server.url}/")
    window.page.evaluate("""() => {
      const script = document.createElement("script");
      script.textContent = "window.hurt = 1";
      document.body.append(script);
    }""")
    assert window.page.evaluate("window.hurt") is None
    assert window.page.evaluate("fetch('http://example.invalid/').catch(error => error.name)") == "TypeError"
    assert all("Content Security Policy" in line for line in window.said)
    assert len(window.said) >= 2
    window.context.close()


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1000, 360])
def test_text_is_readable_and_stays_in_its_place(browser: Browser, server: SmallServer, *, dark: bool, width: int) -> None:
    window = Opened(browser, f"{server.url}/", dark=dark, width=width)
    page = window.page
    found = [*page.evaluate(CONTRASTS)]
    overflowing = page.evaluate(OVERFLOWS)
    window.ask("Hello")
    page.get_by_role("button", name="Verify").click()
    expect(window.answer().locator(".result")).to_contain_text("Verified")
    page.get_by_role("button", name="Receipt").click()
    answer_with(page, f"Some code:\n```\n{'wide ' * 60}\n```\n\n{'unbroken' * 30}\n\n" + "A paragraph of several words. " * 40)
    window.ask("x" * 300)
    page.unroute_all()
    page.route("**/v1/chat/completions", lambda route: route.abort())
    window.ask("And you?")
    page.get_by_role("button", name="Edit").first.click()
    found += page.evaluate(CONTRASTS)
    overflowing += page.evaluate(OVERFLOWS)
    page.get_by_role("button", name="Settings").click()
    found += page.evaluate(CONTRASTS)
    dialog = page.get_by_role("dialog").bounding_box()
    assert dialog is not None
    assert dialog["x"] >= 0 and dialog["x"] + dialog["width"] <= width
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    window.context.close()
    assert (int(background.split("(")[1].split(",")[0]) < 80) is dark
    assert len(found) > 40
    assert [one for one in found if one[1] < 4.5] == []
    assert overflowing == []


REFUSALS = [
    (
        429,
        {"message": "the queue is full", "code": "queue_full"},
        {"Retry-After": "5"},
        "The server is busy. Try again in 5 seconds.",
    ),
    (429, {"message": "the queue is full"}, {"Retry-After": "1"}, "The server is busy. Try again in a moment."),
    (400, {"message": "m", "code": "context_length_exceeded"}, {}, "The conversation is longer than the model can read."),
    (400, {"message": "seed must be an int"}, {}, "The server says: seed must be an int"),
    (500, None, {}, "The server failed with status 500."),
]


@pytest.mark.parametrize(("status", "error", "headers", "words"), REFUSALS)
def test_a_refusal_is_shown_in_words_and_tried_again(
    opened: Opened, alone: Alone, *, status: int, error: Any, headers: dict[str, str], words: str
) -> None:
    body = json.dumps({"error": error}) if error else "<h1>failed</h1>"
    opened.page.route("**/v1/chat/completions", lambda route: route.fulfill(status=status, headers=headers, body=body))
    opened.ask("Hello")
    expect(opened.answer().locator(".note")).to_contain_text(words)
    expect(opened.page.get_by_role("status")).to_contain_text(words)
    opened.page.unroute_all()
    opened.page.get_by_role("button", name="Try again").click()
    opened.settle()
    assert opened.messages[1]["content"] == alone.answers("Hello", tokens=TOKENS)[0]
    assert all(f"status of {status}" in line for line in opened.said)
    opened.said.clear()


def test_a_conversation_over_the_context_is_explained(opened: Opened, alone: Alone) -> None:
    opened.ask("x" * 20_000)
    expect(opened.answer().locator(".note")).to_contain_text("The conversation is longer than the model can read.")
    opened.ask("Hello")  # what got no answer is not read again
    assert opened.messages[3]["content"] == alone.answers("Hello", tokens=TOKENS)[0]
    opened.said.clear()


def test_a_server_that_goes_away_is_explained(browser: Browser, folder: Path, alone: Alone) -> None:
    with SmallServer(folder) as server:
        window = Opened(browser, f"{server.url}/", **ENDLESS)
        window.ask("Hello", wait=False)
        expect(window.page.locator(".writing .text")).to_have_text(re.compile(r"\S"))
        server.kill()
        window.settle()
        expect(window.answer().locator(".note")).to_have_text("The connection ended before the answer did.")
        window.page.get_by_role("button", name="Try again").click()
        window.settle()
        expect(window.answer().locator(".note")).to_have_text("The server does not answer. Is samebits serve still running?")
        server.start()
        window.page.evaluate("value => localStorage.setItem('samebits.settings', value)", json.dumps({"max_tokens": TOKENS}))
        window.page.reload()
        window.page.get_by_role("button", name="Try again").click()
        window.settle()
        assert window.messages[1]["content"] == alone.answers("Hello", tokens=TOKENS)[0]
        window.context.close()


def test_a_key_is_asked_for_and_kept_in_the_tab(browser: Browser, folder: Path, alone: Alone) -> None:
    with SmallServer(folder, "--api-key", "secret") as server:
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{server.url}/")
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("button", name="Cancel").click()
        expect(page.locator("#trouble")).to_have_text("The server asks for an API key.")
        page.get_by_label("Question").fill("Hello")
        page.keyboard.press("Enter")
        dialog.get_by_label("API key").fill("guess")
        page.keyboard.press("Enter")
        expect(dialog).to_contain_text("The server refused this key.")
        dialog.get_by_label("API key").fill("secret")
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Another answer")).to_be_visible()
        assert page.evaluate(MESSAGES)[1]["content"] == alone.answers("Hello", tokens=1024)[0]
        page.reload()
        expect(page.locator("#model")).to_have_text("small")
        expect(dialog).to_be_hidden()
        context.close()

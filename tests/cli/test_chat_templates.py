"""Chat templates: what a template is given, and what it is not."""

from datetime import datetime

import pytest

from samebits.cli.chat_templates import chat_template

pytestmark = pytest.mark.once

NOW = datetime(2026, 11, 26)  # noqa: DTZ001
MESSAGES = [{"role": "user", "content": "Hi <b>"}, {"role": "assistant", "content": "Yes"}, {"role": "user", "content": "So?"}]


def render(source: str, messages: list[dict[str, str]] = MESSAGES) -> str:
    return chat_template(source, name="model.gguf", bos="<s>", eos="</s>", now=NOW)(messages)


def test_a_template_is_given_messages_tokens_and_functions() -> None:
    assert render("{{ bos_token }}{% for m in messages %}{{ m['role'] }}: {{ m.content }}{{ eos_token }}{% endfor %}") == (
        "<s>user: Hi <b></s>assistant: Yes</s>user: So?</s>"
    )
    assert render("{% if add_generation_prompt and tools is not defined %}assistant{% endif %}") == "assistant"
    assert render("{{ strftime_now('%d %b %Y') }}") == "26 Nov 2026"
    assert render("{{ messages[0] | tojson }} {{ {'é<': [1]} | tojson(indent=2) }}") == (
        '{"role": "user", "content": "Hi <b>"} {\n  "é<": [\n    1\n  ]\n}'
    )
    assert render("{% for m in messages %}{% if loop.index == 2 %}{% break %}{% endif %}{{ m.content }}{% endfor %}") == "Hi <b>"


def test_lines_of_blocks_are_trimmed() -> None:
    assert render("a\n  {% if true %}\nb\n  {% endif %}\nc\n") == "a\nb\nc"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{{ messages.append(1) }}", "access to attribute 'append'"),
        ("{{ messages.__class__.__mro__ }}", "access to attribute '__class__' of 'list' object is unsafe"),
        ("{% for i in range(10 ** 9) %}{% endfor %}", "Range too big"),
        ("{{ 1 // 0 }}", "zero"),
        ("{{ messages[0] + 1 }}", "unsupported operand"),
        ("{{ missing.name }}", "'missing' is undefined"),
        ("{% include 'secret' %}", "no loader"),
        ("{{ messages | dictsort }}", "no attribute 'items'"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recursion"),
        ("{{ cycler() }}", "at least one item"),
        ("{{ lipsum() }}", "'lipsum' is undefined"),
    ],
)
def test_what_a_template_must_not_do_is_an_error_that_names_the_model(source: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"model.gguf: the chat template refuses the conversation: ") as caught:
        render(source)
    assert message in str(caught.value)


@pytest.mark.parametrize("source", ["{% for %}", "{{ " + "(" * 3000 + " }}", "{{ 10 ** 10000 }}", "{{ 'ab' | random }}"])
def test_a_template_that_is_no_template_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match=r"model.gguf: the chat template is not valid: "):
        render(source)

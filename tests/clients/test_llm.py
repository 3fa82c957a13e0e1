"""llm, the command of Simon Willison, with a model that its file extra-openai-models.yaml names."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.clients.small_server import SECONDS, Alone, SmallServer

from samebits.core import Stream

TOKENS = 24


@pytest.fixture
def settings(server: SmallServer, tmp_path: Path) -> Path:
    """The folder of llm's settings."""
    (tmp_path / "extra-openai-models.yaml").write_text(f"""\
- model_id: small-chat
  model_name: small
  api_base: "{server.url}/v1"
- model_id: small-text
  model_name: small
  api_base: "{server.url}/v1"
  completion: true
""")
    return tmp_path


def llm(settings: Path, *arguments: str) -> str:
    """What llm prints, without the end of its line."""
    command = shutil.which("llm", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    assert command, "the command llm was not found"
    environment = {**os.environ, "LLM_USER_PATH": str(settings), "LLM_LOAD_PLUGINS": "", "PYTHONUTF8": "1"}
    done = subprocess.run(
        [command, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env=environment,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.removesuffix("\n")


def options(**values: int) -> list[str]:
    return [argument for name, value in values.items() for argument in ("-o", name, str(value))]


def test_an_answer_is_that_of_the_model_alone(settings: Path, alone: Alone) -> None:
    expected = alone.answers("Hello", seed=1, tokens=TOKENS)
    asked = ["-m", "small-chat", *options(seed=1, max_tokens=TOKENS), "Hello"]
    assert [llm(settings, *asked)] == expected  # as a stream
    assert [llm(settings, *asked, "--no-stream")] == expected


def test_a_conversation_that_goes_on_is_that_of_the_model_alone(settings: Path, alone: Alone) -> None:
    chosen = options(seed=2, max_tokens=TOKENS)
    first = llm(settings, "-m", "small-chat", *chosen, "-s", "Be brief.", "Hello")
    second = llm(settings, "-c", *chosen, "And you?")
    assert [first, second] == alone.answers("Hello", "And you?", system="Be brief.", seed=2, tokens=TOKENS)
    recorded = json.loads(llm(settings, "logs", "--json"))
    assert sorted(one["response"] for one in recorded) == sorted([first, second])


def test_a_text_is_continued_as_by_the_model_alone(settings: Path, alone: Alone) -> None:
    continued = llm(settings, "-m", "small-text", *options(seed=3, max_tokens=TOKENS), "Once")
    assert continued == alone.text("Once", Stream(3), tokens=TOKENS)


def test_an_error_of_the_server_is_shown(settings: Path) -> None:
    with pytest.raises(AssertionError, match="seed"):
        llm(settings, "-m", "small-chat", *options(seed=-1), "Hello")

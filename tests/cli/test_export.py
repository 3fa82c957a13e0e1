"""`samebits export` and `quantize` as a user runs them, on a model of a few steps."""

import hashlib
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from samebits.cli.app import app
from samebits.lm import ModelConfig, TrainConfig, start
from samebits.lm.gguf import open_gguf

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    (folder / "text.txt").write_text("so the quick brown fox jumps<end>" * 40)
    model = ModelConfig(architecture="llama", layers=1, heads=2, channels=32, context=8)
    config = TrainConfig(
        data=str(folder / "text.txt"), steps=1, warmup=1, batch=2, end_of_text="<end>", special="allow", model=model
    )
    start(config, folder / "fox").trainer.train()
    return folder / "fox"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_a_run_becomes_a_gguf_file_named_after_it(run: Path) -> None:
    done = call("export", run)
    assert done.exit_code == 0, done.output
    raw = Path("fox-f32.gguf").read_bytes()
    assert done.output == f"fox-f32.gguf  {len(raw):,} bytes  sha256 {hashlib.sha256(raw).hexdigest()}\n"
    found = open_gguf("fox-f32.gguf").metadata
    assert found["tokenizer.ggml.tokens"][found["tokenizer.ggml.eos_token_id"]] == "<end>" and found["general.name"] == "fox"


def test_a_checkpoint_becomes_a_folder_for_transformers(run: Path) -> None:
    done = call("export", run / "checkpoint.safetensors", "--format", "huggingface", "--type", "f16", "--output", "deep/fox")
    assert done.exit_code == 0 and done.output.count("sha256") == 5, done.output
    assert json.loads(Path("deep/fox/config.json").read_text())["torch_dtype"] == "float16"
    Path("fox-huggingface/notes").mkdir(parents=True)
    assert call("export", run, "--format", "huggingface").exit_code == 0 and Path("fox-huggingface/model.safetensors").exists()


@pytest.mark.parametrize("kind", ["q8_0", "q4_0"])
def test_quantize_is_export_to_gguf(run: Path, kind: str) -> None:
    assert call("quantize", run, "--type", kind).exit_code == 0
    assert call("export", run, "--type", kind, "--output", "other.gguf").exit_code == 0
    assert Path(f"fox-{kind}.gguf").read_bytes() == Path("other.gguf").read_bytes()
    assert open_gguf("other.gguf").entries["blk.0.attn_q.weight"].type == kind.upper()


def test_a_model_in_a_gguf_file_is_quantized(run: Path) -> None:
    assert call("export", run).exit_code == 0
    assert call("quantize", "fox-f32.gguf", "--type", "q4_0").exit_code == 0
    assert call("export", run, "--type", "q4_0", "--output", "run.gguf").exit_code == 0
    assert Path("fox-q4_0.gguf").read_bytes() == Path("run.gguf").read_bytes()


def test_what_cannot_be_exported_is_one_line(run: Path) -> None:
    done = call("export", run, "--format", "huggingface", "--type", "q8_0")
    assert done.exit_code == 2 and "weights must be f32 or f16, got 'q8_0'" in done.output
    done = call("quantize", "nowhere")
    assert done.exit_code == 2 and "nowhere does not exist" in done.output
    assert not list(Path().iterdir())

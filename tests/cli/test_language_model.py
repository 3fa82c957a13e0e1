"""`samebits train`, `generate`, `eval` and `info` as a user runs them, on a few lines of text."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.cli.small_run import CONFIG, prepare, run

from samebits.lm import checkpoint, presets

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    prepare(tmp_path, monkeypatch, steps=8)
    return tmp_path


def test_train_prints_the_loss_the_curve_a_sample_and_the_verdict() -> None:
    done = run("train", "small.toml")
    assert done.exit_code == 0
    for what in (
        "runs/small",
        "1 layers, 16 channels",
        "step 0 of 8   validation",
        "step 8 of 8   loss",
        "bits per byte",
        "tokens/s",
    ):
        assert what in done.output, what
    assert "└1 … 8" in done.output and "sample" in done.output and "samebits generate runs/small" in done.output
    assert done.output.strip().endswith("No digest is published for this configuration.")
    names = {"config.toml", "data.json", "tokenizer.json", "training.tokens", "validation.tokens", "checkpoint.safetensors"}
    assert names | {"metrics.jsonl", "receipt.json"} == {path.name for path in Path("runs/small").iterdir()}


def test_train_never_overwrites_a_run() -> None:
    assert run("train", "small.toml").exit_code == 0
    before = Path("runs/small/checkpoint.safetensors").read_bytes()
    assert "runs/small-2" in run("train", "small.toml").output
    done = run("train", "small.toml", "--out", "runs/small")
    assert done.exit_code == 2 and "runs/small has a run already; add --resume to continue it" in done.output
    assert (
        Path("runs/small/checkpoint.safetensors").read_bytes()
        == before
        == Path("runs/small-2/checkpoint.safetensors").read_bytes()
    )


def test_resume_continues_the_newest_run_and_ends_with_the_same_bits() -> None:
    run("train", "small.toml")
    whole = Path("runs/small/checkpoint.safetensors").read_bytes()
    run("train", "small.toml")
    cut = Path("runs/small-2")
    lines = (cut / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (cut / "metrics.jsonl").write_bytes(b"".join(lines[:4]))
    (cut / "checkpoint.safetensors").unlink()  # as if it was killed before the first one
    done = run("train", "small.toml", "--resume")
    assert done.exit_code == 0 and "runs/small-2" in done.output
    assert (cut / "checkpoint.safetensors").read_bytes() == whole
    assert "resuming after step 8" in run("train", "--resume", "--out", "runs/small").output
    done = run("train", "small.toml", "--resume", "--numerics", "fast")
    assert done.exit_code == 2 and "numerics is 'exact', this run's is 'fast'" in done.output


def test_train_compares_with_the_published_digests(monkeypatch: pytest.MonkeyPatch) -> None:
    run("train", "small.toml")
    weights = checkpoint.load("runs/small/checkpoint.safetensors").tensors
    known = checkpoint.digest({name.removeprefix("model."): x for name, x in weights.items() if name.startswith("model.")})
    expected = {"weights": known, "text": "0"}
    monkeypatch.setattr(presets, "published", lambda _: expected)
    monkeypatch.setattr(presets, "digests", lambda model, _: {"weights": checkpoint.digest(model.state_dict()), "text": "0"})
    done = run("train", "--resume", "--out", "runs/small")
    assert done.exit_code == 0 and "The same bits as published." in done.output
    expected["weights"] = "f" * 64
    done = run("train", "--resume", "--out", "runs/small")
    assert done.exit_code == 1 and "Other bits than published." in done.output
    assert f"differs  weights: published is {'f' * 16}" in done.output


def test_train_notes_the_files_left_out_of_the_data() -> None:
    Path("texts").mkdir()
    Path("texts", "empty.txt").touch()
    Path("texts", "text.txt").write_text(Path("text.txt").read_text())
    Path("small.toml").write_text(CONFIG.format(steps=2).replace('"text.txt"', '"texts"'))
    done = run("train", "small.toml")
    assert done.exit_code == 0 and "note  texts: 1 notes" in done.output and "empty.txt: empty, left out" in done.output


def test_a_run_keeps_its_fast_arithmetic() -> None:
    assert "fast arithmetic" in run("train", "small.toml", "--numerics", "fast").output
    assert 'numerics = "fast"' in run("info", "runs/small").output


def test_generate_gives_the_same_text_for_the_same_seed() -> None:
    run("train", "small.toml")
    first = run("generate", "runs/small", "--prompt", "the ", "--tokens", "40", "--seed", "1")
    assert first.exit_code == 0 and first.output.startswith("the ") and len(first.output) == 45
    again = run("generate", "runs/small/checkpoint.safetensors", "--prompt", "the ", "--tokens", "40", "--seed", "1")
    assert (
        again.output == first.output != run("generate", "runs/small", "--prompt", "the ", "--tokens", "40", "--seed", "2").output
    )
    stopped = run("generate", "runs/small", "--prompt", "the ", "--tokens", "40", "--seed", "1", "--stop", first.output[20:22])
    assert stopped.output.rstrip("\n") == first.output[: 4 + first.output[4:].index(first.output[20:22])].rstrip("\n")
    assert (
        run("generate", "runs/small", "--tokens", "5", "--numerics", "fast", "--temperature", "0", "--top-k", "3").exit_code == 0
    )


def test_eval_measures_the_validation_text_or_another() -> None:
    run("train", "small.toml")
    done = run("eval", "runs/small")
    assert done.exit_code == 0
    for what in ("loss  ", "perplexity  ", "bits per byte  ", "tokens         161"):
        assert what in done.output
    Path("other.txt").write_text("the lazy fox jumps, and so the dog sleeps\n")
    assert "tokens         41" in run("eval", "runs/small", "--data", "other.txt").output
    assert "tokens         32" in run("eval", "runs/small", "--windows", "2").output


def test_info_prints_settings_tensors_and_digests() -> None:
    run("train", "small.toml")
    done = run("info", "runs/small")
    assert done.exit_code == 0
    for what in ('data = "text.txt"', "layers = 1", "model.embedding.weight", "F32", "step        8 of 8", "parameters  4,"):
        assert what in done.output, what
    found = checkpoint.load("runs/small/checkpoint.safetensors")
    assert found.digest in done.output
    checkpoint.save("runs/small/checkpoint.safetensors", found.tensors, {**found.metadata, "step": "1e5"})
    done = run("info", "runs/small")
    assert done.exit_code != 0 and "checkpoint.safetensors: step must be an integer from 0 to 8, got '1e5'" in " ".join(
        done.output.split()
    )


@pytest.mark.skipif(os.name == "nt", reason="signals are others there")
@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_saves_and_prints_how_to_continue(name: str, status: int) -> None:
    Path("small.toml").write_text(CONFIG.format(steps=100_000))
    command = [sys.executable, "-c", "from samebits.cli.app import app; app()"]
    process = subprocess.Popen([*command, "train", "small.toml"], stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    metrics = Path("runs/small/metrics.jsonl")
    while time.monotonic() < deadline and not (metrics.exists() and metrics.read_bytes().count(b"\n") > 3):
        time.sleep(0.01)
    process.send_signal(getattr(signal, name))
    output, _ = process.communicate(timeout=60)
    assert process.returncode == status
    step = json.loads(metrics.read_bytes().splitlines()[-1])["step"]
    assert f"Interrupted after step {step} of 100000; the run is saved" in output
    assert "samebits train --resume --out runs/small" in output
    assert checkpoint.read_header("runs/small/checkpoint.safetensors")[1]["step"] == str(step)


def test_a_second_trainer_in_the_folder_is_refused_and_names_the_first() -> None:
    Path("small.toml").write_text(CONFIG.format(steps=100_000))
    command = [sys.executable, "-c", "from samebits.cli.app import app; app()", "train", "small.toml"]
    metrics = Path("runs/small/metrics.jsonl")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and not metrics.exists():
                time.sleep(0.01)
            for option in ("--out", "runs/small"), ():
                done = run("train", "small.toml", "--resume", *option)
                assert done.exit_code == 2 and f"runs/small is in use by process {process.pid} on " in done.output
        finally:
            process.kill()
    assert "\n" in metrics.read_text() and run("train", "small.toml", "--out", "other", "--resume").exit_code == 2


def test_a_run_is_prolonged_if_its_schedule_allows_it() -> None:
    assert run("train", "small.toml").exit_code == 0
    Path("small.toml").write_text(CONFIG.format(steps=10))
    done = run("train", "small.toml", "--resume")
    assert done.exit_code == 2 and "the 8 steps so far would have had other learning rates" in done.output
    constant = 'schedule = "constant"\n'
    Path("flat.toml").write_text(constant + CONFIG.format(steps=8))
    assert run("train", "flat.toml").exit_code == 0
    Path("flat.toml").write_text(constant + CONFIG.format(steps=10))
    done = run("train", "flat.toml", "--resume")
    assert done.exit_code == 0 and "resuming after step 8" in done.output and "step 10 of 10" in done.output


def test_a_new_run_starts_from_the_weights_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    run("train", "small.toml")
    monkeypatch.setattr(presets, "published", lambda _: {"weights": "0", "text": "0"})  # of a run from random weights
    done = run("train", "small.toml", "--init-from", "runs/small")
    assert done.exit_code == 0 and "starting from the weights in runs/small-2/initial.safetensors" in done.output
    assert "started from weights of the digest" in run("info", "runs/small-2").output
    done = run("train", "--resume", "--out", "runs/small", "--init-from", "runs/small-2")
    assert done.exit_code == 2 and "--init-from starts a new run" in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "none.toml"], "none.toml"),
        (["train", "--preset", "tinny"], "did you mean 'tiny'?"),
        (["train", "small.toml", "--preset", "tiny"], "CONFIG and --preset exclude each other"),
        (["train", "wrong.toml"], "wrong.toml: unknown setting 'stepps': did you mean 'steps'?"),
        (["train", "--resume", "--out", "nothing"], "--resume requires a run, but nothing has none"),
        (
            ["generate", "nothing"],
            "nothing does not exist; give a GGUF file, a folder of Hugging Face, smollm2, or a training run",
        ),
        (["generate", "text.txt"], "text.txt"),
        (["eval", "nothing"], "nothing does not exist"),
        (["info", "text.txt"], "text.txt"),
    ],
)
def test_an_error_is_one_line_and_exit_status_2(arguments: list[str], message: str) -> None:
    Path("wrong.toml").write_text("stepps = 3")
    done = run(*arguments)
    assert done.exit_code == 2 and message in done.output and len(done.output.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("temperature", "-1", "temperature"),
        ("prompt", "", "prompt"),
        ("prompt", "Ω", "Ω"),
        ("top-p", "2", "top_p"),
        ("stop", "", "stop"),
    ],
)
def test_an_impossible_generation_is_an_error_of_one_line(option: str, value: str, named: str) -> None:
    run("train", "small.toml")
    done = run("generate", "runs/small", f"--{option}", value)
    assert done.exit_code == 2 and len(done.output.strip().splitlines()) == 1
    assert done.output.startswith("error  ") and named in done.output


def test_without_lm_the_commands_print_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "samebits.cli.evaluation", raising=False)
    monkeypatch.setitem(sys.modules, "samebits.lm", None)  # as if it were not installed
    done = run("info", "runs/small")
    assert done.exit_code == 2 and "samebits.lm is not installed" in done.output and "pip install" in done.output


def test_a_run_continues_with_its_own_data_when_the_text_changes() -> None:
    run("train", "small.toml")
    before = {path.name: path.read_bytes() for path in Path("runs/small").iterdir() if path.suffix in {".json", ".tokens"}}
    Path("text.txt").write_text("AN OTHER TEXT, ALTOGETHER\n" * 60)
    assert run("train", "small.toml", "--resume").exit_code == 0
    assert {name: Path("runs/small", name).read_bytes() for name in before} == before


def test_a_refused_run_writes_nothing() -> None:
    run("train", "small.toml")
    Path("runs/small/data.json").unlink()
    Path("text.txt").write_text("AN OTHER TEXT, ALTOGETHER\n" * 60)
    before = {path.name: path.read_bytes() for path in Path("runs/small").iterdir()}
    done = run("train", "small.toml", "--resume")
    assert done.exit_code == 2 and "data.json" in done.output
    assert {path.name: path.read_bytes() for path in Path("runs/small").iterdir()} == before


def test_a_failed_start_leaves_no_folder() -> None:
    Path("small.toml").write_text(CONFIG.format(steps=2).replace("text.txt", "txt.txt"))
    assert run("train", "small.toml").exit_code == 2 and not Path("runs").exists()


@pytest.mark.skipif(os.name == "nt", reason="pipes are others there")
@pytest.mark.parametrize("encoding", ["cp1252"])
def test_a_run_ends_with_a_closed_pipe_and_without_braille(encoding: str) -> None:
    code = "from samebits.cli import app, training; training._draw_curve = lambda *_: ''; app.app()"
    command = [sys.executable, "-c", code, "train", "small.toml"]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding}, check=False)
    assert done.returncode == 0 and b"No digest is published" in done.stdout and not done.stderr
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b"" and process.wait() == 0
    assert checkpoint.read_header("runs/small-2/checkpoint.safetensors")[1]["step"] == "8"


def test_special_tokens_are_those_of_the_configuration_and_of_the_options() -> None:
    end = "<|endoftext|>"
    Path("text.txt").write_text(f"so the quick brown fox jumps{end}and the lazy dog sleeps\n" * 30)
    special = f'special = "allow"\nend_of_text = "{end}"\n'
    done = run("train", "small.toml", "--out", "plain")
    assert done.exit_code == 0  # it has no special tokens
    Path("special.toml").write_text(special + CONFIG.format(steps=4))
    assert run("train", "special.toml", "--out", "run").exit_code == 0
    done = run("generate", "run", "--prompt", end, "--tokens", "3")
    assert done.exit_code == 2 and "prompt must not contain the special token '<|endoftext|>'" in done.output
    assert 'set special to "allow"' in done.output
    for choice in ("allow", "text"):
        done = run("generate", "run", "--prompt", end, "--tokens", "3", "--special", choice)
        assert done.exit_code == 0 and done.output.startswith(end)
    tokens = [
        run("eval", "run", "--data", "text.txt", *option).output.split()[-1]
        for option in ([], ["--special", "allow"], ["--special", "text"])
    ]
    assert tokens[0] == tokens[1] != tokens[2]
    assert run("eval", "run", "--data", "text.txt", "--special", "refuse").exit_code == 2


def test_wrong_kinds_of_files_are_named() -> None:
    run("train", "small.toml", "--out", "run")
    Path("copied").mkdir()
    Path("copied/checkpoint.safetensors").write_bytes(Path("run/checkpoint.safetensors").read_bytes())
    for arguments, message in (
        (("train", "micro"), "got the name of a preset; --preset micro trains it"),
        (("train", "run"), "got the folder run; --resume --out run continues a run"),
        (("train", "run/checkpoint.safetensors"), "this is a safetensors file, such as a checkpoint, not a TOML file"),
        (("generate", "small.toml"), "small.toml: this is a TOML file, such as a configuration, not a safetensors file"),
        (("info", "run/tokenizer.json"), "this is a JSON file, not a safetensors file"),
        (("generate", "copied"), "copied/checkpoint.safetensors has no tokenizer.json beside it; copy that of its run to copied"),
        (("eval", "run", "--data", "absent.txt"), "got 'absent.txt', which is not in "),
    ):
        done = run(*arguments)
        assert done.exit_code == 2 and message in done.output, done.output


@pytest.mark.skipif(os.name == "nt", reason="names of files are others there")
def test_escapes_in_names_are_shown() -> None:
    Path("a\x1b[31m.txt").write_text(Path("text.txt").read_text())
    Path("red.toml").write_text(CONFIG.format(steps=2).replace("text.txt", r"a\u001b[31m.txt"))
    out = "run\x1b]0;title\x07"
    printed = run("train", "red.toml", "--out", out).output
    assert r"run\x1b]0;title\x07  a\x1b[31m.txt: " in printed and "\x1b" not in printed and "\x07" not in printed
    for arguments in (
        ("info", out),
        ("train", "red.toml", "--out", out),
        ("train", "a\x1b[31m.txt"),
        ("eval", out, "--data", "\x1b"),
    ):
        done = run(*arguments)
        assert "x1b" in done.output.replace("u001b", "x1b") and "\x1b" not in done.output, arguments

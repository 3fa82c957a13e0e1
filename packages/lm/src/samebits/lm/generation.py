"""Generation: text from a language model, one token after the other.

    prompt -> logits of the next token -> `Sampling` chooses one -> it is appended to the prompt -> ...

Keys and values of earlier tokens are cached, so a token costs one row. The text may be longer than the model's context: when the
window is full, the model continues from its newest half. That rule does not depend on the cache. In exact arithmetic the text has
the same bits with and without a cache, and for a prompt alone and in a batch.
"""

import codecs
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from samebits.autograd import no_grad
from samebits.core import Stream, current, numerics, require_arithmetic, restore_arithmetic
from samebits.core.arguments import integer
from samebits.core.random import require_stream
from samebits.lm.model import Ids, LanguageModel
from samebits.lm.sampling import Sampling
from samebits.lm.workers import ALONE, Workers
from samebits.nn.arguments import integers
from samebits.text.tokenizer import SpecialTokenError, Tokenizer, encode_special

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
    special: str = "refuse",
) -> Iterator[str]:
    """Continue a prompt; yield the text as it is generated, in pieces of whole characters.

    Args:
        model: The model; dropout is off, whatever its mode.
        tokenizer: The tokenizer that it was trained with.
        prompt: The text to continue, at least one token.
        tokens: The largest number of tokens to generate.
        stream: The source of random draws.
        sampling: How tokens are chosen; by default each with its probability.
        stop: Strings that end the text. It ends before the first one that occurs.
        cached: Whether to cache keys and values; without, each token costs a pass over the whole window.
        special: Names of special tokens in the prompt: ``"refuse"`` them, ``"allow"`` them to be the tokens, or read them as
            ``"text"``. A prompt from an unknown source may contain some.

    Raises:
        FloatingPointError: A logit is not finite.
        TypeError: ``tokens`` is not an int, or ``stream`` is not a `Stream`.
        ValueError: The prompt is empty, or has a special token or a character that the tokenizer does not know; ``tokens`` is
            negative; a stop string is empty; or the vocabulary sizes of model and tokenizer differ.

    Example:
        >>> from samebits.lm import ModelConfig
        >>> from samebits.text import CharacterTokenizer
        >>> config = ModelConfig(vocabulary_size=3, context=8, layers=1, heads=2, channels=16)
        >>> model = LanguageModel(config, stream=Stream(0))
        >>> pieces = list(generate(model, CharacterTokenizer("abc"), "ab", tokens=5, stream=Stream(1)))
        >>> len(pieces), set(pieces) <= set("abc")
        (5, True)
    """
    tokens = integer("generate", "tokens", tokens, least=0)
    writer = _writer("generate", model, tokenizer, [prompt], [stream], sampling=sampling, cached=cached, special=special)
    texts = [_Text("generate", tokenizer, stop)]
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
    special: str = "refuse",
    workers: Workers = ALONE,
) -> list[str]:
    """Continue several prompts at once; each text is the one that `generate` yields for its prompt and stream.

    Args:
        model: As in `generate`.
        tokenizer: As in `generate`.
        prompts: Texts of any lengths.
        tokens: As in `generate`, for each prompt.
        sampling: As in `generate`.
        stop: As in `generate`.
        cached: As in `generate`.
        special: As in `generate`.
        stream: One stream per prompt; or a single one, of which prompt i gets ``stream.split(i)``.
        workers: The processes that generate, each some of the texts; all of them call this, with the same arguments, and get all texts.

    Raises:
        FloatingPointError, TypeError, ValueError: As in `generate`; or the number of streams is not that of prompts.

    Example:
        >>> from samebits.lm import ModelConfig
        >>> from samebits.text import CharacterTokenizer
        >>> config = ModelConfig(vocabulary_size=3, context=8, layers=1, heads=2, channels=16)
        >>> model, tokenizer = LanguageModel(config, stream=Stream(0)), CharacterTokenizer("abc")
        >>> both = generate_batch(model, tokenizer, ["a", "bbcc"], tokens=5, stream=Stream(1))
        >>> both[1] == "".join(generate(model, tokenizer, "bbcc", tokens=5, stream=Stream(1).split(1)))
        True
    """
    tokens = integer("generate_batch", "tokens", tokens, least=0)
    streams = [stream.split(i) for i in range(len(prompts))] if isinstance(stream, Stream) else list(stream)
    if len(streams) != len(prompts):
        raise ValueError(f"generate_batch: stream must be one Stream or one per prompt, {len(prompts)}, got {len(streams)}")
    texts, streams = [""] * len(prompts), streams[workers.rank :: workers.size]
    if chosen := list(prompts)[workers.rank :: workers.size]:
        writer = _writer("generate_batch", model, tokenizer, chosen, streams, sampling=sampling, cached=cached, special=special)
        for i, piece in _pieces(writer, [_Text("generate_batch", tokenizer, stop) for _ in chosen], tokens):
            texts[workers.rank + i * workers.size] += piece
    return ["".join(parts) for parts in zip(*workers.gather(texts), strict=True)]


def generate_ids(
    model: LanguageModel,
    prompt: Ids,
    *,
    tokens: int,
    stream: Stream,
    sampling: Sampling | None = None,
    cached: bool = True,
) -> Int64:
    """Continue the token ids of a prompt (T,) with exactly ``tokens`` others, int64 (tokens,); see `generate`.

    Example:
        >>> from samebits.lm import ModelConfig
        >>> config = ModelConfig(vocabulary_size=5, context=8, layers=1, heads=2, channels=16)
        >>> model = LanguageModel(config, stream=Stream(0))
        >>> texts = [generate_ids(model, [1, 2], tokens=20, stream=Stream(3), cached=cached) for cached in (True, False)]
        >>> texts[0].shape, bool((texts[0] == texts[1]).all())
        ((20,), True)
    """
    tokens = integer("generate_ids", "tokens", tokens, least=0)
    ids = integers("generate_ids", "prompt", prompt)
    if ids.ndim != 1:
        raise ValueError(f"generate_ids: prompt must have shape (T,), got {ids.shape}")
    writer = _Writer(model, [_Sequence("generate_ids", ids, stream, model.config.context)], sampling, cached)
    found: list[int] = []
    while len(found) < tokens:
        found += [token for _, token in writer.step()]
    return np.array(found, np.int64)


def _writer(
    function: str,
    model: LanguageModel,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    streams: Sequence[Stream],
    *,
    sampling: Sampling | None,
    cached: bool,
    special: str,
) -> "_Writer":
    size = model.config.vocabulary_size
    if tokenizer.vocabulary_size != size:
        raise ValueError(f"{function}: tokenizer must have {size} tokens, as the model, got {tokenizer.vocabulary_size}")
    pairs = zip(prompts, streams, strict=True)
    try:
        encoded = [(encode_special(tokenizer, prompt, special), stream) for prompt, stream in pairs]
    except SpecialTokenError as error:
        raise ValueError(
            f"{function}: prompt must not contain the special token {error.token!r}, found at character {error.place}; set special "
            'to "allow" to make it the token, or to "text" to read it as text'
        ) from None
    sequences = [_Sequence(function, ids, stream, model.config.context) for ids, stream in encoded]
    return _Writer(model, sequences, sampling, cached)


def _pieces(writer: "_Writer", texts: "Sequence[_Text]", tokens: int) -> Iterator[tuple[int, str]]:
    """The pieces of all texts with the texts' numbers, until each has ``tokens`` tokens or a stop string."""
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
    """Text from tokens: whole characters, without a suffix that may be the beginning of a stop string."""

    def __init__(self, function: str, tokenizer: Tokenizer, stop: Sequence[str]) -> None:
        if isinstance(stop, str) or not all(stop):
            raise ValueError(f"{function}: stop must be a list of strings that are not empty, got {stop!r}")
        self._tokens, self._stop = tokenizer.tokens, tuple(stop)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.stopped = False

    def add(self, token: int) -> str:
        """The text that is certain after one more token."""
        return self._take(self._decoder.decode(self._tokens[token]), final=False)

    def rest(self) -> str:
        """The text that was held back, at the end."""
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
    """The number of characters at the end of ``text`` that are the beginning of ``stop``."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)


# Tokens


class _Sequence:
    """The window of tokens that the model sees, how many of them are not in the cache yet, and the set of all tokens."""

    def __init__(self, function: str, prompt: Int64, stream: Stream, context: int) -> None:
        if not len(prompt):
            raise ValueError(f"{function}: prompt must have at least one token, got none")
        self.stream, self.context = require_stream(function, stream), context
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
    """Sequences that a model continues side by side, in the arithmetic that is active when it is made."""

    def __init__(self, model: LanguageModel, sequences: list[_Sequence], sampling: Sampling | None, cached: bool) -> None:
        self._model, self._sampling, self._mode = model, sampling or Sampling(), current().name
        self._sequences, context = sequences, model.config.context
        self._started = False
        self._caches = [block.cache(len(sequences), context) for block in model.blocks] if cached else None

    @property
    def active(self) -> bool:
        """Whether any sequence is not finished."""
        return not all(one.finished for one in self._sequences)

    def finish(self, number: int) -> None:
        """Generate no more for a sequence."""
        self._sequences[number].finished = True

    def step(self) -> list[tuple[int, int]]:
        """One token for each sequence that has been read to its end, with the sequences' numbers."""
        if not self._started:
            restore_arithmetic()
            self._started = True
        training = self._model.training
        if training:
            self._model.eval()
        try:
            with numerics(self._mode), no_grad():
                rows = self._cached() if self._caches is not None else self._uncached()
                found = [(i, self._sampling.choose(x, one.stream, one.seen)) for i, one, x in rows]
        finally:
            if training:
                self._model.train()
        require_arithmetic()
        for i, token in found:
            self._sequences[i].add([token])
        return found

    def _uncached(self) -> list[tuple[int, _Sequence, Float32]]:
        """The logits after each sequence, from its whole window."""
        return [
            (i, one, self._model(np.array([one.window], np.int64), at=[len(one.window) - 1]).data[0, 0])
            for i, one in enumerate(self._sequences)
            if not one.finished
        ]

    def _cached(self) -> list[tuple[int, _Sequence, Float32]]:
        """The logits after each sequence that is read to its end by this call.

        All sequences read equally many tokens, as many as fit every cache. Shorter ones are padded; the cached
        padding is overwritten by the next call.
        """
        active = [one for one in self._sequences if not one.finished]
        width = min(max(one.unread for one in active), *(one.context - one.read for one in active))
        ids = np.zeros((len(self._sequences), width), np.int64)
        starts, places = np.zeros((2, len(self._sequences)), np.int64)
        rows = []
        for i, one in enumerate(self._sequences):
            if one.finished:
                continue
            new = one.window[one.read : one.read + width]
            ids[i, : len(new)] = new
            starts[i] = one.read
            one.unread -= len(new)
            places[i] = len(new) - 1
            if not one.unread:
                rows.append((i, one))
        for cache in self._caches or ():
            cache.lengths = starts
        logits = self._model(ids, self._caches, at=places).data
        return [(i, one, logits[i, 0]) for i, one in rows]

"""Generation: text from a language model, one token after the other.

    prompt -> logits of the next token -> `Sampling` chooses one -> it is appended to the prompt -> ...

Keys and values of earlier tokens are cached, so a token costs one row. The text may be longer than the model's context: when the
window is full, the model continues from its newest half. That rule does not depend on the cache. In exact arithmetic the text has
the same bits with and without a cache, and for a prompt alone and in a batch. Equal prompts of a batch are read once.
"""

import codecs
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from samebits.autograd import log_softmax, no_grad
from samebits.core import Stream, current, numerics, require_arithmetic, restore_arithmetic
from samebits.core.arguments import integer
from samebits.core.indexing import least
from samebits.core.random import require_stream
from samebits.lm.chain import Chain
from samebits.lm.model import Ids, LanguageModel
from samebits.lm.sampling import Sampling
from samebits.lm.workers import ALONE, Workers
from samebits.nn.arguments import integers
from samebits.nn.cache import KeyValueCache
from samebits.text.tokenizer import SpecialTokenError, Tokenizer, encode_special

__all__ = ["StoppedText", "Token", "generate", "generate_batch", "generate_ids", "generate_tokens", "logged_token"]

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Token:
    """A generated token.

    Example:
        >>> Token(0, " the", -0.25, ((0, -0.25), (5, -1.75)))
        Token(id=0, text=' the', logprob=-0.25, top=((0, -0.25), (5, -1.75)), chain='')
    """

    id: int
    text: str
    """The text that is certain with it: whole characters, or nothing while a character or a stop string may go on."""
    logprob: float
    """The logarithm of its probability, from the model's logits as they are: without bias, penalties, temperature and cuts."""
    top: tuple[tuple[int, float], ...]
    """The ids of the most likely tokens and the logarithms of their probabilities, the lowest id first among equals."""
    chain: str = ""
    """The value of the text's `Chain` after this token, if it was asked for."""


def generate(
    model: LanguageModel,
    tokenizer: Tokenizer,
    prompt: str | Ids,
    *,
    tokens: int,
    stream: Stream,
    sampling: Sampling | None = None,
    stop: Sequence[str] = (),
    stop_ids: Collection[int] = (),
    cached: bool = True,
    special: str = "refuse",
) -> Iterator[str]:
    """Continue a prompt; yield the text as it is generated, in pieces of whole characters.

    Args:
        model: The model; dropout is off, whatever its mode.
        tokenizer: The tokenizer that it was trained with.
        prompt: The text to continue, or its token ids; at least one token.
        tokens: The largest number of tokens to generate.
        stream: The source of random draws.
        sampling: How tokens are chosen; by default each with its probability.
        stop: Strings that end the text. It ends before the first one that occurs.
        stop_ids: Token ids that end the text, before the first one that is chosen.
        cached: Whether to cache keys and values; without, each token costs a pass over the whole window.
        special: Names of special tokens in the prompt: ``"refuse"`` them, ``"allow"`` them to be the tokens, or read them as
            ``"text"``. A prompt from an unknown source may contain some.

    Raises:
        FloatingPointError: A logit is not finite.
        IndexError: A token id of the prompt is not in the vocabulary.
        TypeError: ``tokens`` is not an int, or ``stream`` is not a `Stream`.
        ValueError: The prompt is empty, or has a special token or a character that the tokenizer does not know; ``tokens`` is
            negative; a stop string is empty; a stop id is not in the vocabulary; or the vocabulary sizes of model and tokenizer
            differ.

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
    writer = _writer(
        "generate", model, tokenizer, [prompt], [stream], tokens=tokens, sampling=sampling, cached=cached, special=special
    )
    texts = [StoppedText("generate", tokenizer, stop, stop_ids)]
    return (piece for _, piece in _pieces(writer, texts, tokens) if piece)


def generate_tokens(
    model: LanguageModel,
    tokenizer: Tokenizer,
    prompt: str | Ids,
    *,
    tokens: int,
    stream: Stream,
    top: int = 0,
    sampling: Sampling | None = None,
    stop: Sequence[str] = (),
    stop_ids: Collection[int] = (),
    cached: bool = True,
    special: str = "refuse",
    chained: bool = False,
) -> Iterator[Token]:
    """Continue a prompt as `generate` does; yield every token, the one that ends the text too, with its probability.

    Args:
        model: As in `generate`.
        tokenizer: As in `generate`.
        prompt: As in `generate`.
        tokens: As in `generate`.
        stream: As in `generate`.
        top: How many of the most likely tokens to yield with each.
        sampling: As in `generate`.
        stop: As in `generate`.
        stop_ids: As in `generate`.
        cached: As in `generate`.
        special: As in `generate`.
        chained: Whether tokens have the value of a `Chain` over the logits of all steps so far.

    Raises:
        FloatingPointError, IndexError, TypeError, ValueError: As in `generate`; or ``top`` is not from 0 to the vocabulary's size.

    Example:
        >>> from samebits.lm import ModelConfig
        >>> from samebits.text import CharacterTokenizer
        >>> config = ModelConfig(vocabulary_size=3, context=8, layers=1, heads=2, channels=16)
        >>> model, tokenizer = LanguageModel(config, stream=Stream(0)), CharacterTokenizer("abc")
        >>> found = list(generate_tokens(model, tokenizer, [0, 1], tokens=5, top=2, stream=Stream(1)))
        >>> "".join(one.text for one in found) == "".join(generate(model, tokenizer, "ab", tokens=5, stream=Stream(1)))
        True
    """
    tokens = integer("generate_tokens", "tokens", tokens, least=0)
    top = integer("generate_tokens", "top", top, 0, model.config.vocabulary_size)
    writer = _writer(
        "generate_tokens", model, tokenizer, [prompt], [stream], tokens=tokens, sampling=sampling, cached=cached, special=special
    )
    writer.logged = True
    if chained:
        writer.chain()
    texts = [StoppedText("generate_tokens", tokenizer, stop, stop_ids)]
    return (logged_token(step.id, piece, step.logs, top, step.chain) for step, piece in _pieces(writer, texts, tokens))


def logged_token(id_: int, text: str, logs: Float32, top: int, chain: str = "") -> Token:
    """A token with its probability and the ``top`` largest ones, from the logarithms of all probabilities (V,).

    Example:
        >>> logged_token(1, "b", np.array([-0.25, -1.5], np.float32), top=1)
        Token(id=1, text='b', logprob=-1.5, top=((0, -0.25),), chain='')
    """
    ids = least(-logs, top) if top else logs[:0].astype(np.int64)
    return Token(id_, text, float(logs[id_]), tuple(zip(ids.tolist(), logs[ids].tolist(), strict=True)), chain)


def generate_batch(
    model: LanguageModel,
    tokenizer: Tokenizer,
    prompts: Sequence[str | Ids],
    *,
    tokens: int,
    stream: Stream | Sequence[Stream],
    sampling: Sampling | None = None,
    stop: Sequence[str] = (),
    stop_ids: Collection[int] = (),
    cached: bool = True,
    special: str = "refuse",
    each: Callable[[int, int, str], object] | None = None,
    workers: Workers = ALONE,
) -> list[str]:
    """Continue several prompts at once; each text is the one that `generate` yields for its prompt and stream.

    Args:
        model: As in `generate`.
        tokenizer: As in `generate`.
        prompts: Texts or token ids of any lengths. Equal ones are read once: ``[prompt] * 3`` gives three samples of a prompt.
        tokens: As in `generate`, for each prompt.
        sampling: As in `generate`.
        stop: As in `generate`.
        stop_ids: As in `generate`.
        cached: As in `generate`.
        special: As in `generate`.
        stream: One stream per prompt; or a single one, of which prompt i gets ``stream.split(i)``.
        each: Called for each token, the one that ends a text too, with the number of the prompt, the token's id and the value of the
            text's `Chain`; by each worker for its own texts.
        workers: The processes that generate, each some of the texts; all of them call this, with the same arguments, and get all texts.

    Raises:
        FloatingPointError, IndexError, TypeError, ValueError: As in `generate`; or the number of streams is not that of prompts.

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
        writer = _writer(
            "generate_batch", model, tokenizer, chosen, streams, tokens=tokens, sampling=sampling, cached=cached, special=special
        )
        if each:
            writer.chain()
        for step, piece in _pieces(writer, [StoppedText("generate_batch", tokenizer, stop, stop_ids) for _ in chosen], tokens):
            number = workers.rank + step.number * workers.size
            texts[number] += piece
            if each:
                each(number, step.id, step.chain)
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
    sequence = _Sequence("generate_ids", _ids("generate_ids", prompt), stream, model.config.context)
    writer = _Writer(model, [sequence], tokens, sampling, cached)
    found: list[int] = []
    while len(found) < tokens:
        found += [step.id for step in writer.step()]
    return np.array(found, np.int64)


def _writer(
    function: str,
    model: LanguageModel,
    tokenizer: Tokenizer,
    prompts: Sequence[str | Ids],
    streams: Sequence[Stream],
    *,
    tokens: int,
    sampling: Sampling | None,
    cached: bool,
    special: str,
) -> "_Writer":
    size = model.config.vocabulary_size
    if tokenizer.vocabulary_size != size:
        raise ValueError(f"{function}: tokenizer must have {size} tokens, as the model, got {tokenizer.vocabulary_size}")
    pairs = zip(prompts, streams, strict=True)
    try:
        encoded = [
            (encode_special(tokenizer, prompt, special) if isinstance(prompt, str) else _ids(function, prompt), stream)
            for prompt, stream in pairs
        ]
    except SpecialTokenError as error:
        raise ValueError(
            f"{function}: prompt must not contain the special token {error.token!r}, found at character {error.place}; set special "
            'to "allow" to make it the token, or to "text" to read it as text'
        ) from None
    sequences = [_Sequence(function, ids, stream, model.config.context) for ids, stream in encoded]
    return _Writer(model, sequences, tokens, sampling, cached)


def _ids(function: str, prompt: Ids) -> Int64:
    """The token ids of a prompt."""
    ids = integers(function, "prompt", prompt)
    if ids.ndim != 1:
        raise ValueError(f"{function}: prompt must have shape (T,), got {ids.shape}")
    return ids


def _pieces(writer: "_Writer", texts: "Sequence[StoppedText]", tokens: int) -> "Iterator[tuple[_Step, str]]":
    """The steps of all texts with their pieces, until each has ``tokens`` tokens, a stop string or a stop id."""
    left = [tokens] * len(texts)
    while tokens and writer.active:
        for step in writer.step():
            text = texts[step.number]
            left[step.number] -= 1
            piece = text.add(step.id)
            if text.stopped or not left[step.number]:
                writer.finish(step.number)
                piece += text.rest()
            yield step, piece


# Text


class StoppedText:
    """Text from tokens: whole characters, without a suffix that may be the beginning of a stop string.

    Example:
        >>> from samebits.text import CharacterTokenizer
        >>> text = StoppedText("generate", CharacterTokenizer("abc"), stop=["bc"])
        >>> [text.add(token) for token in (0, 1, 0, 1, 2)], text.stopped
        (['a', '', 'ba', '', ''], True)
    """

    stopped: bool
    """Whether a stop string or a stop id has ended it."""

    def __init__(self, function: str, tokenizer: Tokenizer, stop: Sequence[str], stop_ids: Collection[int] = ()) -> None:
        if isinstance(stop, str) or not all(stop):
            raise ValueError(f"{function}: stop must be a list of strings that are not empty, got {stop!r}")
        self._tokens, self._stop = tokenizer.tokens, tuple(stop)
        self._stop_ids = {integer(function, "a stop id", one, 0, len(self._tokens) - 1) for one in stop_ids}
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.stopped = False

    def add(self, token: int) -> str:
        """The text that is certain after one more token."""
        if token in self._stop_ids:
            text = self.rest()
            self.stopped = True
            return text
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
        self.sampled: list[int] = []
        self.finished = False
        self.chain: Chain | None = None
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


class _Step(NamedTuple):
    """A token that was chosen, the number of its sequence, the logarithms of all probabilities, (V,), or nothing, and the chain's value."""

    number: int
    id: int
    logs: Float32
    chain: str


class _Writer:
    """Sequences that a model continues side by side, in the arithmetic that is active when it is made."""

    def __init__(
        self, model: LanguageModel, sequences: list[_Sequence], tokens: int, sampling: Sampling | None, cached: bool
    ) -> None:
        self._model, self._sampling, self._mode = model, sampling or Sampling(), current().name
        self._sequences = sequences
        self._started = False
        self._caches: list[KeyValueCache] | None = None
        self.logged = False  # whether steps have the logarithms of probabilities
        windows = list(dict.fromkeys(tuple(one.window) for one in sequences))
        self._rows = [windows.index(tuple(one.window)) for one in sequences]  # of the caches: equal prompts share one
        self._capacity = min(model.config.context, max((len(window) for window in windows), default=0) + tokens)
        if cached:
            self._caches = [block.cache(len(windows), self._capacity) for block in model.blocks]

    @property
    def active(self) -> bool:
        """Whether any sequence is not finished."""
        return not all(one.finished for one in self._sequences)

    def chain(self) -> None:
        """Begin a chain over the logits of each sequence."""
        for one in self._sequences:
            one.chain = Chain()

    def finish(self, number: int) -> None:
        """Generate no more for a sequence."""
        self._sequences[number].finished = True

    def step(self) -> list[_Step]:
        """One token for each sequence that has been read to its end."""
        if not self._started:
            restore_arithmetic()
            self._started = True
        training = self._model.training
        if training:
            self._model.eval()
        try:
            with numerics(self._mode), no_grad():
                rows = self._cached(self._caches) if self._caches is not None else self._uncached()
                found = [self._chosen(i, one, x) for i, one, x in rows]
        finally:
            if training:
                self._model.train()
        require_arithmetic()
        for step in found:
            self._sequences[step.number].add([step.id])
            self._sequences[step.number].sampled.append(step.id)
        return found

    def _chosen(self, number: int, one: _Sequence, logits: Float32) -> _Step:
        token = self._sampling.choose(logits, one.stream, one.seen, one.sampled)
        logs = np.asarray(log_softmax(logits)) if self.logged else logits[:0]  # type: ignore[arg-type]
        return _Step(number, token, logs, one.chain.add(logits, token) if one.chain else "")

    def _uncached(self) -> list[tuple[int, _Sequence, Float32]]:
        """The logits after each sequence, from its whole window."""
        return [
            (i, one, self._model(np.array([one.window], np.int64), at=[len(one.window) - 1]).data[0, 0])
            for i, one in enumerate(self._sequences)
            if not one.finished
        ]

    def _cached(self, caches: list[KeyValueCache]) -> list[tuple[int, _Sequence, Float32]]:
        """The logits after each sequence that is read to its end by this call.

        All sequences read equally many tokens, as many as fit every cache. Shorter ones are padded; the cached
        padding is overwritten by the next call. The first call reads all prompts to their ends.
        """
        active = [one for one in self._sequences if not one.finished]
        width = min(max(one.unread for one in active), *(self._capacity - one.read for one in active))
        ids = np.zeros((len(caches[0].lengths), width), np.int64)
        starts, places = np.zeros((2, len(ids)), np.int64)
        read = []
        for i, (one, row) in enumerate(zip(self._sequences, self._rows, strict=True)):
            if one.finished:
                continue
            new = one.window[one.read : one.read + width]
            ids[row, : len(new)] = new
            starts[row] = one.read
            one.unread -= len(new)
            places[row] = len(new) - 1
            if not one.unread:
                read.append((i, one, row))
        for cache in caches:
            cache.lengths = starts
        logits = self._model(ids, caches, at=places).data
        found = [(i, one, logits[row, 0]) for i, one, row in read]
        if len(ids) < len(self._sequences):
            for cache in caches:
                cache.take(self._rows)
            self._rows = list(range(len(self._sequences)))
        return found

"""Engine: many requests that a model answers side by side, each with the bits that it has alone (continuous batching).

    add(request) -> waits for a slot -> its prompt is read in pieces -> each step writes its next token -> it ends, the slot is free

A step writes a token of every request whose prompt is read, in one pass of the model over all of them, and reads a piece of one
prompt that is not. So requests come and go at any step, and a long prompt delays the others by a piece at a time. In exact and
int16 arithmetic, the tokens of a request are those of `generate_tokens`, whatever else is computed with it.

Requests in work have the first rows of the key/value caches, the one that is being read the last of them: a pass is over rows that
lie side by side. When one ends, the last row is copied to its place.
"""

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from samebits.autograd import log_softmax, no_grad
from samebits.core import Stream, current, numerics, require_arithmetic, restore_arithmetic
from samebits.core.arguments import integer
from samebits.core.random import require_stream
from samebits.lm.chain import Chain
from samebits.lm.drafts import Draft
from samebits.lm.generation import StoppedText, Token, logged_token
from samebits.lm.model import LanguageModel
from samebits.lm.prefixes import BLOCK, PrefixCache
from samebits.lm.sampling import Sampling
from samebits.nn.cache import KeyValueCache
from samebits.text.tokenizer import Tokenizer

__all__ = ["Engine", "Request", "Written"]

Float32 = npt.NDArray[np.float32]

_CAPACITY = 1024  # tokens that a row of the caches holds at first
_TOGETHER = 16  # ids of texts and drafts in a step, which take about as long as half of them
_FIRST = 4  # tokens of the first draft of a text


@dataclass(frozen=True, kw_only=True)
class Request:
    """A prompt, and how it is to be continued; see `generate_tokens`.

    Example:
        >>> Request(prompt=[0, 1], tokens=5, stream=Stream(1)).sampling.temperature
        1.0
    """

    prompt: Sequence[int]
    tokens: int
    """The largest number of tokens to write. Prompt and tokens never exceed the model's context."""
    stream: Stream
    """The source of random draws."""
    sampling: Sampling = field(default_factory=Sampling)
    stop: Sequence[str] = ()
    """Strings that end the text."""
    stop_ids: Collection[int] = ()
    """Token ids that end the text."""
    top: int = 0
    """How many of the most likely tokens to give with each."""
    logged: bool = False
    """Whether tokens have the logarithms of their probabilities; also with ``top`` above 0. Otherwise ``logprob`` is 0."""
    chained: bool = False
    """Whether tokens have the value of the `Chain` of all logits so far."""


class Written(NamedTuple):
    """A token of a request; or, with the finish "error", that its logits have no value.

    Example:
        >>> Written(3, Token(0, "a", 0.0, ()), "length").error
        ''
    """

    number: int
    """The number of the request."""
    token: Token | None
    """None with the finish "error" alone."""
    finish: str = ""
    """Why the request has ended: "stop" at a stop string or id, "length", "error"; "" while it goes on."""
    error: str = ""
    """The message of the error."""
    cached: int = 0
    """How many tokens of the prompt were not read, as their keys and values were kept from earlier requests."""


class Engine:
    """Continues prompts side by side.

    Args:
        model: The model, in evaluation mode.
        tokenizer: Its tokenizer.
        slots: The largest number of requests in work; others wait, in the order in which they came.
        prefixes: Keeps keys and values of texts, so that another one with the same beginning is not read again.
        draft: Guesses tokens, so that a step may write several of a request while few run.
        piece: The largest number of tokens of a prompt that are read in a step.

    All steps are computed in the arithmetic that is active when the engine is made. An engine belongs to one thread.

    Raises:
        TypeError: ``slots`` or ``piece`` is not an int.
        ValueError: The model is in training mode, the vocabulary sizes of model and tokenizer differ, ``prefixes`` has another
            arithmetic, or a number is below 1.

    Example:
        >>> from samebits.lm import ModelConfig, generate_tokens
        >>> from samebits.text import CharacterTokenizer
        >>> config = ModelConfig(vocabulary_size=3, context=32, layers=1, heads=2, channels=16)
        >>> model, tokenizer = LanguageModel(config, stream=Stream(0)).eval(), CharacterTokenizer("abc")
        >>> engine, texts = Engine(model, tokenizer), {}
        >>> for prompt in ([0, 1], [2]):
        ...     number = engine.add(Request(prompt=prompt, tokens=5, stream=Stream(1)))
        ...     texts[number] = ""
        >>> while engine.active:
        ...     for written in engine.step():
        ...         texts[written.number] += written.token.text
        >>> alone = generate_tokens(model, tokenizer, [2], tokens=5, stream=Stream(1))
        >>> texts[1] == "".join(token.text for token in alone)
        True
    """

    context: int
    """The largest number of tokens of a prompt and its text."""

    drafted: int
    """How many tokens were guessed."""

    accepted: int
    """How many of them were chosen."""

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: Tokenizer,
        *,
        slots: int = 8,
        prefixes: PrefixCache | None = None,
        draft: Draft | None = None,
        piece: int = 64,
    ) -> None:
        size = model.config.vocabulary_size
        if model.training:
            raise ValueError("Engine: model must be in evaluation mode, got one in training mode; call its eval()")
        if tokenizer.vocabulary_size != size:
            raise ValueError(f"Engine: tokenizer must have {size} tokens, as the model, got {tokenizer.vocabulary_size}")
        self.slots, self._piece = (integer("Engine", name, x, least=1) for name, x in (("slots", slots), ("piece", piece)))
        self.context, self._mode = model.config.context, current().name
        self._model, self._tokenizer, self._prefixes = model, tokenizer, prefixes
        if prefixes is not None and prefixes.arithmetic != self._mode:
            raise ValueError(f"Engine: prefixes must have the active arithmetic, {self._mode}, got {prefixes.arithmetic}")
        self._waiting: deque[_Job] = deque()
        self._draft, self.drafted, self.accepted = draft, 0, 0
        self._rows: list[_Job] = []  # the texts of the rows of the caches
        self._count = 0
        self._cache = self._new_cache(min(self.context, _CAPACITY))
        self._starts = range(0, len(model.blocks) * slots, slots)  # of the layers in it

    @property
    def active(self) -> bool:
        """Whether any request has not ended."""
        return bool(self._rows or self._waiting)

    @property
    def running(self) -> int:
        """The number of requests in work."""
        return len(self._rows)

    @property
    def waiting(self) -> int:
        """The number of requests that wait for a slot, or for the prompt before theirs to be read."""
        return len(self._waiting)

    def add(self, request: Request) -> int:
        """Add a request; return its number, from 0 on.

        Raises:
            TypeError: A number of the request is not an int, or its stream is not a `Stream`.
            ValueError: The prompt is empty, or leaves no place for a token in the context; an id of the prompt, a stop id or one of
                the bias is not in the vocabulary; a stop string is empty; or a number is out of its range.
        """
        size = self._model.config.vocabulary_size
        prompt = [integer("Engine.add", "a token id of prompt", one, 0, size - 1) for one in request.prompt]
        if not 1 <= len(prompt) < self.context:
            raise ValueError(f"Engine.add: prompt must have from 1 to {self.context - 1} tokens, got {len(prompt)}")
        integer("Engine.add", "tokens", request.tokens, least=1)
        integer("Engine.add", "top", request.top, 0, size)
        require_stream("Engine.add", request.stream)
        if (most := max(request.sampling.logit_bias, default=0)) >= size:
            raise ValueError(f"Engine.add: sampling must have a logit_bias of ids below {size}, got {most}")
        text = StoppedText("Engine.add", self._tokenizer, request.stop, request.stop_ids)
        most = min(len(prompt) + request.tokens, self.context)
        self._waiting.append(_Job(self._count, request, text, prompt, most, seen=set(prompt)))
        self._count += 1
        return self._count - 1

    def cancel(self, number: int) -> None:
        """End a request and free its slot; one that has ended already is ignored."""
        self._waiting = deque(one for one in self._waiting if one.number != number)
        for one in [one for one in self._rows if one.number == number]:
            self._leave(one)

    def step(self) -> list[Written]:
        """Write the next token of every request whose prompt is read, and read a piece of the next prompt.

        A request whose logits are not finite ends with the finish "error"; no other request is affected.
        """
        restore_arithmetic()
        with numerics(self._mode), no_grad():
            for row, one in enumerate(self._rows):
                if not (one.kept or one.unread > 1):  # its prompt is kept only now, so that its first token was not delayed
                    self._keep(row, one)
            while self._waiting and len(self._rows) < self.slots and not self._reader:
                self._begin(self._waiting.popleft())
            read = len(self._rows) - len(self._reader)
            self._guess(self._rows[:read])
            found = [*self._advance(0, self._rows[:read]), *self._advance(read, self._reader)]
        require_arithmetic()
        for one in [one for one in self._rows if one.ended]:
            self._leave(one)
        return found

    def _begin(self, one: "_Job") -> None:
        """Give a request the next row."""
        self._hold(len(one.ids))
        if self._prefixes is not None:
            one.read = one.cached = self._prefixes.load(one.ids[:-1], self._row(len(self._rows)))
        self._rows.append(one)

    def _keep(self, row: int, one: "_Job") -> None:
        """Keep the keys and values of what the model has read."""
        if self._prefixes is not None:
            self._prefixes.store(one.ids[: one.read], self._row(row))
        one.kept = True

    @property
    def _reader(self) -> "list[_Job]":
        """The last row, if the model has not read its prompt."""
        return [one for one in self._rows[-1:] if one.unread > 1]

    def _advance(self, first: int, jobs: "list[_Job]") -> list[Written]:
        """Read what is unread of the rows from ``first`` on, or a piece of it; choose a token where all is read."""
        if not jobs:
            return []
        try:
            logits = self._logits(first, jobs)
        except FloatingPointError as error:
            if len(jobs) == 1 and not jobs[0].draft:
                return [jobs[0].fail(error)]
            for one in jobs:
                one.draft = []  # of an id that would not be chosen
            return [written for i, one in enumerate(jobs) for written in self._advance(first + i, [one])]  # to find which it is
        return [written for one, rows in zip(jobs, logits, strict=True) for written in self._choose(one, rows)]

    def _logits(self, first: int, jobs: "list[_Job]") -> Float32:
        """The logits (B, N, V) after the last of the new ids of the rows from ``first`` on and after each id of their drafts."""
        news = [one.ids[one.read : one.read + self._piece] + one.draft for one in jobs]
        width, count = max(map(len, news)), 1 + max(len(one.draft) for one in jobs)
        self._hold(max(one.read for one in jobs) + width)
        ids, at = np.zeros((len(jobs), width), np.int64), np.zeros((len(jobs), count), np.int64)
        for row, (one, new) in enumerate(zip(jobs, news, strict=True)):
            ids[row, : len(new)] = new
            at[row] = np.minimum(np.arange(count) + len(new) - len(one.draft) - 1, width - 1)
        caches = [self._cache.rows(slice(start + first, start + first + len(jobs))) for start in self._starts]
        for cache in caches:
            cache.lengths = np.array([one.read for one in jobs], np.int64)
        return self._model(ids, caches, at=at).data

    def _choose(self, one: "_Job", logits: Float32) -> Iterator[Written]:
        """The next token of a request that is read to its end; and those after it, as long as they are the ones of its draft."""
        one.read = min(one.read + self._piece, len(one.ids))
        if one.unread:
            return
        accepted = 0
        for row, guess in zip(logits, [*one.draft, None], strict=False):
            yield one.next(row)
            if one.ended or one.ids[-1] != guess:
                break
            accepted += 1
        if one.draft:
            one.trust = 2 * accepted if accepted == len(one.draft) else max(accepted, 1)
            self.drafted, self.accepted, one.draft = self.drafted + len(one.draft), self.accepted + accepted, []

    def _guess(self, jobs: "list[_Job]") -> None:
        """Draft tokens of the texts that are read: of each as many as half of them have, as all take the time of the longest draft."""
        if self._draft is None or not jobs:
            return
        most = min(_TOGETHER // len(jobs) - 1, self.context - max(len(one.ids) for one in jobs))
        for one in jobs:
            length = min(one.trust, most, one.most - len(one.ids) - 1)
            one.draft = self._draft.draft(one.ids, length) if length > 0 else []
        common = sorted(len(one.draft) for one in jobs)[(len(jobs) - 1) // 2]
        for one in jobs:
            one.draft = one.draft[:common]

    def _hold(self, tokens: int) -> None:
        """Let each row hold so many tokens: with twice the capacity, or more."""
        if tokens <= self._cache.capacity:
            return
        old, self._cache = self._cache, self._new_cache(min(self.context, max(tokens, 2 * self._cache.capacity)))
        for row, one in enumerate(self._rows):
            _copy(old.rows(self._layers(row)), self._row(row), one.read)

    def _new_cache(self, tokens: int) -> KeyValueCache:
        """A cache of all layers: of each, ``slots`` rows. Memory is taken when it is first written."""
        with numerics(self._mode):
            return self._model.blocks[0].cache(len(self._model.blocks) * self.slots, _whole(tokens))

    def _layers(self, row: int) -> slice:
        """A row of all layers."""
        return slice(row, None, self.slots)

    def _row(self, row: int) -> KeyValueCache:
        return self._cache.rows(self._layers(row))

    def _leave(self, one: "_Job") -> None:
        """Take a row away; the last row that is read gets its place, and the one that is being read is again the last."""
        place, last = self._rows.index(one), len(self._rows) - 1
        if one.failed:
            for part in self._row(place).part(0, _whole(one.read + self._piece + _TOGETHER)):
                part[...] = 0  # a NaN, even times 0, would be one in the rows to come
        else:
            self._keep(place, one)
        if self._reader and place < last - 1:
            self._move(last - 1, place)
            place = last - 1
        if place < last:
            self._move(last, place)
        self._rows.pop()

    def _move(self, old: int, new: int) -> None:
        self._rows[new] = self._rows[old]
        _copy(self._row(old), self._row(new), self._rows[new].read)


def _whole(tokens: int) -> int:
    """So many tokens in whole blocks."""
    return -(-tokens // BLOCK) * BLOCK


def _copy(old: KeyValueCache, new: KeyValueCache, tokens: int) -> None:
    """Copy the first tokens of all sequences."""
    for to, x in zip(new.part(0, _whole(tokens)), old.part(0, _whole(tokens)), strict=True):
        to[...] = x


@dataclass(eq=False)
class _Job:
    """A request, what was written, and how much of both the model has read."""

    number: int
    request: Request
    text: StoppedText
    ids: list[int]
    most: int
    """The number of ids at which it ends."""
    seen: set[int]
    sampled: list[int] = field(default_factory=list)
    chain: Chain = field(default_factory=Chain)
    read: int = 0
    cached: int = 0
    draft: list[int] = field(default_factory=list)
    trust: int = _FIRST
    """How many tokens are guessed next."""
    kept: bool = False
    ended: bool = False
    failed: bool = False

    @property
    def unread(self) -> int:
        return len(self.ids) - self.read

    def next(self, logits: Float32) -> Written:
        """Choose the next token from its logits (V,)."""
        request = self.request
        try:
            token = request.sampling.choose(logits, request.stream, self.seen, self.sampled)
        except FloatingPointError as error:
            return self.fail(error)
        self.read = len(self.ids)
        self.ids.append(token)
        self.sampled.append(token)
        self.seen.add(token)
        piece = self.text.add(token)
        finish = "stop" if self.text.stopped else "length" if len(self.ids) == self.most else ""
        self.ended = bool(finish)
        if finish:
            piece += self.text.rest()
        chain = self.chain.add(logits, token) if request.chained else ""
        found = Token(token, piece, 0.0, (), chain)
        if request.logged or request.top:
            found = logged_token(token, piece, np.asarray(log_softmax(logits)), request.top, chain)  # type: ignore[arg-type]
        return Written(self.number, found, finish, cached=self.cached)

    def fail(self, error: FloatingPointError) -> Written:
        """End with an error."""
        self.ended = self.failed = True
        return Written(self.number, None, "error", str(error), self.cached)

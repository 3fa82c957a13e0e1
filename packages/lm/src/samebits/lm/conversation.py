"""Conversation: questions to a model and its answers.

    system prompt, questions, answers  ->  chat template  ->  token ids  ->  the model reads those that are new  ->  an answer

The template renders the whole conversation for each answer. The model reads what follows the longest beginning that its key/value
cache holds. In exact and int16 arithmetic, an answer has the bits that it has when everything is read from scratch.
"""

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import count

from samebits.core import Stream
from samebits.core.arguments import integer
from samebits.lm.chain import Chain
from samebits.lm.messages import MessageEncoder, Template, marked
from samebits.lm.model import LanguageModel
from samebits.lm.reader import Reader
from samebits.lm.receipts import WrittenText
from samebits.lm.sampling import Sampling
from samebits.text.tokenizer import Tokenizer

__all__ = ["Conversation", "Turn"]


@dataclass
class Turn:
    """A question and its answer."""

    question: str
    read: list[int]
    """The ids of everything that the model reads before it answers."""
    attempt: int = 0
    """How often the answer was regenerated."""
    answer: list[int] = field(default_factory=list)
    """The ids of the answer; the last one is a stop id, unless the answer was cut short."""
    chain: list[str] = field(default_factory=list)
    """The value of a `Chain` after each of them, if it was asked for."""


class Conversation:
    """A conversation with a model.

    Args:
        model: The model, in evaluation mode.
        tokenizer: Its tokenizer.
        template: Renders the messages as the model was trained to read them.
        stop_ids: The ids that end an answer.
        sampling: How tokens are chosen; by default each with its probability.
        seed: The seed of the answers. That of turn i draws from ``Stream(seed).split(i).split(attempt)``.
        tokens: The largest number of tokens of an answer; by default 1024, or half of the context if that is less.
        system: The system prompt; None leaves it to the template. It may be set to another one at any time.
        chained: Whether turns have the chains that `written` needs.

    The character U+10FFFF, which is none of any text, is left out of all messages.

    Raises:
        TypeError: ``seed`` or ``tokens`` is not an int.
        ValueError: The model is in training mode, the vocabulary sizes of model and tokenizer differ, a stop id is not in the
            vocabulary, ``seed`` is negative, or ``tokens`` is not below the context.

    Example:
        >>> from samebits.lm import ModelConfig
        >>> from samebits.text import CharacterTokenizer
        >>> tokenizer = CharacterTokenizer("abc:", ["<end>"])
        >>> config = ModelConfig(vocabulary_size=5, context=64, layers=1, heads=2, channels=16)
        >>> model = LanguageModel(config, stream=Stream(0)).eval()
        >>> def template(messages):
        ...     return "".join(f"{one['content']}<end>" for one in messages) + ":"
        >>> conversation = Conversation(model, tokenizer, template, stop_ids=[4], tokens=5)
        >>> pieces = list(conversation.ask("ab"))
        >>> conversation.turns[0].read, len(conversation.turns[0].answer) <= 5
        ([0, 1, 4, 3], True)
    """

    turns: list[Turn]
    """All turns, also those that the model no longer reads."""

    dropped: int
    """The number of turns, the oldest ones, that are no longer read, as the context is full."""

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: Tokenizer,
        template: Template,
        *,
        stop_ids: Collection[int] = (),
        sampling: Sampling | None = None,
        seed: int = 0,
        tokens: int | None = None,
        system: str | None = None,
        chained: bool = False,
    ) -> None:
        size, context = model.config.vocabulary_size, model.config.context
        if model.training:
            raise ValueError("Conversation: model must be in evaluation mode, got one in training mode; call its eval()")
        if tokenizer.vocabulary_size != size:
            raise ValueError(f"Conversation: tokenizer must have {size} tokens, as the model, got {tokenizer.vocabulary_size}")
        self.stop_ids = frozenset(integer("Conversation", "stop_ids", one, 0, size - 1) for one in stop_ids)
        self.seed = integer("Conversation", "seed", seed, least=0)
        wanted = min(1024, context // 2) if tokens is None else tokens
        self.tokens = integer("Conversation", "tokens", wanted, 1, context - 1)
        self.sampling, self.system, self._chained = sampling or Sampling(), system, chained
        self._tokenizer, self._encoder, self._reader = tokenizer, MessageEncoder(tokenizer, template), Reader(model)
        self.reset()

    @property
    def arithmetic(self) -> str:
        """The arithmetic of the answers: the one that was active when the conversation was made."""
        return self._reader.mode

    def reset(self) -> None:
        """Forget all turns; the system prompt stays."""
        self.turns, self.dropped = [], 0

    def ask(self, question: str) -> Iterator[str]:
        """Ask a question; yield the answer as it is generated, in pieces of whole characters.

        The turn is part of the conversation from now on. An answer that is not taken to its end is kept as far as it was taken.
        If the answer does not fit the context, the oldest turns are dropped whole, and `dropped` counts them.

        Raises:
            FloatingPointError: A logit is not finite.
            ValueError: The question has a character that the tokenizer does not know; or it is too long for the context, with
                the system prompt alone; or the template refuses the messages. Nothing is changed.
        """
        return self._answer(question, attempt=0)

    def regenerate(self) -> Iterator[str]:
        """Answer the last question again, with other random numbers; see `ask`.

        Raises:
            ValueError: There is no question yet; or as in `ask`.
        """
        if not self.turns:
            raise ValueError("regenerate: there must be a question to answer again, got none")
        last = self.turns.pop()
        try:
            return self._answer(last.question, last.attempt + 1)
        except BaseException:
            self.turns.append(last)
            raise

    def messages(self) -> list[dict[str, str]]:
        """The system prompt, and all questions and answers.

        Example:
            >>> from samebits.lm import ModelConfig
            >>> from samebits.text import CharacterTokenizer
            >>> config = ModelConfig(vocabulary_size=2, context=64, layers=1, heads=2, channels=16)
            >>> model = LanguageModel(config, stream=Stream(0)).eval()
            >>> Conversation(model, CharacterTokenizer("ab"), str, system="a").messages()
            [{'role': 'system', 'content': 'a'}]
        """
        pairs = [(turn.question, self._tokenizer.decode(self._text_ids(turn))) for turn in self.turns]
        return _messages(self.system, pairs)

    def written(self) -> list[WrittenText]:
        """The answers of a chained conversation, for a `Receipt`."""
        found = []
        for number, turn in enumerate(self.turns):
            tokens = turn.answer[: len(turn.chain)]  # Ctrl-C may have come before the last value of the chain
            stream, text = [self.seed, number, turn.attempt], self._tokenizer.decode(tokens)
            found.append(WrittenText(prompt=turn.read, stream=stream, tokens=tokens, chain=turn.chain, text=text))
        return found

    def digest(self, model: str) -> str:
        """SHA-256 of the model, the settings, and all ids that were read and generated, in 64 hexadecimal digits.

        Args:
            model: The digest of the model's file.
        """
        chosen = {name: value for name, value in asdict(self.sampling).items() if value != getattr(Sampling(), name)}
        settings = {"model": model, "numerics": self.arithmetic, "sampling": chosen, "seed": self.seed, "tokens": self.tokens}
        lines = [json.dumps(one, sort_keys=True) for one in (settings, *([turn.read, turn.answer] for turn in self.turns))]
        return hashlib.sha256("\n".join(["samebits.conversation/1", *lines, ""]).encode()).hexdigest()

    def _answer(self, question: str, attempt: int) -> Iterator[str]:
        """Add a turn, and return the pieces of its answer."""
        context, most = self._reader.context, self._reader.context - self.tokens
        for dropped in count(self.dropped):
            pairs = [(marked(turn.question), self._marked_answer(turn)) for turn in self.turns[dropped:]]
            system = None if self.system is None else marked(self.system)
            read = self._encoder.encode_marked(_messages(system, [*pairs, (marked(question), None)]))
            if len(read) <= most:
                break
            if not pairs:
                raise ValueError(
                    f"ask: question must have at most {most} tokens, with the system prompt and what the template adds, so that "
                    f"an answer of {self.tokens} fits the context of {context}, got {len(read)}"
                )
        self.dropped = dropped
        self._reader.hold(len(read) + self.tokens)
        turn = Turn(question, read, attempt)
        stream = Stream(self.seed).split(len(self.turns)).split(attempt)
        self.turns.append(turn)
        return self._tokenizer.decode_stream(self._generated(turn, stream))

    def _generated(self, turn: Turn, stream: Stream) -> Iterator[int]:
        """The ids of an answer, which are added to its turn, without the stop id."""
        chain = Chain()
        while len(turn.answer) < self.tokens:
            ids = turn.read + turn.answer
            logits = self._reader.logits(ids)
            token = self.sampling.choose(logits, stream, ids, turn.answer)
            turn.answer.append(token)
            if self._chained:
                turn.chain.append(chain.add(logits, token))
            if token in self.stop_ids:
                return
            yield token

    def _text_ids(self, turn: Turn) -> list[int]:
        """The ids of an answer without the stop id."""
        return turn.answer[:-1] if turn.answer and turn.answer[-1] in self.stop_ids else turn.answer

    def _marked_answer(self, turn: Turn) -> str:
        """The text of an answer; special and added tokens in it are those that the model generated."""
        ids, text = self._text_ids(turn), ""
        special = {*self._tokenizer.special_tokens.values(), *self._tokenizer.added_tokens.values()}
        while ids:
            length = next((i for i, one in enumerate(ids) if one in special), len(ids))
            text += marked(self._tokenizer.decode(ids[:length])) + self._tokenizer.decode(ids[length : length + 1])
            ids = ids[length + 1 :]
        return text


def _messages(system: str | None, turns: Sequence[tuple[str, str | None]]) -> list[dict[str, str]]:
    texts = [("system", system), *(pair for turn in turns for pair in zip(("user", "assistant"), turn, strict=True))]
    return [{"role": role, "content": text} for role, text in texts if text is not None]

"""Messages: a conversation as the token ids that a model reads.

    messages  ->  each character of a content marked  ->  chat template  ->  split at special tokens  ->  token ids

Special tokens come from the template. Names of special tokens in messages are ordinary text: each character of a message is marked
before the template sees it, and a marked name is not a special token.
"""

import re
from collections.abc import Callable, Mapping, Sequence

from samebits.text.tokenizer import Tokenizer

__all__ = ["Message", "MessageEncoder", "Template", "marked"]

Message = Mapping[str, str]
"""A ``role``, which is "system", "user" or "assistant", and its ``content``."""

Template = Callable[[Sequence[Message]], str]
"""The text of some messages as the model reads it, with the beginning of the next answer."""

_MARK = "\U0010ffff"  # no character of any text


class MessageEncoder:
    """Turns messages into token ids.

    Args:
        tokenizer: The tokenizer of the model.
        template: Renders the messages as the model was trained to read them.

    Example:
        >>> from samebits.text import CharacterTokenizer
        >>> tokenizer = CharacterTokenizer("ab:<>end", ["<end>"])
        >>> def template(messages):
        ...     return "".join(f"{one['content']}<end>" for one in messages) + ":"
        >>> MessageEncoder(tokenizer, template).encode([{"role": "user", "content": "a<end>"}])
        [0, 3, 5, 6, 7, 4, 8, 2]
    """

    def __init__(self, tokenizer: Tokenizer, template: Template) -> None:
        self._tokenizer, self._template, self._special = tokenizer, template, tokenizer.special_tokens
        names = sorted(map(re.escape, self._special), key=len, reverse=True)
        self._split = re.compile(f"(?<!{_MARK})({'|'.join(names) or '(?!)'})")

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """The ids of some messages and of the beginning of the next answer; names of special tokens in a content are text.

        The character U+10FFFF, which is none of any text, is left out.

        Raises:
            ValueError: The template refuses the messages, or the tokenizer does not know a character.
        """
        return self.encode_marked([{**one, "content": marked(one["content"])} for one in messages])

    def encode_marked(self, messages: Sequence[Message]) -> list[int]:
        """The same of contents that are `marked`, or parts of which are: names of special tokens that are not are these tokens."""
        ids: list[int] = []
        for number, part in enumerate(self._split.split(self._template(messages))):
            if number % 2:
                ids.append(self._special[part])
            else:
                ids += self._tokenizer.encode_ordinary(part.replace(_MARK, "")).tolist()
        return ids


def marked(text: str) -> str:
    r"""The text with a mark before every character, but for the space around it, which templates may strip.

    Example:
        >>> marked(" ab\n")
        ' \U0010ffffa\U0010ffffb\n'
    """
    text = text.replace(_MARK, "")
    start, stop = len(text) - len(text.lstrip()), len(text.rstrip())
    return text[:start] + "".join(_MARK + one for one in text[start:stop]) + text[max(start, stop) :]

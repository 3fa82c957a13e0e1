"""Corpora, tokenisers and batches, the same on every Python, on `samebits.core` alone."""

from samebits.text.batches import Batches, evaluation_windows
from samebits.text.corpus import Corpus, Document
from samebits.text.interface import Tokenizer
from samebits.text.sources import CorpusError, python_code, read, shakespeare
from samebits.text.tokenizer import BytePairTokenizer, ByteTokenizer, CharacterTokenizer
from samebits.text.tokenizer_file import TokenizerFileError, load_ranks
from samebits.text.tokenizer_file import load as load_tokenizer
from samebits.text.tokens import TokenFileError, Tokens, open_tokens, write_tokens

__all__ = [
    "Batches",
    "BytePairTokenizer",
    "ByteTokenizer",
    "CharacterTokenizer",
    "Corpus",
    "CorpusError",
    "Document",
    "TokenFileError",
    "Tokenizer",
    "TokenizerFileError",
    "Tokens",
    "evaluation_windows",
    "load_ranks",
    "load_tokenizer",
    "open_tokens",
    "python_code",
    "read",
    "shakespeare",
    "write_tokens",
]

"""Corpora, tokenizers and batches, the same on every Python and NumPy, built on `samebits.core` alone."""

from samebits.text.batches import Batches, evaluation_windows
from samebits.text.bytepair_tokenizer import BytePairTokenizer
from samebits.text.corpus import Corpus, Document
from samebits.text.plain_tokenizers import ByteTokenizer, CharacterTokenizer
from samebits.text.ranks_file import load_ranks
from samebits.text.sources import CorpusError, python_code, read, shakespeare
from samebits.text.tokenizer import SpecialTokenError, Tokenizer
from samebits.text.tokenizer_file import TokenizerFileError, load_tokenizer, save_tokenizer
from samebits.text.tokens import TokenFileError, Tokens, open_tokens, write_tokens

__all__ = [
    "Batches",
    "BytePairTokenizer",
    "ByteTokenizer",
    "CharacterTokenizer",
    "Corpus",
    "CorpusError",
    "Document",
    "SpecialTokenError",
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
    "save_tokenizer",
    "shakespeare",
    "write_tokens",
]

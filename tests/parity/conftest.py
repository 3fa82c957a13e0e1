"""Tests beside other libraries are collected only where these are installed; the parity session requires them."""

import importlib.util
import os

PEERS = ("autograd", "gguf", "safetensors", "tiktoken", "tokenizers", "torch", "transformers")

if os.environ.get("SAMEBITS_PEERS") != "required" and not all(map(importlib.util.find_spec, PEERS)):
    collect_ignore_glob = ["test_*.py"]

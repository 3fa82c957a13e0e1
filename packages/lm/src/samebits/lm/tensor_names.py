"""Names of tensors: what a parameter is called in GGUF files and in those of Hugging Face, and how its rows are ordered there.

    blocks.0.attention.query.weight    blk.0.attn_q.weight      model.layers.0.self_attn.q_proj.weight           (Llama)
    blocks.0.attention.query.weight    blk.0.attn_qkv.weight    transformer.h.0.attn.c_attn.weight               (GPT-2)

In GPT-2 three parameters share a name: they are joined there, query first, then key, then value. Qwen has the names of Llama.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["TensorNames", "halved_rows", "names_of", "paired_rows"]

# A layer in a block or, without a number, around the blocks: its names in GGUF and in Hugging Face.
_LLAMA = {
    "embedding": ("token_embd", "model.embed_tokens"),
    "blocks": ("blk", "model.layers"),
    "norm_1": ("attn_norm", "input_layernorm"),
    "attention.query": ("attn_q", "self_attn.q_proj"),
    "attention.key": ("attn_k", "self_attn.k_proj"),
    "attention.value": ("attn_v", "self_attn.v_proj"),
    "attention.output": ("attn_output", "self_attn.o_proj"),
    "attention.query_norm": ("attn_q_norm", "self_attn.q_norm"),
    "attention.key_norm": ("attn_k_norm", "self_attn.k_norm"),
    "norm_2": ("ffn_norm", "post_attention_layernorm"),
    "mlp.gate": ("ffn_gate", "mlp.gate_proj"),
    "mlp.up": ("ffn_up", "mlp.up_proj"),
    "mlp.down": ("ffn_down", "mlp.down_proj"),
    "norm": ("output_norm", "model.norm"),
    "head": ("output", "lm_head"),
}
_GPT2 = {
    "embedding": ("token_embd", "transformer.wte"),
    "positions": ("position_embd", "transformer.wpe"),
    "blocks": ("blk", "transformer.h"),
    "norm_1": ("attn_norm", "ln_1"),
    "attention.query": ("attn_qkv", "attn.c_attn"),
    "attention.key": ("attn_qkv", "attn.c_attn"),
    "attention.value": ("attn_qkv", "attn.c_attn"),
    "attention.output": ("attn_output", "attn.c_proj"),
    "norm_2": ("ffn_norm", "ln_2"),
    "mlp.up": ("ffn_up", "mlp.c_fc"),
    "mlp.down": ("ffn_down", "mlp.c_proj"),
    "norm": ("output_norm", "transformer.ln_f"),
    "head": ("output", "lm_head"),
}
_TABLES = {"gpt2": _GPT2, "llama": _LLAMA}


class TensorNames(NamedTuple):
    """The names of a parameter in files of others, from `names_of`."""

    gguf: str
    hugging_face: str


def names_of(name: str, architecture: str = "llama") -> TensorNames:
    """The names of a parameter of `LanguageModel`.

    Args:
        name: Our name, as in ``state_dict``.
        architecture: ``"gpt2"``, or ``"llama"``, which is also that of Qwen.

    Raises:
        KeyError: There is no such parameter.

    Example:
        >>> names_of("blocks.3.mlp.up.weight")
        TensorNames(gguf='blk.3.ffn_up.weight', hugging_face='model.layers.3.mlp.up_proj.weight')
    """
    table = _TABLES[architecture]
    layer, _, kind = name.rpartition(".")
    if not layer.startswith("blocks."):
        return TensorNames(*(f"{own}.{kind}" for own in table[layer]))
    _, number, layer = layer.split(".", 2)
    return TensorNames(*(f"{blocks}.{number}.{own}.{kind}" for blocks, own in zip(table["blocks"], table[layer], strict=True)))


def paired_rows(heads: int, size: int) -> npt.NDArray[np.int64]:
    """The order in which GGUF files of the architecture "llama" have the rows of queries and keys: ``theirs = ours[paired_rows(...)]``.

    A rotation turns two rows of a head together. Here, in Hugging Face's files and in GGUF files of Qwen, these are rows i and
    i + size / 2; there they are neighbors.

    Args:
        heads: The number of heads, or of key and value heads.
        size: The number of rows of a head, even.

    Example:
        >>> paired_rows(2, 4)
        array([0, 2, 1, 3, 4, 6, 5, 7])
    """
    return np.arange(heads * size, dtype=np.int64).reshape(heads, 2, size // 2).swapaxes(1, 2).reshape(-1)


def halved_rows(heads: int, size: int) -> npt.NDArray[np.int64]:
    """The inverse of `paired_rows`: ``ours = theirs[halved_rows(...)]``.

    Example:
        >>> paired_rows(2, 6)[halved_rows(2, 6)].tolist() == list(range(12))
        True
    """
    return np.arange(heads * size, dtype=np.int64).reshape(heads, size // 2, 2).swapaxes(1, 2).reshape(-1)

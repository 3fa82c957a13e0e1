"""Names of tensors: every parameter has one in each format, and the orders of rows are inverse to each other."""

import numpy as np
import pytest

from samebits.core import Stream
from samebits.lm import LanguageModel, ModelConfig
from samebits.lm.tensor_names import halved_rows, names_of, paired_rows

pytestmark = pytest.mark.once


@pytest.mark.parametrize(("architecture", "shared"), [("gpt2", 4), ("llama", 0)])
def test_every_parameter_has_names_of_its_own_but_those_that_gpt2_joins(architecture: str, shared: int) -> None:
    config = ModelConfig(architecture=architecture, vocabulary_size=5, context=8, layers=1, heads=2, channels=16, tied=False)
    names = list(LanguageModel(config, stream=Stream(0)).state_dict())
    found = [names_of(name, architecture) for name in names]
    assert len({one.gguf for one in found}) == len({one.hugging_face for one in found}) == len(names) - shared


def test_names_are_those_of_the_other_programs() -> None:
    assert names_of("embedding.weight") == ("token_embd.weight", "model.embed_tokens.weight")
    assert names_of("blocks.12.attention.query.bias") == ("blk.12.attn_q.bias", "model.layers.12.self_attn.q_proj.bias")
    assert names_of("blocks.0.attention.key.weight", "gpt2") == (
        "blk.0.attn_qkv.weight",
        "transformer.h.0.attn.c_attn.weight",
    )
    assert names_of("norm.bias", "gpt2") == ("output_norm.bias", "transformer.ln_f.bias")
    with pytest.raises(KeyError, match="positions"):
        names_of("positions.weight")


def test_the_orders_of_rows_are_inverse() -> None:
    assert paired_rows(1, 6).tolist() == [0, 3, 1, 4, 2, 5]
    assert halved_rows(1, 6).tolist() == [0, 2, 4, 1, 3, 5]
    assert np.array_equal(halved_rows(3, 8)[paired_rows(3, 8)], np.arange(24))

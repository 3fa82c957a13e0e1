"""A small model with random weights, as if it were one of others."""

from pathlib import Path

import numpy as np

from samebits.core import Stream
from samebits.lm import LanguageModel, ModelConfig, Sampling
from samebits.lm.pretrained import Pretrained
from samebits.text import BytePairTokenizer

__all__ = ["pretrained"]

TEMPLATE = (
    "{% for m in messages %}{{ '<s>' + m['role'] + '\n' + m['content'] + eos_token + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<s>assistant\n' }}{% endif %}"
)


def pretrained(template: str | None = TEMPLATE) -> Pretrained:
    tokenizer = BytePairTokenizer([], ["<s>", "<e>"])
    config = ModelConfig(architecture="llama", vocabulary_size=258, context=200, layers=1, heads=2, channels=16)
    model = LanguageModel(config, stream=Stream(0)).eval()
    with model.embedding.weight.edit() as weight:
        weight[...] *= np.float32(6)
        weight[:32], weight[127:256] = 0, 0  # mostly ASCII
    return Pretrained(
        model=model,
        tokenizer=tokenizer,
        chat_template=template,
        sampling=Sampling(temperature=0.5, top_k=20),
        stop_ids=(257,),
        bos_id=None,
        eos_id=257,
        add_bos=False,
        name="small [model]",
        files=(Path(__file__),),
    )

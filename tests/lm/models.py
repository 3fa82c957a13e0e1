"""Small models in files of others, with chosen settings and tensors."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from samebits.autograd import no_grad
from samebits.core import Stream
from samebits.lm import LanguageModel, ModelConfig
from samebits.lm.export import export_gguf, export_hugging_face
from samebits.lm.gguf import open_gguf
from samebits.lm.gguf_writer import write_gguf
from samebits.lm.pretrained import Pretrained
from samebits.text import BytePairTokenizer

PAIRS = BytePairTokenizer.train(["low lower lowest 2026 "] * 2, 264, ["<end>"], pattern="smollm")
IDS = np.array([[0, 260, 5, 263, 80]])


def exported(**settings: Any) -> Pretrained:
    """A model of 2 layers whose weights and biases are all different."""
    sizes: dict[str, Any] = {
        "architecture": "llama",
        "vocabulary_size": 264,
        "context": 8,
        "layers": 2,
        "heads": 2,
        "channels": 32,
        "hidden": 64,
    }
    model = LanguageModel(ModelConfig(**{**sizes, **settings}), stream=Stream(0))
    model.load_state_dict({name: Stream(1).split(name).normal(size=x.shape, std=0.3) for name, x in model.state_dict().items()})
    return Pretrained(name="small", model=model.eval(), tokenizer=PAIRS, eos_id=263)


def logits(model: LanguageModel) -> Any:
    with no_grad():
        return model(IDS).numpy()


def changed_gguf(tmp_path: Path, metadata: Any = (), tensors: Any = (), **settings: Any) -> Path:
    """An exported file with other keys and tensors; those that are None are left out."""
    export_gguf(exported(**settings), tmp_path / "x.gguf")
    file = open_gguf(tmp_path / "x.gguf")
    blocks = {name: file.blocks(name) for name in file.entries}
    for old, new in ((file.metadata, dict(metadata)), (blocks, dict(tensors))):
        old.update(new)
        for name in [name for name, value in new.items() if value is None]:
            del old[name]
    write_gguf(tmp_path / "y.gguf", file.metadata, blocks)
    return tmp_path / "y.gguf"


def changed_folder(folder: Path, name: str = "config.json", settings: Any = (), **options: Any) -> Path:
    """An exported folder with other settings in a file; those that are None are left out."""
    export_hugging_face(exported(**options), folder)
    path = folder / name
    values = {**(json.loads(path.read_text("utf-8")) if path.exists() else {}), **dict(settings)}
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}), "utf-8")
    return folder

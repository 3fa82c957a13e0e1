"""Export: write a trained model to the files of other programs, and say which."""

import hashlib
from pathlib import Path

from rich.markup import escape

from samebits.cli.terminal import console, noted_warnings
from samebits.lm import open_run
from samebits.lm.export import Exported, export_gguf, export_hugging_face
from samebits.lm.run import checkpoint_of

__all__ = ["write_model"]


def write_model(source: Path, *, layout: str, weights: str, output: Path | None) -> int:
    """Write a model as a GGUF file or as a folder, and print its files; returns the exit status."""
    with noted_warnings():
        model = _opened(source)
    if layout == "gguf":
        path = output or Path(f"{model.name}-{weights}.gguf")
        export_gguf(model, path, weights)
        files = [path]
    else:
        path = output or Path(f"{model.name}-huggingface")
        export_hugging_face(model, path, weights)
        files = sorted(path.iterdir())
    for file in files:
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        console.print(f"{escape(str(file))}  {file.stat().st_size:,} bytes  sha256 {digest}", soft_wrap=True)
    return 0


def _opened(source: Path) -> Exported:
    """The model of a run, which ends its texts as the documents it was trained on end."""
    model, config, tokenizer = open_run(source)
    name = checkpoint_of(source).resolve().parent.name
    return Exported(name=name, model=model, tokenizer=tokenizer, eos_id=tokenizer.special_tokens.get(config.end_of_text))

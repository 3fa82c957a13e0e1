"""Export: write a trained model to the files of other programs, and say which."""

import hashlib
from pathlib import Path

from rich.markup import escape

from samebits.cli.models import find_model
from samebits.cli.terminal import console, noted_warnings
from samebits.lm import open_run
from samebits.lm.export import export_gguf, export_hugging_face
from samebits.lm.pretrained import Pretrained, load_pretrained
from samebits.lm.run import checkpoint_of

__all__ = ["write_model"]


def write_model(source: Path, *, layout: str, weights: str, output: Path | None) -> int:
    """Write a model as a GGUF file or as a folder, and print its files; returns the exit status."""
    with noted_warnings():
        model = _opened(source)
    stem = _stem(model.files[0])
    if layout == "gguf":
        path = output or Path(f"{stem}-{weights}.gguf")
        export_gguf(model, path, weights)
        files = [path]
    else:
        path = output or Path(f"{stem}-huggingface")
        export_hugging_face(model, path, weights)
        files = sorted(one for one in path.iterdir() if one.is_file())
    for file in files:
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        console.print(f"{escape(str(file))}  {file.stat().st_size:,} bytes  sha256 {digest}", soft_wrap=True)
    return 0


def _opened(source: Path) -> Pretrained:
    """A model of others with float32 weights, or that of a run, which ends its texts as the documents it was trained on end."""
    if (others := find_model(source)) is not None:
        return load_pretrained(others, quantized=False)
    model, config, tokenizer = open_run(source)
    file, end = checkpoint_of(source).resolve(), tokenizer.special_tokens.get(config.end_of_text)
    return Pretrained(
        name=file.parent.name,
        model=model,
        tokenizer=tokenizer,
        eos_id=end,
        stop_ids=() if end is None else (end,),
        files=(file,),
    )


def _stem(file: Path) -> str:
    """What files are named after: a GGUF file, or the folder of a run or of a model."""
    return file.stem.removesuffix("-f32").removesuffix("-f16") if file.suffix.lower() == ".gguf" else file.parent.name

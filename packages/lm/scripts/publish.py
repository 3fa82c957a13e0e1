"""Train presets, in exact and int16 arithmetic, and publish their digests; a changed digest is a breaking change.

python packages/lm/scripts/publish.py micro tiny
"""

import itertools
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from samebits.core import Mode, numerics
from samebits.core.files import replace_file
from samebits.lm import presets
from samebits.lm.run import start

PUBLISHED = Path(__file__).parents[1] / "src/samebits/lm/presets/published.json"


ARITHMETICS: tuple[Mode, ...] = ("exact", "int16")


def main() -> None:
    for name, mode in itertools.product(sys.argv[1:], ARITHMETICS):
        with tempfile.TemporaryDirectory() as folder, numerics(mode):
            run = start(replace(presets.preset(name), numerics=mode), folder)
            run.trainer.train()
            found = presets.digests(run.trainer.model, presets.sample(run.trainer.model, run.data.tokenizer))
            del run  # Windows cannot remove the token files while they are mapped
        known = presets.read_published(PUBLISHED)
        before = known.setdefault(name, {}).get(mode)
        print(f"{name}, {mode}: {'the same' if before == found else 'CHANGED' if before else 'new'} {found}")
        known[name][mode] = found
        with replace_file(PUBLISHED) as file:
            file.write(json.dumps(dict(sorted(known.items())), indent=1).encode() + b"\n")


if __name__ == "__main__":
    main()

"""Train presets and publish their digests; a changed digest is a breaking change.

python packages/lm/scripts/publish.py micro tiny
"""

import json
import sys
import tempfile
from pathlib import Path

from samebits.core.files import replace_file
from samebits.lm import presets
from samebits.lm.run import start

PUBLISHED = Path(__file__).parents[1] / "src/samebits/lm/presets/published.json"


def main() -> None:
    for name in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as folder:
            run = start(presets.preset(name), folder)
            run.trainer.train()
            found = presets.digests(run.trainer.model, presets.sample(run.trainer.model, run.data.tokenizer))
            del run  # Windows cannot remove the token files while they are mapped
        known = presets.read_published(PUBLISHED)
        print(f"{name}: {'the same' if known.get(name) == found else 'CHANGED' if name in known else 'new'} {found}")
        with replace_file(PUBLISHED) as file:
            file.write(json.dumps(dict(sorted({**known, name: found}.items())), indent=1).encode() + b"\n")


if __name__ == "__main__":
    main()

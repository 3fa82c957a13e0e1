"""``python -m samebits.cli``: the command ``samebits``."""

from samebits.cli.app import app

if __name__ == "__main__":
    app(prog_name="samebits")

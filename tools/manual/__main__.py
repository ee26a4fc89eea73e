"""`python -m tools.manual [DIRECTORY]`: write the pages, into packaging/man unless told otherwise."""

import sys
from pathlib import Path

from tools.manual.pages import ROOT, pages


def main() -> None:
    """Write every page whose text has changed."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "packaging" / "man"
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        path = directory / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(path)


main()

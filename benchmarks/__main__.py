"""``python -m benchmarks`` runs every benchmark that this machine can; with names, only those."""

import json
import sys
from importlib import import_module

from benchmarks.measure import RESULTS, table

ALL = ("limits", "score", "generate", "train", "loop")


def main() -> None:
    """Run them in order, then print every result that there is."""
    for name in sys.argv[1:] or ALL:
        if name not in ALL:
            sys.exit(f"no benchmark is called {name}; there are {', '.join(ALL)}")
        print(f"{name}:", flush=True)
        import_module(f"benchmarks.{name}").main()
    print(table([json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))]))


if __name__ == "__main__":
    main()

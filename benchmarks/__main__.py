"""``python -m benchmarks`` runs every benchmark that this machine can; with names, only those."""

import json
import sys
from importlib import import_module
from importlib.util import find_spec

from benchmarks.measure import RESULTS, table

ALL = ("limits", "score", "generate", "generate_vllm", "ray_pool", "train", "growth", "loop", "verified")
SETUP = {"vllm": "make setup-vllm", "ray": "make setup-cluster"}
NEEDS = {"generate_vllm": ("vllm",), "ray_pool": ("vllm", "ray")}
"""Packages that are not the project's own."""


def main() -> None:
    """Run them in order, then print every result that there is."""
    for name in sys.argv[1:] or ALL:
        if name not in ALL:
            sys.exit(f"no benchmark is called {name}; there are {', '.join(ALL)}")
        missing = [SETUP[package] for package in NEEDS.get(name, ()) if find_spec(package) is None]
        if missing:
            print(f"{name}: left out, what it needs is not installed ({', '.join(missing)})")
            continue
        print(f"{name}:", flush=True)
        import_module(f"benchmarks.{name}").main()
    print(table([json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))]))


if __name__ == "__main__":
    main()

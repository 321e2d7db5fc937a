"""``python -m benchmarks`` runs every benchmark that this machine can; with names, only those."""

import json
import sys
from importlib import import_module
from importlib.util import find_spec

from benchmarks.measure import RESULTS, table

ALL = ("limits", "score", "generate", "generate_vllm", "train", "growth", "loop", "verified")


def main() -> None:
    """Run them in order, then print every result that there is."""
    for name in sys.argv[1:] or ALL:
        if name not in ALL:
            sys.exit(f"no benchmark is called {name}; there are {', '.join(ALL)}")
        if name == "generate_vllm" and find_spec("vllm") is None:
            print("generate_vllm: left out, vLLM is not installed (make setup-vllm)")
            continue
        print(f"{name}:", flush=True)
        import_module(f"benchmarks.{name}").main()
    print(table([json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))]))


if __name__ == "__main__":
    main()

"""The whole loop: ``dice``, two rounds, from an empty store, against the straight-line script in baseline.py.

And the orchestration's share: everything of the loop's wall time that is not a stage's own work. One run of each, for
it takes long; each is a process of its own.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.material import ROOT, small_model
from benchmarks.measure import report


def main() -> None:
    """Run both and write both ratios."""
    small_model()
    folder = Path(tempfile.mkdtemp())
    ours = timed([sys.executable, "-m", "loops", "run", "recipes=dice"], folder)
    worked = sum(json.loads(path.read_text())["seconds"] for path in folder.glob("store/artifacts/*/*/manifest.json"))
    again = timed([sys.executable, "-m", "loops", "run", "recipes=dice"], folder)
    print(f"  ours {ours:.0f} s, of which stages {worked:.0f} s; again, with nothing to do, {again:.1f} s")
    report("orchestration", target="ratio ≤ 0.03", unit="s", ours=[ours - worked], theirs=[ours])
    theirs = timed([sys.executable, "-m", "benchmarks.baseline"], ROOT)
    report("loop", target="ratio ≤ 0.5", unit="s", ours=[ours], theirs=[theirs])


def timed(command: list[str], folder: Path) -> float:
    """Seconds of a whole process."""
    import os

    begun = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"})
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()

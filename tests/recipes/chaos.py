"""Faults that strike a running loop: ``python -m tests.recipes.chaos [STRIKES] [SEED]`` (``make chaos``), or a test.

The one decision: a loop is struck by what the world does (signals, limits, permissions, its files, its clock), from
outside, at a random moment of a random step, and is then begun again by the same command until it has ended by itself.
"""

import ctypes
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil

from loops.claims import living_maker
from tests.recipes.tiny import RECIPES, artifacts, command, environment, words

Running = subprocess.Popen[str]
JUMPS = """
import time
real = time.time
time.time = lambda: real() + (int(real() * 4) % 3 - 1) * 3e7
"""


@dataclass(kw_only=True)
class Loop:
    """A command that is begun again and again in one place, and what has become of it.

    ``struck`` counts the faults that have hit, ``met`` holds the keys of the steps that were hit in the middle,
    ``damaged`` of those that lost a file, and ``whole`` says that the loop has ended by itself.
    """

    recipe: str
    model: Path
    place: Path
    generator: random.Random
    struck: Counter[str] = field(default_factory=Counter)
    met: set[str] = field(default_factory=set)
    damaged: set[str] = field(default_factory=set)
    whole: bool = False

    @property
    def store(self) -> Path:
        return self.place / "store"

    def begin(self, prepare: Callable[[], None] | None = None, **more: str) -> Running:
        self.before = self.finished()
        return subprocess.Popen(
            command(self.recipe, self.model, *words(self.recipe, self.place)),
            cwd=self.place,
            env=environment() | more,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=prepare,
        )

    def finished(self) -> dict[str, int]:
        """Which file each finished step's manifest is."""
        return {path.parent.name: path.stat().st_ino for path in self.store.glob("artifacts/*/*/manifest.json")}

    def end(self, running: Running) -> bool:
        """Wait for its end, however it comes: no traceback is shown and nothing that had finished was made again.

        Returns:
            Whether it did not get to its end.
        """
        _, told = running.communicate(timeout=600)
        assert running.returncode in (0, 2, 130, -signal.SIGKILL), told
        assert "Traceback" not in told, told
        now = self.finished()
        again = {key for key, file in self.before.items() if now.get(key) != file} - self.damaged
        assert not again, f"made again: {again}"
        self.whole = running.returncode == 0
        return not self.whole

    def until_it_makes_something(self, running: Running) -> str | None:
        """The key of a step that was not met yet, as soon as somebody makes it; None if the loop ends before."""
        while running.poll() is None:
            with suppress(FileNotFoundError):
                for key in set(os.listdir(self.store / "drafts")) - self.met:
                    if not key.startswith(".") and living_maker(self.store / "drafts" / key):
                        return key
        return None


Fault = Callable[[Loop], None]


def struck(loop: Loop, name: str, hit: Callable[[Running], None], **more: str) -> None:
    """Begin the loop, and hit it in the middle of a step that was not met yet."""
    running = loop.begin(**more)
    key = loop.until_it_makes_something(running)
    if key is not None:
        time.sleep(loop.generator.choice((0, loop.generator.random())))
        hit(running)
        loop.met.add(key)
    loop.struck[name] += loop.end(running)


def kill_group(running: Running) -> None:
    with suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)


def kill_worker(running: Running) -> None:
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(running.pid).children():
            if any("spawn_main" in word for word in child.cmdline()):
                child.kill()


def full_disk(loop: Loop) -> None:
    """No file grows beyond some size: in the middle of it, a writer meets the error that a full disk gives."""
    most = loop.generator.choice((1_000, 4_000, 20_000, 60_000))
    running = loop.begin(prepare=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)))
    loop.struck["full disk"] += loop.end(running)


def read_only(loop: Loop) -> None:
    """Nothing can be made in the store, by anybody: root lets go of its right to pass over permissions."""
    folders = [path for path in (loop.store, *loop.store.rglob("*")) if path.is_dir()]
    for folder in folders:
        folder.chmod(0o555)
    drop, override = 24, 1
    try:
        running = loop.begin(prepare=lambda: ctypes.CDLL(None).prctl(drop, override, 0, 0, 0))
        loop.struck["read-only store"] += loop.end(running)
    finally:
        for folder in folders:
            folder.chmod(0o755)


def damage(loop: Loop) -> None:
    """Half of a finished step's file is gone. The next run finds it and makes that step again, and no other."""
    files = [path for path in sorted(loop.store.glob("artifacts/*/*/*")) if path.is_file() and path.stat().st_size > 1]
    if files:
        file = loop.generator.choice(files)
        os.truncate(file, file.stat().st_size // 2)
        loop.damaged.add(file.parent.name)
        loop.struck["damaged file"] += 1


def jumping_clock(loop: Loop) -> None:
    """Python's clock jumps by a year, to and fro, four times a second, and then everything is killed."""
    (loop.place / "clock").mkdir(exist_ok=True)
    (loop.place / "clock" / "sitecustomize.py").write_text(JUMPS)
    path = f"{loop.place / 'clock'}:{environment()['PYTHONPATH']}"
    struck(loop, "jumping clock", kill_group, PYTHONPATH=path)


SIGNALS: list[Fault] = [
    partial(struck, name="kill -9 of all", hit=kill_group),
    partial(struck, name="kill -9 of the worker", hit=kill_worker),
    partial(struck, name="kill -9 of the runner", hit=lambda running: running.kill()),
    partial(struck, name="SIGTERM", hit=lambda running: running.terminate()),
]
OTHERS: list[Fault] = [full_disk, read_only, damage, jumping_clock]


def campaign(loop: Loop, faults: Iterable[Fault], undisturbed: dict[str, bytes]) -> None:
    """Strike until the loop ends by itself; then every artifact is what it is where nobody struck."""
    for fault in faults:
        fault(loop)
        if loop.whole:
            break
    while not loop.whole:
        loop.end(loop.begin())
    assert artifacts(loop.store) == undisturbed
    assert not list(loop.store.glob("drafts/[!.]*/*")), "something is left in the making"


def main(strikes: int = 100, seed: int = 0) -> None:
    """Campaigns over all recipes until there were so many strikes."""
    from tests.conftest import make_model

    folder = Path(tempfile.mkdtemp())
    model = make_model(folder / "model", head_dim=8)
    undisturbed: dict[str, dict[str, bytes]] = {}
    total: Counter[str] = Counter()

    def loop(kind: str) -> Loop:
        (place := folder / f"{recipe}-{kind}-{seed}").mkdir()
        return Loop(recipe=recipe, model=model, place=place, generator=random.Random(seed))

    while total.total() < strikes:
        recipe = RECIPES[seed % len(RECIPES)]
        if recipe not in undisturbed:
            quiet = loop("quiet")
            assert not quiet.end(quiet.begin())
            undisturbed[recipe] = artifacts(quiet.store)
        struck = loop("struck")
        faults = (struck.generator.choice(SIGNALS * 3 + OTHERS) for _ in range(strikes))
        campaign(struck, faults, undisturbed[recipe])
        total += struck.struck
        print(f"{recipe}, seed {seed}: {struck.struck.total()} strikes, every byte the same", flush=True)
        seed += 1
    print("\n".join(f"{count:5}  {name}" for name, count in total.most_common()))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

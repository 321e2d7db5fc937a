"""The command line: ``python -m loops [run|plan] recipes=NAME [key=value ...]``: compose, plan, print, run.

And ``verify`` and ``gc``, which look after the store that runs have filled.

Exit codes: 0 done, 1 refused while planning, 2 a step failed or an artifact is damaged,
130 interrupted, 141 nobody reads what is printed.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from loops.compose import compose, resolved, section
from loops.console import Console, check_columns, plan_lines, say
from loops.errors import LoopError, RecipeError, nearest
from loops.executors import Executor
from loops.gated import gated
from loops.patience import Patience
from loops.plan import Plan, unroll
from loops.recipe import check_name, load
from loops.screen import screen
from loops.secrets import hidden, show
from loops.shipped import headline, recipes
from loops.stage import build
from loops.store import Store
from loops.tracker import Tracker

COMMANDS = ("run", "plan", "verify", "gc")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    said = _parser().parse_args(arguments)
    words: list[str] = said.words
    command, overrides = (words[0], words[1:]) if words and "=" not in words[0] else ("run", words)
    signal.signal(signal.SIGTERM, _interrupt)
    sys.excepthook = show
    try:
        if command not in COMMANDS:
            raise RecipeError(f"there is no command {command!r}{nearest(command, COMMANDS)}")
        if said.yes and command != "gc":
            raise RecipeError(f"--yes is for gc; {command} asks nothing")
        if command in ("verify", "gc"):
            return _look_after(command, overrides, said.yes)
        cfg = compose(overrides)
        recipe = gated(load(cfg), section(cfg, "gate"))
        screen(recipe, section(cfg, "engine"), overrides)
        check_name(resolved(cfg, "run"), "run")
        check_columns(section(cfg, "table"))
        plan, store = unroll(recipe), Store(Path(str(resolved(cfg, "store"))))
        executor: Executor = build(section(cfg, "executor"), "executor")
        tracker: Tracker = build(section(cfg, "tracker"), "tracker")
        patience: Patience = build({"_target_": "loops.patience.Patience", **section(cfg, "patience")}, "patience")
        patience.check(plan)
        if command == "plan":
            say("\n".join(plan_lines(plan, store)))
        else:
            _run(cfg, plan, store, executor, tracker, patience)
    except LoopError as refused:
        print(hidden(f"{type(refused).__name__}: {refused}"), file=sys.stderr)
        return 1 if isinstance(refused, RecipeError) else 2
    except BrokenPipeError:  # whoever read our output has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as refused:
        print(hidden(f"{refused}; what had finished is kept: run the same command again to go on"), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; what had finished is kept: run the same command again to go on", file=sys.stderr)
        return 130
    return 0


def _run(cfg: DictConfig, plan: Plan, store: Store, executor: Executor, tracker: Tracker, patience: Patience) -> None:
    from loops.runner import Runner

    run_dir = Path(str(resolved(cfg, "runs"))) / str(resolved(cfg, "run"))
    words = {"run": str(run_dir), "ui": str(resolved(cfg, "tracker.uri") or "")}
    console = Console(columns=section(cfg, "table"), closing=str(resolved(cfg, "closing")), words=words)
    runner = Runner(store, executor, [console, tracker], run_dir, patience)
    missing = runner.missing(plan.steps)
    if missing:
        say(f"{plan.name}: {len(plan.steps)} steps, {len(missing)} to run\n")
        say("\n".join(plan_lines(plan, store)) + "\n")
    runner.run(plan)


def _look_after(command: str, words: Sequence[str], yes: bool) -> int:
    from loops import upkeep

    places = {"store": "store", "runs": "runs", **dict(word.split("=", 1) for word in words if "=" in word)}
    for word in [*(word for word in words if "=" not in word), *(places.keys() - {"store", "runs"})]:
        raise RecipeError(f"{command} knows store=DIRECTORY and runs=DIRECTORY, but not {word!r}")
    store, runs = Store(Path(places["store"])), Path(places["runs"])
    if not store.root.is_dir():
        raise RecipeError(f"there is no store {store.root}; say store=DIRECTORY")
    if command == "verify":
        return 0 if upkeep.verify(store, runs) else 2
    found = upkeep.litter(store, runs)
    say("".join(f"{upkeep.size(each.bytes):>8}  {each.path}  {each.what}\n" for each in found), end="")
    whole = f"{upkeep.size(sum(each.bytes for each in found))} in {len(found)} places that no run in {runs} needs"
    say(whole if found else f"nothing to remove: every artifact is needed by a run in {runs}")
    if found and (yes or (sys.stdin.isatty() and input("remove them? [y/N] ").strip().lower() == "y")):
        upkeep.remove(store, found)
        say("removed")
    elif found:
        say("nothing was removed; gc --yes removes it")
    return 0


def _parser() -> argparse.ArgumentParser:
    listed = "\n".join(f"  {name:<16} {headline(file)}" for name, file in recipes().items())
    parser = argparse.ArgumentParser(
        prog="selfloop",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Run a self-improvement recipe, or only show its plan. What has finished is never run again.",
        epilog=f"recipes:\n{listed}\n\nexamples:\n"
        "  selfloop recipes=dice                       two rounds of DICE on a small model\n"
        "  selfloop plan recipes=dice rounds=3         what that would run\n"
        "  selfloop recipes=dice model=zephyr_7b data=ultrafeedback scale=paper sft_revision=...\n"
        "  selfloop recipes=dice round.train.stage.loss.beta=0.05\n"
        "  selfloop verify                             read every artifact again; what is damaged is made again\n"
        "  selfloop gc                                 what no run needs, how much that is, and whether to remove it",
    )
    parser.add_argument("words", nargs="*", metavar="[run|plan|verify|gc] recipes=NAME [key=value ...]")
    parser.add_argument("--yes", action="store_true", help="gc removes without asking")
    return parser


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())

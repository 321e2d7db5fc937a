"""The command line: ``python -m loops [run|plan] recipes=NAME [key=value ...]``: compose, plan, print, run.

Exit codes: 0 done, 1 refused while planning, 2 a step failed, 130 interrupted, 141 nobody reads what is printed.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from loops.compose import compose, headline, recipes, resolved, section
from loops.console import Console, plan_lines, say
from loops.errors import LoopError, RecipeError, nearest
from loops.executors import Executor
from loops.plan import Plan, unroll
from loops.recipe import load
from loops.stage import build
from loops.store import Store
from loops.tracker import Tracker

COMMANDS = ("run", "plan")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    words = _parser().parse_args(arguments).words
    command, overrides = (words[0], words[1:]) if words and "=" not in words[0] else ("run", words)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        if command not in COMMANDS:
            raise RecipeError(f"there is no command {command!r}{nearest(command, COMMANDS)}")
        cfg = compose(overrides)
        plan, store = unroll(load(cfg)), Store(Path(str(resolved(cfg, "store"))))
        executor: Executor = build(section(cfg, "executor"), "executor")
        tracker: Tracker = build(section(cfg, "tracker"), "tracker")
        if command == "plan":
            say("\n".join(plan_lines(plan, store)))
        else:
            _run(cfg, plan, store, executor, tracker)
    except LoopError as refused:
        print(f"{type(refused).__name__}: {refused}", file=sys.stderr)
        return 1 if isinstance(refused, RecipeError) else 2
    except BrokenPipeError:  # whoever read our output has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print("\ninterrupted; what had finished is kept: run the same command again to go on", file=sys.stderr)
        return 130
    return 0


def _run(cfg: DictConfig, plan: Plan, store: Store, executor: Executor, tracker: Tracker) -> None:
    from loops.runner import Runner

    run_dir = Path(str(resolved(cfg, "runs"))) / str(resolved(cfg, "run"))
    words = {"run": str(run_dir), "ui": str(resolved(cfg, "tracker.uri") or "")}
    console = Console(columns=section(cfg, "table"), closing=str(resolved(cfg, "closing")), words=words)
    runner = Runner(store, executor, [console, tracker], run_dir)
    missing = runner.missing(plan.steps)
    if missing:
        say(f"{plan.name}: {len(plan.steps)} steps, {len(missing)} to run\n")
        say("\n".join(plan_lines(plan, store)) + "\n")
    runner.run(plan)


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
        "  selfloop recipes=dice round.train.stage.loss.beta=0.05",
    )
    parser.add_argument("words", nargs="*", metavar="[run|plan] recipes=NAME [key=value ...]")
    return parser


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())

"""The command line: ``python -m loops [run|plan] recipes=NAME [key=value ...]``: compose, plan, print, run.

Every other command looks at what runs have left, without a recipe: ``loops/commands.py``.

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

from loops import record
from loops.commands import COMMANDS, call
from loops.compose import compose, resolved, section
from loops.console import Console, check_columns, plan_lines, say
from loops.errors import LoopError, RecipeError
from loops.forecast import Forecast, forecast
from loops.gated import gated
from loops.live import watching
from loops.plan import Plan, unroll
from loops.recipe import check_name, load
from loops.runner import Runner
from loops.screen import screen
from loops.secrets import hidden, show
from loops.shared import opened
from loops.shipped import headline, recipes
from loops.stage import build, build_as


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    said = _parser().parse_intermixed_args(arguments)
    words: list[str] = said.words
    command, overrides = (words[0], words[1:]) if words and "=" not in words[0] else ("run", words)
    signal.signal(signal.SIGTERM, _interrupt)
    sys.excepthook = show
    try:
        if said.yes and command != "gc":
            raise RecipeError(f"--yes is for gc; {command} asks nothing")
        if command not in ("run", "plan"):
            return call(command, overrides, said.yes)
        cfg = compose(overrides)
        plan, runner = _planned(cfg, overrides), _runner(cfg)
        runner.patience.check(plan)
        ahead = _forecast(cfg, plan, runner)
        if command == "plan":
            say("\n".join(plan_lines(ahead)))
            ahead.check()
        else:
            _run(cfg, ahead, runner, overrides)
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


def _planned(cfg: DictConfig, overrides: Sequence[str]) -> Plan:
    recipe = gated(load(cfg), section(cfg, "gate"))
    screen(recipe, {name: section(cfg, name) for name in ("engine", "launch")}, overrides)
    check_name(resolved(cfg, "run"), "run")
    check_columns(section(cfg, "table"))
    return unroll(recipe)


def _runner(cfg: DictConfig) -> Runner:
    """The runner of this configuration; its trackers show progress, print, and are the one that is configured."""
    run_dir = Path(str(resolved(cfg, "runs"))) / str(resolved(cfg, "run"))
    words = {"run": str(run_dir), "ui": str(resolved(cfg, "tracker.uri") or "")}
    console = Console(columns=section(cfg, "table"), closing=str(resolved(cfg, "closing")), words=words)
    store = opened(Path(str(resolved(cfg, "store"))), resolved(cfg, "remote"))
    executor = build(section(cfg, "executor"), "executor")
    return Runner(
        store=store,
        executor=executor,
        trackers=[watching(console, store, executor), console, build(section(cfg, "tracker"), "tracker")],
        run_dir=run_dir,
        patience=build_as("loops.patience.Patience", section(cfg, "patience"), "patience"),
    )


def _forecast(cfg: DictConfig, plan: Plan, runner: Runner) -> Forecast:
    memory = resolved(cfg, "device_memory")
    if memory is not None and (isinstance(memory, bool) or not isinstance(memory, int | float) or memory <= 0):
        raise RecipeError(f"device_memory: expected GB of a device, or null for this machine's, got {memory!r}")
    return forecast(plan, runner.store, getattr(runner.executor, "here", False), memory)


def _run(cfg: DictConfig, ahead: Forecast, runner: Runner, overrides: Sequence[str]) -> None:
    plan, missing = ahead.plan, ahead.to_run
    ahead.check()
    runner.foreseen = ahead.foreseen
    if missing:
        say(f"{plan.name}: {len(plan.steps)} steps, {len(missing)} to run\n")
        say("\n".join(plan_lines(ahead)) + "\n")
    tracker, table = section(cfg, "tracker"), section(cfg, "table")
    record.write(runner.run_dir, plan, runner.store, words=overrides, tracker=tracker, table=table)
    runner.store.share(step.key for step in plan.steps)
    runner.run(plan)
    ended = runner.patience.ended(plan)
    if ended is not plan:
        record.stop(runner.run_dir, ended, runner.patience.why)
    if missing and (told := forecast(plan, runner.store, here=False, device_memory=None).behind()):
        say("\n".join(["", *told]))


def _parser() -> argparse.ArgumentParser:
    listed = "\n".join(f"  {name:<16} {headline(file)}" for name, file in recipes().items())
    looking = "\n".join(f"  {name:<8} {command.usage:<40} {command.summary}" for name, command in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="selfloop",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Run a self-improvement recipe, or only show its plan and its cost. Nothing is made twice.",
        epilog=f"recipes:\n{listed}\n\nexamples:\n"
        "  selfloop recipes=dice                       two rounds of DICE on a small model\n"
        "  selfloop plan recipes=dice rounds=3         what that would run\n"
        "  selfloop recipes=dice model=zephyr_7b data=ultrafeedback scale=paper sft_revision=...\n"
        "  selfloop recipes=dice round.train.stage.loss.beta=0.05\n\n"
        f"what runs have left (run=NAME is the latest run if it is not said, runs=DIRECTORY is runs):\n{looking}\n\n"
        "  selfloop-report [RUN [RUN]]                 a page of a run, or of two beside each other",
    )
    names = "|".join(("run", "plan", *COMMANDS))
    parser.add_argument("words", nargs="*", metavar=f"[{names}] recipes=NAME [key=value ...]")
    parser.add_argument("--yes", action="store_true", help="gc removes without asking")
    return parser


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())

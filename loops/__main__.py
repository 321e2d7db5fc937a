"""The command line: ``python -m loops [run|plan|advance|schedule] recipes=NAME [key=value ...]``: compose, plan, run.

Every other command looks at what runs have left, without a recipe: ``loops/commands.py``.

Exit codes: 0 done, 1 refused while planning, 2 a step failed or an artifact is damaged, 3 there was nothing to do,
130 interrupted, 141 nobody reads what is printed.
"""

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from omegaconf import DictConfig

from loops import record
from loops.advance import CLAIM, Loop, alone, asked
from loops.budget import Budget
from loops.commands import RECIPES, call
from loops.compose import compose
from loops.console import Console, check_columns, plan_lines, say
from loops.errors import LoopError, NothingToDo, RecipeError
from loops.forecast import Forecast, forecast
from loops.gated import gated
from loops.live import watching
from loops.outcome import Teller
from loops.plan import Plan, unroll
from loops.recipe import check_name, load
from loops.resolved import resolved, section
from loops.runner import Runner
from loops.schedule import kept, times
from loops.screen import screen
from loops.secrets import hidden, show
from loops.shared import opened
from loops.stage import build, build_as
from loops.usage import parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    said = parser().parse_intermixed_args(arguments)
    words: list[str] = said.words
    command, overrides = (words[0], words[1:]) if words and "=" not in words[0] else ("run", words)
    signal.signal(signal.SIGTERM, _interrupt)
    sys.excepthook = show
    try:
        if said.yes and command != "gc":
            raise RecipeError(f"--yes is for gc; {command} asks nothing")
        if command not in RECIPES:
            return call(command, overrides, said.yes)
        if command in ("advance", "schedule"):
            (_advance if command == "advance" else _schedule)(overrides)
            return 0
        cfg = compose(overrides)
        plan, runner = _planned(cfg, overrides), _runner(cfg)
        runner.patience.check(plan)
        ahead = _forecast(cfg, plan, runner)
        if command == "plan":
            say("\n".join(plan_lines(ahead)))
            ahead.check(runner.patience)
        else:
            _run(cfg, ahead, runner, overrides)
    except NothingToDo as idle:
        say(f"nothing to do: {idle}")
        return 3
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
    plan = unroll(recipe)
    _budget(cfg).check(plan)
    return plan


def _budget(cfg: DictConfig) -> Budget:
    budget: Budget = build_as("loops.budget.Budget", section(cfg, "budget"), "budget")
    return budget


def _advance(overrides: Sequence[str]) -> None:
    """Run a loop on, alone, and tell what came of it."""
    words, more = asked(overrides)
    cfg, runner, teller = _composed(words)
    with alone(runner.run_dir / CLAIM, "advances this loop"):
        loop = Loop(runner=runner, budget=_budget(cfg))
        with teller.telling(loop.facts):
            cfg.rounds = loop.target(more)
            words.append(f"rounds={cfg.rounds}")
            plan = _planned(cfg, words)
            runner.patience.check(plan)
            loop.check(plan)
            _run(cfg, _forecast(cfg, plan, runner), runner, words)
            if loop.rounds() == loop.began:
                raise NothingToDo(runner.patience.why, over=True)


def _schedule(overrides: Sequence[str]) -> None:
    """Advance a loop at every time that a cron expression says."""
    cron, words = times(overrides)
    cfg, _, teller = _composed(asked(words)[0])
    cfg.rounds = 1
    with suppress(NothingToDo):  # what is wrong is refused now, and not at two in the morning
        _planned(cfg, words)
    kept(cron, words, teller)


def _composed(words: Sequence[str]) -> tuple[DictConfig, Runner, Teller]:
    """The configuration of a loop without its rounds, its runner, and who is told of its advances."""
    cfg = compose([*words, "rounds=0"])
    check_name(resolved(cfg, "run"), "run")
    notify = build_as("loops.notify.Notify", section(cfg, "notify"), "notify")
    runner = _runner(cfg)
    return cfg, runner, Teller(place=runner.run_dir, tracker=runner.trackers[-1], notify=notify)


def _runner(cfg: DictConfig) -> Runner:
    """The runner of this configuration; its trackers show progress, print, and are the one that is configured."""
    run_dir = Path(str(resolved(cfg, "runs"))) / str(resolved(cfg, "run"))
    words = {"run": str(run_dir), "ui": str(resolved(cfg, "tracker.uri") or "")}
    patience = section(cfg, "patience")
    console = Console(columns=section(cfg, "table"), closing=str(resolved(cfg, "closing")), words=words)
    store = opened(Path(str(resolved(cfg, "store"))), resolved(cfg, "remote"))
    executor = build(section(cfg, "executor"), "executor")
    return Runner(
        store=store,
        executor=executor,
        trackers=[watching(console, store, executor), console, build(section(cfg, "tracker"), "tracker")],
        run_dir=run_dir,
        patience=build_as("loops.patience.Patience", {**patience, "hours": _budget(cfg).max_hours}, "patience"),
    )


def _forecast(cfg: DictConfig, plan: Plan, runner: Runner) -> Forecast:
    memory = resolved(cfg, "device_memory")
    if memory is not None and (isinstance(memory, bool) or not isinstance(memory, int | float) or memory <= 0):
        raise RecipeError(f"device_memory: expected GB of a device, or null for this machine's, got {memory!r}")
    return forecast(plan, runner.store, getattr(runner.executor, "here", False), memory)


def _run(cfg: DictConfig, ahead: Forecast, runner: Runner, overrides: Sequence[str]) -> None:
    plan, missing = ahead.plan, ahead.to_run
    ahead.check(runner.patience)
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


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())

"""How far a run is: what has finished, what is being made, what failed, what comes next, and how long it will take.

The one decision: there is no record of states to go stale. Each is seen anew: in the store, in who lives, in the logs.
"""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from rich.table import Table

from loops import outcome, schedule
from loops.claims import PATIENCE, SIGN, is_maker, living_maker
from loops.console import say
from loops.plain import duration, lay_out, plain
from loops.plan import Step
from loops.progress import Bar, told
from loops.record import Record, Recorded

TAIL = 65536
"""Bytes of a log in which its last traceback is looked for."""
SHOWN = 3
"""Of what comes next, how many steps are named."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a step is: ``finished``, ``running``, ``queued``, ``failed``, ``interrupted``, ``next`` or ``waiting``.

    What was asked for and nobody has begun is queued. ``seconds`` is what it took, or has run or been queued so far,
    and ``bars`` how far it is, the outermost first. ``why`` is what a failure said, or that a maker on another machine,
    which cannot be seen to have died, is silent.
    """

    step: Step | Recorded
    state: str
    seconds: float = 0.0
    bars: Sequence[Bar] = ()
    why: str = ""


def status(record: Record, others: Iterable[str]) -> None:
    """Print how far a run is, and the names of other runs."""
    found = standings(record)
    of = {state: [each for each in found if each.state == state] for state in {each.state for each in found}}
    finished = len(of.get("finished", []))
    say(f"{record.run} ({record.name}): {finished} of {len(found)} steps finished")
    _tell_steps(of, record.run)
    say("")
    lay_out(_rounds(found))
    if finished < len(found):
        say(f"\n{_left(found)}")
    if record.stopped:
        say(f"\n{plain(record.stopped)}; with more patience or budget this goes on: {plain(record.command)}")
    if finished < len(found) and "running" not in of:
        nobody = (
            "nobody has begun what is queued; if its command has ended," if "queued" in of else "nobody works on it;"
        )
        say(f"{nobody} to go on: {plain(record.command)}")
    news = [*outcome.lines(record.place), *schedule.lines(record.place)]
    if news:
        say("\n".join(["", *news]))
    other = [name for name in others if name != record.run]
    if other:
        say(f"\nother runs (run=NAME): {', '.join(map(plain, other))}")


def _tell_steps(of: Mapping[str, Sequence[Standing]], run: str) -> None:
    """A line or two for each step that runs, failed, was interrupted or is next."""
    for each in of.get("running", []):
        say(f"  running      {each.step.id}, for {duration(each.seconds)}{each.why}")
        for bar in each.bars:
            say(f"               {plain(bar.what)}: {', '.join(filter(None, (bar.amount, bar.rates, bar.times)))}")
    for each in of.get("queued", []):
        say(f"  queued       {each.step.id}, for {duration(each.seconds)}")
    for each in of.get("failed", []):
        say(f"  failed       {each.step.id}: {plain(each.why, 300)}")
        say(f"               more: selfloop logs {each.step.id} run={plain(run)}")
    for each in of.get("interrupted", []):
        say(f"  interrupted  {each.step.id}")
    for each in of.get("next", [])[:SHOWN]:
        say(f"  next         {each.step.id}")


def standings(record: Record) -> list[Standing]:
    """How each step of a run is, in the order of its plan."""
    store, found, finished = record.opened(), [], set()
    for step in record.steps:
        manifest = store.read(step.key)
        if manifest is not None:
            finished.add(step.key)
            found.append(Standing(step=step, state="finished", seconds=manifest.seconds))
        else:
            ready = all(record.step(source).key in finished for source in step.inputs.values())
            found.append(_unfinished(record, step, store.drafts(step.key), ready))
    return found


def time_left(found: Sequence[Standing]) -> tuple[float, list[str]]:
    """Seconds that the steps which have not finished will take, one after the other, and those nodes of which nothing
    is known. A step takes as long as its node did in earlier rounds, on average; if in none, as its node did in the
    setup; if there is none of that name, as other steps of its stage did; and never less than its bars say.
    """
    took = _took(found)
    unfinished = {each.step.key: each for each in found if each.state != "finished"}
    left, unknown = 0.0, set()
    for each in unfinished.values():
        step, told = each.step, max((bar.left or 0.0 for bar in each.bars), default=0.0)
        alike = took.get((step.node, True)) or took.get((step.node, False)) or took.get(("", step.type))
        ran = each.seconds if each.state == "running" else 0.0
        left += max(0.0, told, (fmean(alike) if alike else 0.0) - ran)
        if not alike and not told:
            unknown.add(step.node)
    return left, sorted(unknown)


def _took(found: Iterable[Standing]) -> dict[tuple[str, bool | str], list[float]]:
    """Seconds of what has finished, by node in rounds (True) and in the setup, and by stage."""
    took: dict[tuple[str, bool | str], list[float]] = {}
    for each in (each for each in found if each.state == "finished"):
        for like in ((each.step.node, each.step.round > 0), ("", each.step.type)):
            took.setdefault(like, []).append(each.seconds)
    return took


def _unfinished(record: Record, step: Recorded, drafts: Path, ready: bool) -> Standing:
    order = record.file(step, "orders", f"-{step.key}.json")
    begun = order.stat().st_mtime if order.exists() else None
    seconds = max(0.0, time.time() - begun) if begun else 0.0
    if living_maker(drafts):
        return Standing(step=step, state="running", seconds=seconds, bars=told(drafts), why=_silence(drafts))
    if begun is None:
        return Standing(step=step, state="next" if ready else "waiting")
    died = drafts.is_dir() and any(is_maker(draft.name) for draft in drafts.iterdir())
    why = "" if died else _last_error(record.file(step, "logs", ".log"))
    state = "failed" if why else "interrupted" if drafts.is_dir() else "queued"
    return Standing(step=step, state=state, seconds=seconds, why=why)


def _silence(drafts: Path) -> str:
    """Words about a maker that has given no sign for long, by the time of day of both machines."""
    signs = [sign.stat().st_mtime for sign in drafts.glob(f"*/{SIGN}")]
    silent = time.time() - max(signs, default=time.time())
    return (
        f"; no sign of life for {duration(silent)}: if it is dead, the next run takes over" if silent > PATIENCE else ""
    )


def _last_error(log: Path) -> str:
    """What the traceback says with which a log ends; empty if it has none."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
        text = file.read().decode("utf-8", errors="backslashreplace")
    _, traceback, after = text.rpartition("Traceback (most recent call last):")
    said = [line for line in after.splitlines() if line and not line.startswith(" ")]
    return said[0] if traceback and said else ""


def _rounds(found: Iterable[Standing]) -> Table:
    """A row a round: how much of it has finished, and how long that took."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("round", "finished", "took"):
        table.add_column(name, justify="right")
    rounds: dict[int, list[Standing]] = {}
    for each in found:
        rounds.setdefault(each.step.round, []).append(each)
    for number, own in sorted(rounds.items()):
        done = [each for each in own if each.state == "finished"]
        seconds = sum(each.seconds for each in done)
        table.add_row(str(number or "setup"), f"{len(done)} of {len(own)}", duration(seconds) if done else "–")
    return table


def _left(found: Sequence[Standing]) -> str:
    left, unknown = time_left(found)
    about = f"about {duration(left)} to go, one step after the other, by what earlier rounds took" if left else ""
    missing = f"no earlier round tells how long it takes: {', '.join(unknown)}" if unknown else ""
    return "; ".join(filter(None, (about, missing)))

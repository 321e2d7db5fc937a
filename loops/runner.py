"""Runs what is missing of a plan: each step as soon as its inputs are there, as many at once as the executor takes.

The one decision: what has finished is known from the store alone. There is no state of a run to lose or to repair; the
directory ``runs/<name>`` only holds links with readable names, the orders and the logs.
"""

import json
import os
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from loops.errors import StepFailed
from loops.executors import Executor
from loops.patience import Patience
from loops.plan import Plan, Step
from loops.secrets import sweep
from loops.store import Store
from loops.tracker import Tracker
from loops.waiting import Waiting


@dataclass
class Runner:
    """One run of a plan.

    Args:
        store, executor, trackers: where finished steps lie, where steps run, and who is told of them.
        run_dir: where the run's links, orders and logs go.
        patience: when it stops early.
        foreseen: by key, what was foreseen of a step; its manifest keeps it beside what the step took.
    """

    store: Store
    executor: Executor
    trackers: Sequence[Tracker]
    run_dir: Path
    patience: Patience = field(default_factory=Patience)
    foreseen: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def missing(self, steps: Iterable[Step]) -> list[Step]:
        """Those of the steps that have no artifact yet, each key once."""
        first_of_key = {step.key: step for step in reversed(list(steps))}
        self.store.look(first_of_key)
        return [step for step in reversed(first_of_key.values()) if self.store.read(step.key) is None]

    def run(self, plan: Plan) -> None:
        """Make every missing artifact.

        Raises:
            StepFailed: a step failed. Steps that were running were left to finish and are kept; no new one was begun.
        """
        missing = {step.key for step in self.missing(plan.steps)}
        self._unlink_others(plan)
        for tracker in self.trackers:
            tracker.begin(plan)
        try:
            done = {step.key for step in plan.steps} - missing
            for step in plan.steps:
                if step.key in done and self.patience.allows(step):
                    self._tell_finished(step, cached=True)
            self._run_missing(plan, missing, done)
            ended = self.patience.ended(plan)
            for tracker in self.trackers if ended is not plan else ():
                tracker.stopped(ended, self.patience.why)
            self._unlink_others(ended)
            self._link(self.run_dir / "final", [one for one in ended.carried.items() if self.store.fetch(one[1].key)])
        except BaseException as failure:
            self._end("FAILED" if isinstance(failure, StepFailed) else "KILLED")
            raise
        self._end("FINISHED")

    def _end(self, status: str) -> None:
        """Let go of the executor, and tell every tracker, whatever one of them does."""
        self.executor.stop(now=status == "KILLED")
        for log in (self.run_dir / "logs").glob("*.log") if status != "FINISHED" else ():
            sweep(log)  # a worker that was killed could not
        with ExitStack() as ending:
            for tracker in reversed(self.trackers):
                ending.callback(tracker.end, status)

    def _run_missing(self, plan: Plan, missing: set[str], done: set[str]) -> None:
        """Keep the executor busy until nothing is missing or a step has failed."""
        places = plan.places()
        waiting = Waiting({key: steps[0] for key, steps in places.items() if key in missing}, done)
        running: dict[Future[None], Step] = {}
        failures: list[StepFailed] = []
        with ThreadPoolExecutor(self.executor.workers) as threads:
            try:
                while True:
                    if not failures:
                        self._submit_ready(waiting, running, threads)
                    if not running:
                        break
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        step = running.pop(future)
                        failure = future.exception()
                        if isinstance(failure, StepFailed):
                            failures.append(self._failed(step, failure))
                        elif failure is not None:
                            raise failure
                        else:
                            waiting.finished(step.key)
                            for same in places[step.key]:
                                self._tell_finished(same, cached=same is not step)
            except BaseException:
                self.executor.stop(now=True)
                raise
        if failures:
            raise StepFailed("\n".join(map(str, failures)))

    def _submit_ready(self, waiting: Waiting, running: dict[Future[None], Step], threads: ThreadPoolExecutor) -> None:
        """Begin as many steps as the executor has room for."""
        for step in waiting.take(self.executor.workers - len(running), self.patience.allows):
            for tracker in self.trackers:
                tracker.started(step)
            running[self._start(self._order(step), threads)] = step

    def _start(self, order: Path, threads: ThreadPoolExecutor) -> Future[None]:
        """Hand an order to the executor. One at a time is waited for here, where Ctrl-C is heard."""
        if self.executor.workers > 1:
            return threads.submit(self.executor.run, order)
        done: Future[None] = Future()
        try:
            self.executor.run(order)
            done.set_result(None)
        except StepFailed as failure:
            done.set_exception(failure)
        return done

    def _tell_finished(self, step: Step, cached: bool) -> None:
        manifest = self.store.read(step.key) or self.store.fetch(step.key)
        if manifest is None:
            raise StepFailed(f"{step.id}: its worker reported success, but {self.store.path(step.key)} is not there")
        self.patience.note(step, manifest)
        self._link(self.run_dir, [(step.id, step)])
        for tracker in self.trackers:
            tracker.finished(step, manifest, self.store.path(step.key), cached)

    def _order(self, step: Step) -> Path:
        """Write down all that a worker needs to know."""
        order = {
            "step": step.id,
            "key": step.key,
            "stage": step.config,
            "inputs": {name: source.key for name, source in step.inputs.items()},
            "store": str(self.store.root.resolve()),
            "place": os.getcwd(),
            "remote": self.store.url,
            "log": str(self._log(step).resolve()),
            "foreseen": dict(self.foreseen.get(step.key, {})),
        }
        path = self.run_dir / "orders" / f"{step.id.replace('/', '-')}-{step.key}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps(order, indent=1), encoding="utf-8")
        os.replace(draft, path)
        return path

    def _log(self, step: Step) -> Path:
        return self.run_dir / "logs" / f"{step.id.replace('/', '-')}.log"

    def _failed(self, step: Step, failure: StepFailed) -> StepFailed:
        """Tell it; returns the failure with everything that a person needs to go on."""
        for tracker in self.trackers:
            tracker.failed(step)
        return StepFailed(
            f"{step.id} failed: {failure}\n"
            f"  its log:            {self._log(step)}\n"
            f"  to run it alone:    {shlex.join([sys.executable, '-m', 'loops.worker', str(self._order(step))])}\n"
            "  what had finished is kept: run the same command again to go on"
        )

    def _link(self, place: Path, named: Iterable[tuple[str, Step]]) -> None:
        """Give artifacts readable names. A link that points elsewhere is replaced."""
        for name, step in named:
            link = place / name
            target = os.path.relpath(self.store.path(step.key).resolve(), link.parent.resolve())
            if link.is_symlink() and os.readlink(link) == target:
                continue
            link.parent.mkdir(parents=True, exist_ok=True)
            draft = link.with_name(f".{link.name}.{os.getpid()}")
            draft.symlink_to(target)
            os.replace(draft, link)

    def _unlink_others(self, plan: Plan) -> None:
        """Remove another plan's links and orders: what a name points at is this plan's, or is not there yet."""
        wanted = {self.run_dir / step.id: step.key for step in plan.steps}
        wanted |= {self.run_dir / "final" / name: step.key for name, step in plan.carried.items()}
        for link in self.run_dir.glob("*/*"):
            if link.is_symlink() and link.name[0] != "." and os.path.basename(os.readlink(link)) != wanted.get(link):
                link.unlink(missing_ok=True)
        keys = set(wanted.values())
        for order in self.run_dir.glob("orders/*.json"):
            if order.stem.rpartition("-")[2] not in keys:
                order.unlink(missing_ok=True)

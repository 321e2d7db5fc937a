"""What follows wherever a step was asked for: waiting, cancelling, asking again. The cluster here only answers."""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from loops.errors import StepFailed
from loops.jobs import Job, Jobs
from tests.loops.test_runner import wait_for


@dataclass(kw_only=True)
class Cluster(Jobs):
    """Takes jobs as it is told: each fate is what a job says, why it dies, why it is not taken (a
    RuntimeError), or None if it stays in the queue."""

    library: ClassVar[str] = "json"

    workers: int = 2
    fates: list[str | Exception | None]
    cancelled: list[Future] = field(default_factory=list)
    asked: list[Future] = field(default_factory=list)

    def submit(self, order):
        assert order.is_absolute()
        fate, answer = self.fates.pop(0), Future()
        self.asked.append(answer)
        if isinstance(fate, RuntimeError):
            raise fate
        if isinstance(fate, str):
            answer.set_result(fate)
        elif fate is not None:
            answer.set_exception(fate)
        return Job(answer=answer, cancel=lambda: self.cancelled.append(answer), log=" (see its log)")


DIED, REFUSED = OSError("first\nnode lost\n"), RuntimeError("the queue is full")


@pytest.mark.parametrize("fates", [[""], [DIED, ""], [REFUSED, DIED, ""]])
def test_what_died_or_was_not_taken_is_asked_for_again(fates, tmp_path):
    cluster = Cluster(fates=list(fates))
    cluster.run(tmp_path / "order.json")
    assert (len(cluster.asked), cluster.cancelled) == (len(fates), [])


def test_the_last_try_says_why_and_where_to_look(tmp_path):
    with pytest.raises(StepFailed, match=r"in all of 2 tries: node lost \(see its log\)$"):
        Cluster(fates=[REFUSED, DIED, ""], retries=1).run(tmp_path / "order.json")


def test_what_a_step_raised_is_told_and_not_tried_again(tmp_path):
    cluster = Cluster(fates=["ValueError: it broke", ""])
    with pytest.raises(StepFailed, match=r"^ValueError: it broke$"):
        cluster.run(tmp_path / "order.json")
    assert cluster.fates == [""]


def test_whoever_stops_cancels_what_runs_and_what_waits_in_the_queue(tmp_path):
    cluster = Cluster(fates=[None, None, ""])
    with ThreadPoolExecutor(2) as threads:
        runs = [threads.submit(cluster.run, tmp_path / f"{name}.json") for name in "ab"]
        wait_for(lambda: len(cluster.asked) == 2)
        cluster.stop(now=False)
        assert not any(run.done() for run in runs)
        cluster.stop(now=True)
        for run in runs:
            with pytest.raises(StepFailed, match="cancelled"):
                run.result(timeout=30)
    assert len(cluster.cancelled) == 2
    assert cluster.fates == [""], "nothing is asked for again"

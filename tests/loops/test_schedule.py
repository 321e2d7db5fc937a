"""A loop that is advanced at the times of a cron expression: real processes, a real job store."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from loops import outcome
from loops.__main__ import main
from loops.cron import trigger
from loops.errors import RecipeError
from tests.loops.beside import being_made
from tests.loops.test_advance import RECIPE

pytest.importorskip("apscheduler", reason="APScheduler is not installed")
ROOT = Path(__file__).parents[2]
PLACE = Path("runs/toy")
SATURDAY = datetime(2026, 11, 21, 12, tzinfo=UTC)
SLOW = "+round.slow={stage: {_target_: tests.loops.toys.Slow, seconds: 600}}"


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """Where a schedule is kept."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "UTC")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/toy.yaml").write_text(RECIPE)


@contextmanager
def kept(*words, cron="0 2 * * *"):
    """A schedule that is kept meanwhile."""
    asked = ["schedule", "recipes=toy", "executor=inline", "tracker=silent", f"cron={cron}", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with Path("log.txt").open("a") as log:
        running = subprocess.Popen(
            [sys.executable, "-m", "loops", *asked],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
        )
    try:
        yield running
    finally:
        running.kill()
        running.wait()


def until(seen, running=None):
    """Wait until something is seen."""
    end = time.monotonic() + 60
    while not (found := seen()):
        assert running is None or running.poll() is None, Path("log.txt").read_text()
        assert time.monotonic() < end, Path("log.txt").read_text()
        time.sleep(0.05)
    return found


def following():
    """When the loop is advanced next, as was written down."""
    try:
        return datetime.fromisoformat(json.loads((PLACE / "schedule.json").read_text())["next"])
    except FileNotFoundError:
        return None


def stopped(running, how=signal.SIGTERM):
    running.send_signal(how)
    assert running.wait(timeout=60) == 130
    assert "Traceback" not in Path("log.txt").read_text()


def missed(days):
    """Set the job store's clock back, as if the scheduler had not run for so many days."""
    from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
    from apscheduler.schedulers.background import BackgroundScheduler

    store = SQLAlchemyJobStore(url=f"sqlite:///{PLACE}/schedule.db")
    store.start(BackgroundScheduler(), "default")
    job = store.lookup_job("advance")
    job._modify(next_run_time=job.next_run_time - timedelta(days=days))
    store.update_job(job)
    store.shutdown()


def calls():
    return len(Path("calls.txt").read_text().splitlines()) if Path("calls.txt").exists() else 0


def half():
    return being_made(".")


def test_times_that_were_missed_are_made_up_for_by_one_advance_and_the_rest_wait():
    with kept() as running:
        at = until(following, running)
        assert (at.hour, at.minute) == (2, 0)
        assert at > datetime.now(UTC)
        stopped(running)
    assert calls() == 0
    missed(days=5)
    with kept() as running:
        news = until(lambda: outcome.read(PLACE), running)
        until(lambda: following() == at, running)
        stopped(running, signal.SIGINT)
    assert news.outcome == "advanced"
    assert news.rounds == 1
    assert calls() == 1


def test_an_advance_is_ended_with_its_schedule_and_goes_on_with_it(capsys):
    with kept(SLOW) as running:
        until(following, running)
        stopped(running)
    missed(days=1)
    with kept(SLOW) as running:
        until(half, running)
        assert main(["status"]) == 0
        told = capsys.readouterr().out
        assert "running" in told
        assert f"next advance {following().isoformat()}" in told
        stopped(running)
    assert outcome.read(PLACE).outcome == "interrupted"
    assert main(["status"]) == 0
    assert "nobody keeps the schedule" in capsys.readouterr().out
    with kept() as running:
        until(lambda: outcome.read(PLACE).outcome == "advanced", running)
    assert calls() == 1


def test_an_advance_that_is_killed_is_told_as_a_failure_and_the_schedule_stays():
    Path("told.sh").write_text('echo "$SELFLOOP_TEXT" >> told.txt\n')
    words = [SLOW, "notify.command='sh told.sh'"]
    with kept(*words) as running:
        until(following, running)
        stopped(running)
    missed(days=1)
    with kept(*words) as running:
        until(half, running)
        draft = half()[0].parent
        os.kill(int(draft.name.split(".")[1]), signal.SIGKILL)
        until(lambda: Path("told.txt").exists() and Path("told.txt").read_text(), running)
        assert Path("told.txt").read_text() == "toy: failed: it died without a word (killed by SIGKILL)\n"
        stopped(running)


def test_a_schedule_ends_with_the_budget_and_only_one_is_kept(capsys):
    words = ["budget.max_rounds=1", "notify.command='true'"]
    with kept(*words) as running:
        until(following, running)
        before = signal.getsignal(signal.SIGTERM)
        asked = ["schedule", "recipes=toy", "executor=inline", "tracker=silent", "cron=0 2 * * *"]
        assert main(asked) == 3
        signal.signal(signal.SIGTERM, before)
        assert "another one keeps this schedule" in capsys.readouterr().out
        stopped(running)
    assert main(["advance", "recipes=toy", "executor=inline", "tracker=silent"]) == 0
    missed(days=1)
    with kept(*words) as running:
        assert running.wait(timeout=60) == 3
    assert "nothing to do: toy: over: round 1 is made" in Path("log.txt").read_text()


def test_other_times_replace_those_that_the_job_store_remembers():
    with kept() as running:
        until(following, running)
        stopped(running)
    with kept(cron="30 4 * * *") as running:
        until(lambda: (following().hour, following().minute) == (4, 30), running)
        stopped(running)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["recipes=toy"], "when? say cron='0 2 * * *'"),
        (["recipes=toy", "cron=hourly"], "cron='hourly': expected minute, hour, day, month and weekday"),
        (["recipes=toy", "cron=61 * * * *"], "cron='61 * * * *': Error validating expression '61'"),
        (["recipes=toy", "cron=0 2 1 * 1"], "cron takes either, not both"),
        (["recipes=toy", "cron=0 2 * * 8"], "a weekday is 0 (Sunday) to 7 (Sunday), or sun to sat, not '8'"),
        (["recipes=toy", "cron=0 2 * * *", "rounds=3"], "a loop is advanced by rounds=+1 or more"),
        (["recipes=toy", "cron=0 2 * * *", "round.add.stage.by=-1"], "round-01/add: by must be at least 0"),
    ],
)
def test_what_would_fail_at_two_in_the_morning_is_refused_now(words, message, capsys):
    before = signal.getsignal(signal.SIGTERM)
    assert main(["schedule", *words, "executor=inline", "tracker=silent"]) == 1
    signal.signal(signal.SIGTERM, before)
    assert message in capsys.readouterr().err
    assert not Path("store").exists()


@pytest.mark.parametrize(
    ("weekday", "days"),
    [
        ("0", "sun"),
        ("7", "sun"),
        ("1-5", "mon tue wed thu fri"),
        ("0,3", "wed sun"),
        ("5-7", "fri sat sun"),
        ("*/2", "tue thu sat sun"),
        ("mon-wed", "mon tue wed"),
        ("*", "mon tue wed thu fri sat sun"),
    ],
)
def test_weekdays_are_those_of_cron(weekday, days):
    """The reference is a calendar: 2026-11-22 is a Sunday."""
    at, found = SATURDAY - timedelta(days=5.5), []
    times = trigger(f"0 2 * * {weekday}")
    while (at := times.get_next_fire_time(None, at)) < SATURDAY + timedelta(days=1, hours=1):
        found.append(at.strftime("%a").lower())
        at += timedelta(seconds=1)
    assert " ".join(found) == days


@pytest.mark.parametrize("wrong", ["8", "5-2", "x", "1-", "-1", "", "1;2"])
def test_what_is_no_weekday_is_refused(wrong):
    with pytest.raises(RecipeError, match="cron="):
        trigger(f"0 2 * * {wrong}")

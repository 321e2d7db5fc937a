"""The examples for cron, systemd, Kubernetes and Slurm: each parsed by what reads it, and its command run."""

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from datetime import UTC
from pathlib import Path

import pytest
import yaml

from tests.loops.test_advance import RECIPE

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs/schedules"
HOME = "/srv/selfloop"
TIMES = re.compile(r"((?:\S+ ){5})(.*)")


def tab(name):
    """The only line of a crontab that is no comment: its times, and its command."""
    (line,) = [line for line in (EXAMPLES / name).read_text().splitlines() if line and not line.startswith("#")]
    times, command = TIMES.fullmatch(line).groups()
    return times.strip(), command


def unit(name):
    """A unit of systemd, as it is read where there is no systemd."""
    parser = configparser.ConfigParser(strict=True, interpolation=None)
    parser.optionxform = str
    parser.read_string((EXAMPLES / name).read_text())
    return parser


def cronjob():
    return yaml.safe_load((EXAMPLES / "cronjob.yaml").read_text())


def container():
    (only,) = cronjob()["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    return only


COMMANDS = {
    "crontab": lambda: tab("crontab")[1],
    "selfloop.service": lambda: unit("selfloop.service")["Service"]["ExecStart"],
    "cronjob.yaml": lambda: shlex.join(container()["command"]),
    "scrontab": lambda: tab("scrontab")[1],
}


def here(command, place):
    """The command on a toy recipe at this place, with this Python, and otherwise as it stands."""
    assert "python -m loops advance recipes=dice rounds=+1" in command
    command = re.sub(rf"({HOME}/)?\.venv/bin/python|\bpython\b", sys.executable, command)
    return command.replace(HOME, str(place)).replace("recipes=dice", "recipes=toy executor=inline tracker=silent")


def run(command, place):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(["sh", "-c", command], cwd=place, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_command_of_an_example_advances_a_loop_and_ends_well_when_there_is_nothing_to_do(name, tmp_path):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/toy.yaml").write_text(RECIPE)
    (tmp_path / "runs").mkdir()
    command = here(COMMANDS[name](), tmp_path)
    done = run(command, tmp_path)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in sorted((tmp_path / "runs/toy").glob("round-*"))] == ["round-01"]
    idle = run(command.replace("budget.max_rounds=30", "budget.max_rounds=1"), tmp_path)
    fails = run(command.replace("rounds=+1", "rounds=+1 round.add.stage.by=-1"), tmp_path)
    wrapped = name in ("cronjob.yaml", "scrontab")
    assert idle.returncode == (0 if wrapped else 3), idle.stderr
    assert fails.returncode == 1, "a failure is still one"


@pytest.mark.parametrize("times", [tab("crontab")[0], tab("scrontab")[0], cronjob()["spec"]["schedule"]])
def test_the_times_of_an_example_are_two_in_the_morning(times):
    pytest.importorskip("apscheduler", reason="APScheduler is not installed")
    from datetime import datetime

    from loops.cron import trigger

    noon = datetime(2026, 11, 21, 12, tzinfo=UTC)
    at = trigger(times).get_next_fire_time(None, noon)
    assert (at.hour, at.minute) == (2, 0)


def test_systemd_is_told_that_nothing_to_do_is_no_failure_and_when_to_begin():
    service, timer = unit("selfloop.service"), unit("selfloop.timer")
    assert service["Service"]["Type"] == "oneshot"
    assert service["Service"]["SuccessExitStatus"] == "3"
    assert timer["Timer"]["OnCalendar"] == "*-*-* 02:00:00"
    assert timer["Timer"]["Persistent"] == "true"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_verifies_the_units(tmp_path):
    for name in ("selfloop.service", "selfloop.timer"):
        text = (EXAMPLES / name).read_text().replace(f"{HOME}/.venv/bin/python", sys.executable)
        (tmp_path / name).write_text(text.replace(HOME, str(tmp_path)))
    asked = ["systemd-analyze", "verify", "--man=no", *map(str, sorted(tmp_path.glob("selfloop.*")))]
    done = subprocess.run(asked, capture_output=True, text=True)
    said = [line for line in done.stderr.splitlines() if "selfloop" in line]
    assert done.returncode == 0, done.stderr
    assert not said


def test_kubernetes_runs_one_at_a_time_and_keeps_store_and_runs():
    job = cronjob()
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "CronJob")
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    (mount,) = container()["volumeMounts"]
    assert mount["mountPath"] == container()["workingDir"]
    assert mount["name"] in [volume["name"] for volume in pod["volumes"]]


def test_kubernetes_own_client_knows_every_field():
    client = pytest.importorskip("kubernetes.client", reason="kubernetes is not installed")
    import json

    api, asked = client.ApiClient(), cronjob()
    read = api.deserialize(json.dumps(asked), "V1CronJob", "application/json")
    assert api.sanitize_for_serialization(read) == asked, "a field that it does not know is left out"


def test_what_slurm_is_asked_for_is_what_sbatch_takes():
    asked = [line for line in (EXAMPLES / "scrontab").read_text().splitlines() if line.startswith("#SCRON")]
    assert len(asked) == 6
    for line in asked:
        assert re.fullmatch(r"#SCRON --(job-name|time|gpus|cpus-per-task|mem|output)=\S+", line), line

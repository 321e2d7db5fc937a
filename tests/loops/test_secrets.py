"""Planted secrets, in the environment, on the command line, in an exception, in a server's reply: none is written."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from loops.secrets import Hiding, hidden, sweep

ROOT = Path(__file__).parents[2]
PLANTED = {
    "PLANTED_TOKEN": "hf_0123456789abcdefSECRET",
    "PLANTED_API_KEY": "sk-abcdef/with+signs==",
    "PLANTED_PASSWORD": 'pass "word" \\ of ten ümlauts',
}
SAID = "said-on-the-command-line-0815"
IN_ADDRESS = "pw-in-the-address"
RECIPE = """# @package _global_
# Leaks.
name: leak
rounds: 1
carry: {}
setup:
  first: {stage: {_target_: tests.loops.toys.Leak}}
round:
  second: {stage: {_target_: tests.loops.toys.Leak, number: 1, fails: "${fails}", url: "${asked}"}}
fails: false
asked: ""
"""


@pytest.fixture
def server():
    """Repeats in its refusal all that it was never told."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            said = json.dumps({"error": [*PLANTED.values(), SAID]}).encode()
            self.send_response(403)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *words):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{made.server_address[1]}/v1"
        made.shutdown()


def run(folder, *words, **options):
    """The command line with planted secrets, in a folder with the recipe that leaks."""
    (folder / "recipes").mkdir(exist_ok=True)
    (folder / "recipes/leak.yaml").write_text(RECIPE)
    environment = {**os.environ, **PLANTED, "PYTHONPATH": str(ROOT), "SELFLOOP_TRUST": "tests"}
    command = [sys.executable, "-m", "loops", "recipes=leak", f"+note.api_key={SAID}"]
    command += [f"+see=http://user:{IN_ADDRESS}@127.0.0.1/", *words]
    started = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )
    return started


def leaks(folder, *texts):
    """Where a secret stands, as it is or as JSON spells it: in which file, or in which of the texts."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert len(files) > 5
    files |= {f"text {place}": text.encode() for place, text in enumerate(texts)}
    wanted = {
        spelled.encode()
        for value in [*PLANTED.values(), SAID, IN_ADDRESS]
        for spelled in (value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1])
    }
    return [name for name, content in files.items() if any(secret in content for secret in wanted)]


def test_no_secret_is_written_to_a_log_a_manifest_mlflow_or_an_error(tmp_path, server):
    failed = run(tmp_path, "tracker=silent", "fails=true")
    told = failed.communicate(timeout=120)
    assert failed.returncode == 2, told
    assert "RuntimeError: refused: <PLANTED_" in told[1]
    refused = run(tmp_path, "executor=inline", "tracker=silent", f"asked={server}")
    told += refused.communicate(timeout=120)
    assert refused.returncode == 2, told
    assert "answered 403" in told[3]
    whole = run(tmp_path)
    told += whole.communicate(timeout=120)
    assert whole.returncode == 0, told
    log = (tmp_path / "runs/leak/logs/round-01-second.log").read_text()
    assert log.count("python says <PLANTED_TOKEN>") >= 3
    assert log.count("a compiled library says <PLANTED_API_KEY>") >= 3
    assert (tmp_path / "runs/mlflow.db").stat().st_size > 0
    assert list((tmp_path / "runs/mlflow").rglob("environment.json"))
    assert "not told" not in told[5]
    assert leaks(tmp_path, *told) == []


def test_a_run_that_is_interrupted_leaves_no_secret_in_its_logs(tmp_path):
    (tmp_path / "recipes").mkdir()
    recipe = RECIPE.replace("  first:", "  wait: {stage: {_target_: tests.loops.toys.LeakAndWait}}\n  first:")
    (tmp_path / "recipes/wait.yaml").write_text(recipe)
    running = run(tmp_path, "recipes=wait", "tracker=silent", start_new_session=True)
    log, end = tmp_path / "runs/leak/logs/setup-wait.log", time.monotonic() + 60
    while not log.exists() or b"a compiled library" not in log.read_bytes():
        assert time.monotonic() < end
        assert running.poll() is None, running.communicate()
        time.sleep(0.05)
    running.send_signal(signal.SIGTERM)
    told = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "<PLANTED_TOKEN>" in log.read_text()
    (tmp_path / "more").mkdir()
    for name in "abcdef":
        (tmp_path / "more" / name).touch()
    assert leaks(tmp_path, *told) == []


def test_what_is_hidden_and_what_is_left(monkeypatch, tmp_path):
    for name in [name for name in os.environ if "KEY" in name or "TOKEN" in name]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SOME_SECRET", "0123456789")
    monkeypatch.setenv("LONGER_SECRET", "0123456789-and-more")
    monkeypatch.setenv("SHORT_KEY", "abc")
    monkeypatch.setenv("PLAIN", "harmless-value")
    monkeypatch.setenv("KEY_FILE", str(tmp_path))
    monkeypatch.setattr(
        sys, "argv", ["selfloop", "a.token=abcdefgh", "sizes.new_tokens=96969696", "key_variable=A_NAME_X"]
    )
    text = f"x0123456789-and-morey 0123456789 abc harmless-value {tmp_path} abcdefgh 96969696 A_NAME_X"
    shown = f"x<LONGER_SECRET>y <SOME_SECRET> abc harmless-value {tmp_path} <a.token> 96969696 A_NAME_X"
    assert hidden(text) == shown
    monkeypatch.setattr(sys, "argv", ["selfloop", 'a["x"].token=abcdefgh'])
    told = {"0123456789": ["abcdefgh", 3, None], "b": "0123456789"}
    assert json.loads(hidden(json.dumps(told))) == {"<SOME_SECRET>": ["<a__x__.token>", 3, None], "b": "<SOME_SECRET>"}
    monkeypatch.setenv("TOKENIZER_NAME", "some/tokenizer")
    monkeypatch.setenv("PRIVATE_KEY", "-----BEGIN-----\nfirstlineofthekey\nsecondlineofit\n")
    assert hidden("some/tokenizer\n| secondlineofit, firstlineofthekey") == (
        "some/tokenizer\n| <PRIVATE_KEY>, <PRIVATE_KEY>"
    )
    assert hidden("postgresql://user:word@host/db?x=1 a@b.c") == "postgresql://<hidden>@host/db?x=1 a@b.c"


def test_a_log_hides_what_is_written_and_is_swept_of_what_others_wrote(monkeypatch, tmp_path):
    monkeypatch.setenv("SOME_SECRET", "0123456789")
    log = tmp_path / "log"
    raw = io.FileIO(log, "ab")
    with Hiding(io.BufferedWriter(raw), encoding="utf-8", line_buffering=True) as file:
        assert file.write("before 0123456789 after\n") == 24
        assert log.read_text() == "before <SOME_SECRET> after\n"
        os.write(file.fileno(), b"raw 0123456789 \xff\n")
    sweep(log)
    assert log.read_bytes() == b"before <SOME_SECRET> after\nraw <SOME_SECRET> \xff\n"
    sweep(tmp_path / "nowhere")

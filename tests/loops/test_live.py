"""The live view on a real terminal: a pty, the real command line, and a screen that shows what a person would see."""

import fcntl
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest

from tests.loops.test_cli import selfloop

pyte = pytest.importorskip("pyte")

ROOT = Path(__file__).parents[2]
RECIPE = """# @package _global_
# Rows.
name: rows
rounds: 2
carry: {{total: {{init: start, next: add}}}}
table: {{first column that is long: "{{add/value:.0f}}", another one: "{{add/value:.1f}}", total: "{{add/value:.0f}}"}}
setup:
  start: {{stage: {{_target_: tests.loops.toys.Rows, total: {total}, pause: 0.1, noise: {noise}}}}}
round:
  make: {{stage: {{_target_: tests.loops.toys.{make}}}{inputs}}}
  add: {{stage: {{_target_: tests.loops.toys.Add, by: "${{number}}"}}, inputs: {{left: total, right: make}}}}
"""
COMMAND = ["-m", "loops", "recipes=rows", "tracker=silent"]


@pytest.fixture
def recipe(tmp_path):
    """Writes a recipe that takes a second or as long as is said."""

    def write(total=2, noise='""', make='Rows, total: "${by_round:12,13}", pause: 0.1', inputs=""):
        (tmp_path / "recipes").mkdir(exist_ok=True)
        (tmp_path / "recipes/rows.yaml").write_text(RECIPE.format(total=total, noise=noise, make=make, inputs=inputs))
        return tmp_path

    return write


class Terminal:
    """A terminal with a command in its foreground."""

    def __init__(self, place, *words, columns=100, lines=50, **more):
        ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.screen, self.written, self.frames, self.ours = pyte.Screen(columns, lines), b"", [], ours
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLORTERM": "", **more}
        command = [sys.executable, *words]

        def in_front():
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background job ignores it
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        self.process = subprocess.Popen(command, cwd=place, env=environment, preexec_fn=in_front, **streams)
        os.close(theirs)
        self.thread = threading.Thread(target=self._follow, daemon=True)
        self.thread.start()

    def _follow(self):
        stream = pyte.ByteStream(self.screen)
        while True:
            try:
                chunk = os.read(self.ours, 65536)
            except OSError:  # the last one has closed it
                return
            self.written += chunk
            stream.feed(chunk)
            self.frames.append(self.text)

    @property
    def text(self):
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    def until(self, shown):
        """Wait until the screen shows this, a pattern."""
        end = time.monotonic() + 60
        while not re.search(shown, self.text, re.MULTILINE):
            assert time.monotonic() < end, self.text
            assert self.process.poll() is None, self.text
            time.sleep(0.02)
        return self.text

    def stop(self):
        """End the command, of which enough has been seen."""
        self.process.terminate()
        assert self.end() == 130

    def end(self):
        """Wait for the command; returns its exit code."""
        code = self.process.wait(timeout=60)
        self.thread.join(timeout=60)
        os.close(self.ours)
        return code


def untimed(text):
    """Without what is another one each time: seconds, and the memory that is free."""
    return re.sub(r" +\d+\.\d s|in \d+ s|[\d.]+ GB are free", " VARIES", text).rstrip()


def test_a_terminal_shows_the_round_its_steps_bars_and_the_table_and_keeps_what_a_log_would(recipe):
    place = recipe()
    terminal = Terminal(place, *COMMAND, columns=140)
    shown = terminal.until(r"counting.* [1-9]\d?/12 rows\n +\d.* rows/s")
    assert re.search(r"^rows  round 1 of 2, 1 of 5 steps, \d+ s so far, more than \d+ s to go$", shown, re.MULTILINE)
    assert re.search(r"^▸ make +· add$", shown, re.MULTILINE)
    assert re.search(r"^round-01/make, for \d s$", shown, re.MULTILINE)
    assert re.search(r"^  counting ━+.* \d+/12 rows\n    [\d.]+ rows/s, [\d.]+ tokens/s, 00:0\d so far", shown, re.M)
    shown = terminal.until(r"counting.*/13 rows")
    assert re.search(r"^rows  round 2 of 2, 3 of 5 steps, \d+ s so far, about \d+ s to go$", shown, re.MULTILINE)
    assert re.search(r"^round  first column that is long  another one  total\n +1 +15 +15\.0 +15$", shown, re.MULTILINE)
    assert terminal.end() == 0
    assert "\nrows: 5 steps run in" in terminal.text
    shutil.rmtree(place / "store")
    plain = selfloop(*COMMAND[2:], cwd=place)
    assert untimed(terminal.text) == untimed(plain.stdout)
    assert not terminal.screen.cursor.hidden


def test_a_step_that_nobody_has_begun_is_queued(recipe):
    place = recipe(make="Constant, value: 1", total=20)
    terminal = Terminal(place, *COMMAND, "executor._target_=tests.loops.toys.Late")
    shown = terminal.until(r"^setup/start, queued for [1-9]\d* s$")
    assert re.search(r"^▹ start$", shown, re.MULTILINE)
    told = selfloop("status", cwd=place).stdout
    assert re.search(r"^  queued       setup/start, for [\d.]+ s$", told, re.MULTILINE)
    assert "nobody has begun what is queued; if its command has ended, to go on: " in told
    (place / "begin").touch()
    shown = terminal.until(r"^setup/start, for \d s$")
    assert re.search(r"^▸ start$", shown, re.MULTILINE)
    terminal.stop()


def test_a_step_that_has_failed_is_shown_as_such_while_others_run(recipe):
    place = recipe(make="Fail", inputs=", inputs: {number: total}", total=3)
    with (place / "recipes/rows.yaml").open("a") as file:
        file.write("  long: {stage: {_target_: tests.loops.toys.Rows, total: 600, pause: 0.1}}\n")
    terminal = Terminal(place, *COMMAND, "executor.workers=2")
    shown = terminal.until(r"^round-01/make failed; what runs is finished first\n")
    assert re.search(r"^✗ make .*▸ long", shown, re.MULTILINE)
    terminal.stop()


def test_what_is_no_terminal_gets_plain_lines(recipe):
    plain = selfloop(*COMMAND[2:], cwd=recipe(total=1, make="Constant, value: 1"))
    assert plain.returncode == 0
    assert "\x1b" not in plain.stdout
    assert "so far" not in plain.stdout
    assert re.search(r"^setup/start +\d\.\d s  value 1$", plain.stdout, re.MULTILINE)


def test_what_libraries_print_scrolls_by_above_and_never_tears_the_view(recipe):
    noise = (
        r'"bar 1%\rbar 2%\rbar 3%\nsaid by a \e[31mlibrary\e[2J in a line that is too long for a narrow terminal\nand "'
    )
    terminal = Terminal(recipe(noise=noise, total=6, make="Constant, value: 1"), *COMMAND, columns=60)
    assert terminal.end() == 0
    assert terminal.text.count("bar 3%") == 6
    assert "bar 2%" not in terminal.text
    assert terminal.text.count(r"said by a \x1b[31mlibrary\x1b[2J") == 6
    for frame in terminal.frames:
        assert len(re.findall(r"so far", frame)) <= 2, frame
        assert len(re.findall(r"^rows  (setup|round)", frame, re.MULTILINE)) <= 1, frame
    assert "so far" not in terminal.text


def test_the_terminal_is_given_back_whoever_still_writes_to_it_or_does_not(tmp_path):
    begin = "import os, sys; from loops.capture import Captured; terminal = os.fdopen(os.dup(1), 'w')\n"
    begin += "captured = Captured(lambda line: print('caught', line, file=terminal, flush=True))\n"
    stays = "import subprocess; stays = subprocess.Popen(['sleep', '60'])\n"
    end = "print('one'); os.write(2, b'two'); captured.end(); captured.end(); print('three')\n"
    for more, last in (("", ""), (stays, "stays.kill()")):
        terminal = Terminal(tmp_path, "-c", begin + more + end + last)
        assert terminal.end() == 0
        assert terminal.text.splitlines() == ["caught one", "caught two", "three"]


def test_a_narrow_terminal_shows_as_many_of_the_last_columns_as_fit(recipe):
    terminal = Terminal(recipe(), *COMMAND, columns=30, lines=60)
    shown = terminal.until(r"counting.*/13 rows")
    assert re.search(r"^round  another one  total\n +1 +15\.0 +15$", shown, re.MULTILINE)
    terminal.stop()


def test_a_low_terminal_shows_what_runs_rather_than_the_table(recipe):
    terminal = Terminal(recipe(), *COMMAND, columns=60, lines=7)
    shown = terminal.until(r"counting.*/13 rows")
    assert "rows  round 2 of 2" in shown
    assert "another one" not in shown
    terminal.stop()


def test_without_colours_there_is_none(recipe):
    place = recipe(total=600)
    colour = re.compile(rb"\x1b\[[\d;]*\b3[0-8]\b[\d;]*m")
    for more, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        terminal = Terminal(place, *COMMAND, **more)
        terminal.until(r"counting.*/600 rows")
        terminal.stop()
        assert bool(colour.search(terminal.written)) is coloured


def test_ctrl_c_leaves_the_terminal_as_it_was(recipe):
    terminal = Terminal(recipe(total=600), *COMMAND)
    before = termios.tcgetattr(terminal.ours)
    terminal.until(r"counting.*/600 rows")
    assert terminal.screen.cursor.hidden
    os.write(terminal.ours, b"\x03")
    assert terminal.process.wait(timeout=60) == 130
    assert termios.tcgetattr(terminal.ours) == before
    terminal.end()
    assert terminal.text.endswith("interrupted; what had finished is kept: run the same command again to go on")
    assert not terminal.screen.cursor.hidden
    assert "so far" not in terminal.text


def test_a_step_that_fails_says_so_below_what_had_finished(recipe):
    terminal = Terminal(recipe(make="Fail", inputs=", inputs: {number: total}", total=3), *COMMAND)
    assert terminal.end() == 2
    assert re.search(
        r"^setup/start .*\n+StepFailed: round-01/make failed: RuntimeError: the toy broke$", terminal.text, re.M
    )
    assert "so far" not in terminal.text
    assert not terminal.screen.cursor.hidden


@pytest.mark.parametrize(("words", "how"), [(["executor=inline"], {}), ([], {"TERM": "dumb"})])
def test_a_step_in_this_process_and_a_terminal_that_cannot_move_its_cursor_get_plain_lines(words, how, recipe):
    terminal = Terminal(recipe(total=3, make="Constant, value: 1"), *COMMAND, *words, **how)
    assert terminal.end() == 0
    assert b"\x1b[1A" not in terminal.written
    assert b"\x1b[?25l" not in terminal.written
    assert "rows: 4 steps run in" in terminal.text


def test_a_run_with_nothing_to_do_touches_no_terminal(recipe):
    place = recipe(total=1, make="Constant, value: 1")
    assert selfloop(*COMMAND[2:], cwd=place).returncode == 0
    terminal = Terminal(place, *COMMAND)
    assert terminal.end() == 0
    assert b"\x1b[?25l" not in terminal.written


@pytest.mark.skipif(
    not shutil.which("tmux"), reason="tmux is not installed: it breaks long lines when it gets narrower"
)
def test_a_terminal_that_gets_narrower_and_wider_shows_one_view(recipe, tmp_path):
    place, socket = recipe(total=60), f"selfloop-{os.getpid()}"
    words = f"exec {sys.executable} {' '.join(COMMAND)}"

    def tmux(*arguments):
        named = ["tmux", "-L", socket, "-f", "/dev/null", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(named, cwd=place, env=environment, capture_output=True, text=True, check=True).stdout

    def until(shown):
        end = time.monotonic() + 60
        while not re.search(shown, text := tmux("capture-pane", "-p")):
            assert time.monotonic() < end, text
            time.sleep(0.1)

    tmux("new-session", "-d", "-x", "100", "-y", "30", words)
    try:
        until("/60 rows")
        for columns in (40, 90, 55):
            tmux("resize-window", "-x", str(columns))
            before = re.search(r"(\d+)/60 rows", tmux("capture-pane", "-p"))
            until(rf"(?<!\b{before[1] if before else 0})/60 rows")
            text = tmux("capture-pane", "-p", "-S", "-100")
            assert len(re.findall(r"^rows  setup", text, re.MULTILINE)) == 1, text
            assert len(re.findall(r"^setup/start, for", text, re.MULTILINE)) == 1, text
    finally:
        tmux("kill-server")

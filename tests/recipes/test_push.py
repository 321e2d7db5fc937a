"""Pushing a real run's model: what would be uploaded, as far as a hub that does not answer."""

import json
import os
import re
import socket
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml

from loops.manifest import sha256
from reports.push import main
from tests.recipes.tiny import ROOT

HOSTILE = "a | b <script>alert(1)</script> `c`\n# d"


@pytest.fixture
def there(again, monkeypatch):
    """In a copy of the finished run."""
    monkeypatch.chdir(again)
    return again


def pushed(*words):
    """What was written, by name."""
    assert main([*words, "to=out"]) == 0
    return {path.relative_to("out").as_posix(): path for path in Path("out").rglob("*") if path.is_file()}


def sections(card):
    """The card's metadata, and its text by heading."""
    _, metadata, text = card.split("---\n", 2)
    parts = re.split(r"^## (.*)$", text, flags=re.MULTILINE)
    return yaml.safe_load(metadata), dict(zip(parts[1::2], parts[2::2], strict=True)), parts[0]


def test_what_would_be_uploaded_is_the_final_policy_and_a_card(there, capsys):
    files = pushed("repo=somebody/model")
    assert "Nothing was uploaded" in capsys.readouterr().out
    policy = Path("runs/dice/final/policy").resolve()
    manifest = json.loads((policy / "manifest.json").read_text())
    assert files.keys() == {*manifest["files"], "README.md", "selfloop.json"}
    for name, known in manifest["files"].items():
        assert sha256(files[name]) == known["sha256"]
    from transformers import AutoModelForCausalLM

    assert AutoModelForCausalLM.from_pretrained("out").num_parameters() > 0


def test_the_card_tells_recipe_rounds_data_metrics_lineage_and_the_command(there):
    files = pushed("repo=somebody/model")
    metadata, found, head = sections(files["README.md"].read_text())
    assert metadata == {"library_name": "transformers", "pipeline_tag": "text-generation", "tags": ["selfloop", "dice"]}
    assert "round 2" in head
    assert "2406.09760" in head
    assert 'pipeline("text-generation", "somebody/model")' in head
    assert "probe/accuracy" in head.replace("\\", "")
    accuracy = next(line for line in found["What was measured"].splitlines() if line.startswith("| probe: accuracy "))
    assert re.fullmatch(r"\| probe: accuracy \|( \d\.\d+ \\\[\d\.\d+, \d\.\d+\\\] \|){3} ?", accuracy)
    kinds = {line.split(" | ")[0][2:]: line.split(" | ")[2] for line in found["Data"].splitlines() if " | " in line}
    assert kinds["prompts"] == kinds["sft"] == kinds[r"offline\_pairs"] == "made the model"
    assert kinds[r"probe\_pairs"] == "measured only"
    assert "- learning\\_rate: 0.001" in found["How the weights were made"]
    link = os.path.basename(os.readlink("runs/dice/round-02/train"))
    assert f"| round-02/train | stages.train.dpo.DPO | {link} |" in found["Where they come from"]
    assert "round-02/probe" not in found["Where they come from"]
    assert sha256(files["model.safetensors"]) in found["Where they come from"]
    assert "python -m loops run recipes=dice model=local" in found["To make it again"]
    assert "Nobody has said one" in found["Licence"]


def test_beside_the_card_lies_the_same_with_nothing_left_out(there):
    told = json.loads(pushed()["selfloop.json"].read_text())
    plan = json.loads(Path("runs/dice/plan.json").read_text())
    assert [step["key"] for step in told["steps"]] == [step["key"] for step in plan["steps"]]
    assert told["model"] == "round-02/train"
    assert told["steps"][-1]["metrics"]["accuracy"] >= 0
    assert {len(step["digest"]) for step in told["steps"]} == {64}


def test_a_licence_is_what_the_user_says(there):
    metadata, found, _ = sections(pushed("license=apache-2.0")["README.md"].read_text())
    assert metadata["license"] == "apache-2.0"
    assert "apache-2.0" in found["Licence"]


def test_the_model_of_another_step_can_be_pushed_and_nothing_but_a_model(there, capsys):
    assert "round 1" in sections(pushed("step=round-01/train")["README.md"].read_text())[2]
    assert main(["to=other", "step=round-01/mine"]) == 1
    assert "round-01/mine makes Pairs" in capsys.readouterr().err


def test_a_damaged_model_is_not_pushed(there, capsys):
    weights = Path("runs/dice/final/policy/model.safetensors")
    time, whole = weights.stat(), bytearray(weights.read_bytes())
    whole[-1] ^= 1
    weights.write_bytes(whole)
    os.utime(weights, ns=(time.st_atime_ns, time.st_mtime_ns))
    assert main(["to=out"]) == 1
    assert "model.safetensors has other contents" in capsys.readouterr().err
    assert not Path("out").exists()


def test_texts_are_no_markup_and_secrets_are_left_out(there, monkeypatch):
    monkeypatch.setenv("PLANTED_TOKEN", "sesame-open-please")
    path = Path("runs/dice/plan.json")
    plan = json.loads(path.read_text())
    plan["words"].append("note=sesame-open-please")
    plan["steps"][0]["stage"]["fields"]["chat_template"] = HOSTILE
    path.write_text(json.dumps(plan))
    files = pushed()
    card = files["README.md"].read_text()
    assert "<PLANTED_TOKEN>" in card
    assert "sesame" not in card + files["selfloop.json"].read_text()
    line = next(line for line in card.splitlines() if "alert" in line)
    assert r"a \| b \<script\>alert(1)\</script\> \`c\` \# d" in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "usage"),
        (["dixe", "to=out"], "there is no such run"),
        (["to=out", "model=polixy"], "did you mean 'policy'?"),
        (["to=out", "repos=a/b"], "did you mean 'repo='?"),
        (["to=out", "--yes"], "nothing is uploaded"),
        (["to=runs"], "there is something already"),
        (["repo=noslash"], "expected USER/NAME"),
        (["repo=a/b", "public=perhaps"], "true or false"),
    ],
)
def test_what_cannot_be_meant_is_refused(there, words, said, capsys):
    assert main(words) == 1
    assert said in capsys.readouterr().err


def hub(*words, port, **environment):
    """The command with the real library, and a hub at this port."""
    told = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": f"http://127.0.0.1:{port}"}
    command = [sys.executable, "-m", "reports.push", *words]
    told |= {"HF_TOKEN": "hf_of_nobody_at_all", **environment}
    return subprocess.run(command, env=told, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)


@pytest.fixture
def silence():
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return closed.getsockname()[1]


class Empty(BaseHTTPRequestHandler):
    """A hub without a single repository, which makes none."""

    asked: list[str] = []

    def answer(self):
        Empty.asked.append(f"{self.command} {self.path}")
        self.send_response(404 if self.command == "GET" else 403)
        self.send_header("X-Error-Code", "RepoNotFound" if self.command == "GET" else "Forbidden")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = do_HEAD = answer

    def log_message(self, *_):
        pass


@pytest.fixture
def empty():
    """Its port."""
    Empty.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Empty) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_nothing_is_sent_before_somebody_has_seen_where_it_goes_and_said_yes(there, empty):
    done = hub("repo=somebody/model", port=empty)
    assert done.returncode == 0, done.stderr
    assert "somebody/model (new, private)" in done.stdout
    assert "  model.safetensors\n" in done.stdout
    assert "nothing was uploaded; --yes uploads it" in done.stdout
    assert {asked.split()[0] for asked in Empty.asked} == {"GET"}


def test_what_the_hub_refuses_is_said_in_a_line(there, empty):
    done = hub("repo=somebody/model", "--yes", port=empty)
    assert done.returncode == 2, done.stdout
    assert "POST /api/repos/create" in Empty.asked
    assert done.stderr.startswith("RemoteFailed: the hub at ")
    assert done.stderr.count("\n") == 1


def test_a_hub_that_does_not_answer_is_said_in_a_line(there, silence):
    done = hub("repo=somebody/model", "--yes", port=silence)
    assert done.returncode == 2, done.stderr
    assert re.match(r"RemoteFailed: the hub at http://127\.0\.0\.1:\d+: ", done.stderr)
    assert done.stderr.count("\n") == 1
    assert "hf_of_nobody" not in done.stdout + done.stderr


def test_whoever_is_not_logged_in_is_told_how(there, tmp_path, silence):
    done = hub("repo=somebody/model", port=silence, HF_TOKEN="", HF_HOME=str(tmp_path))
    assert done.returncode == 1
    assert "hf auth login" in done.stderr

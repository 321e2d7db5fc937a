"""The page of a real run: whole, self-contained, and with nothing in it that a model could run."""

import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from loops.manifest import sha256
from reports.__main__ import main
from reports.cost import by_node, costs, total
from reports.seen import seen
from tests.recipes.tiny import ROOT, environment

HOSTILE = "<script>document.title='run'</script><img src=x onerror=alert(1)></div></style><!-- {{ 7*7 }} \x1b[2J\u202e"
SVG = {"svg", "g", "line", "polyline", "circle", "rect", "text", "title"}
OURS = SVG | set(re.findall(r"<([a-z]\w*)", (ROOT / "reports/page.html.j2").read_text()))
VOID = {"meta"}


class Page(HTMLParser):
    """Every element with its attributes, and the text; whether each is closed by its own end."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts, self.open = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, *each) for each in attributes]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, *each) for each in attributes]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "title"):
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


@pytest.fixture
def there(again, monkeypatch):
    """In a copy of the finished run."""
    monkeypatch.chdir(again)
    return again


def planted(step, columns, text):
    """Put a text in place of what the model wrote in a step's table, as if it had."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    for part in Path(os.path.realpath(f"runs/dice/{step}")).glob("part-*.parquet"):
        table = parquet.read_table(part)
        rows = table.to_pylist()
        for row in rows:
            row |= {name: [{"role": "assistant", "content": text}] for name in columns}
        parquet.write_table(pa.Table.from_pylist(rows, schema=table.schema), part)
        as_made = {"size": part.stat().st_size}
        manifest = part.parent / "manifest.json"
        told = json.loads(manifest.read_text())
        told["files"][part.name] |= as_made | {"sha256": sha256(part)}
        manifest.write_text(json.dumps(told))


def page(path):
    return Page(Path(path).read_text(encoding="utf-8"))


def test_the_page_of_a_run_says_everything_that_a_person_asks(there, capsys):
    assert main([]) == 0
    told = capsys.readouterr().out
    assert "runs/dice/report.html" in told
    found = page("runs/dice/report.html")
    verdict = next(line for line in found.texts if "probe/accuracy" in line or "No verdict" in line)
    assert verdict in told
    for heading in (
        *("Rounds", "Curves over rounds", "Scores and lengths", "What gave no label", "Judge health", "Trainings"),
        *("Pairs with the widest and the narrowest margins", "Cost", "Where it comes from, and how to do it again"),
    ):
        assert heading in found.texts
    for word in ("probe: accuracy", "score: score", "generate: characters", "mine: dropped", "round-02/mine", "commit"):
        assert word in found.text
    assert "python -m loops run recipes=dice model=local" in found.text
    assert found.tags.count("article") > 4
    assert found.tags.count("svg") >= 8


def test_the_page_needs_nothing_else_and_allows_no_script(there):
    main(["dice"])
    text = Path("runs/dice/report.html").read_text()
    found = Page(text)
    assert set(found.tags) <= OURS
    names = {name for _, name, _ in found.attributes}
    assert not {name for name in names if name.startswith("on")} | names & {"href", "src", "style", "action", "data"}
    policy = next(value for tag, name, value in found.attributes if name == "content" and "default-src" in value)
    assert "default-src 'none'" in policy
    assert "script" not in policy
    assert "unsafe" not in policy
    assert not re.search(r"url\(|@import", text)
    assert ("meta", "content", "width=device-width, initial-scale=1") in found.attributes
    assert "prefers-color-scheme: dark" in text


def test_the_policy_allows_the_style_that_is_there(there):
    import base64
    import hashlib

    main(["dice"])
    text = Path("runs/dice/report.html").read_text()
    style = re.search("<style>(.*?)</style>", text, re.DOTALL).group(1)
    assert base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() in text


def test_nothing_that_a_model_wrote_becomes_an_element(there):
    main(["dice"])
    before = page("runs/dice/report.html")
    for step in ("round-01/mine", "round-02/mine"):
        planted(step, ["prompt", "chosen", "rejected"], HOSTILE)
    main(["dice"])
    after = page("runs/dice/report.html")
    assert [tag for tag in after.tags if tag not in SVG] == [tag for tag in before.tags if tag not in SVG]
    assert {name for _, name, _ in after.attributes} == {name for _, name, _ in before.attributes}
    assert "<script>document.title='run'</script><img src=x onerror=alert(1)></div></style><!-- {{ 7*7 }}" in after.text
    assert r"\x1b[2J\u202e" in after.text
    assert not {"\x1b", "\u202e"} & set(Path("runs/dice/report.html").read_text())


def test_a_page_of_two_runs_names_what_differs_and_shows_both(there, tiny_model_path, capsys):
    shutil.copytree("runs/dice", "runs/other", symlinks=True)
    plan = json.loads(Path("runs/other/plan.json").read_text())
    for step in plan["steps"]:
        if step["id"] == "round-02/train":
            step["stage"]["fields"]["loss"]["fields"]["beta"] = 0.25
            step["key"] = "0" * 16
    Path("runs/other/plan.json").write_text(json.dumps(plan))
    assert main(["dice", "other"]) == 0
    assert "in dice" in capsys.readouterr().out
    found = page("runs/dice/compare-other.html")
    assert "round-02/train: loss.beta: 0.1, there 0.25" in found.text
    assert "23 of 23 steps" in found.text
    assert "22 of 23 steps" in found.text
    assert found.texts.count("Cost") == 1
    assert set(found.tags) <= OURS


def test_a_run_that_has_only_begun_has_a_page_too(there):
    plan = json.loads(Path("runs/dice/plan.json").read_text())
    for step in plan["steps"][1:]:
        step["key"] = f"{int(step['key'], 16) ^ 1:016x}"
    Path("runs/dice/plan.json").write_text(json.dumps(plan))
    assert main(["dice"]) == 0
    assert "1 of 23 steps" in page("runs/dice/report.html").text


def test_the_cost_is_the_sum_of_its_steps_each_once(there):
    from loops import record

    run = seen(record.read(Path("runs/dice")))
    steps = costs(run)
    assert len(steps) == len({step.key for step in run.record.steps})
    assert sum(cost.seconds for cost in by_node(run)) == pytest.approx(total(steps, "all").seconds)
    assert total(steps, "all").gpu_hours == 0, "the tests see no GPU, and the manifests say so"
    tables = [path for path in Path("runs/dice").glob("*/*/part-*.parquet") if path.parts[-2] in ("generate", "answer")]
    import pyarrow.parquet as parquet

    generated = sum(len(ids) for path in tables for ids in parquet.read_table(path)["completion_tokens"].to_pylist())
    assert total(steps, "all").tokens == pytest.approx(generated)


def test_a_server_that_is_down_costs_a_warning_and_no_page(there, capsys):
    plan = json.loads(Path("runs/dice/plan.json").read_text())
    plan["tracker"] = {"_target_": "loops.tracker.MLflow", "uri": "http://127.0.0.1:9", "experiment": "e"}
    Path("runs/dice/plan.json").write_text(json.dumps(plan))
    assert main(["dice"]) == 0
    assert "does not keep runs/dice/report.html" in capsys.readouterr().err
    assert Path("runs/dice/report.html").exists()


@pytest.mark.parametrize("words", [["dixe"], ["dice", "dice", "dice"], ["dice", "rows=3"], ["runs=none"]])
def test_what_it_does_not_know_is_refused(there, words, capsys):
    assert main(words) == 1
    assert capsys.readouterr().err.startswith("RecipeError: ")


def test_the_page_is_made_without_torch(there):
    script = "import sys; from reports.__main__ import main; code = main(['dice']); "
    script += "heavy = {'torch', 'transformers', 'trl', 'mlflow', 'matplotlib'} & set(sys.modules); "
    script += "assert not heavy, heavy; sys.exit(code)"
    done = subprocess.run([sys.executable, "-c", script], env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_show_prints_conversations_of_a_real_run(there):
    done = subprocess.run(
        [sys.executable, "-m", "loops", "show", "round-02/mine", "rows=1"],
        env={**environment(), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert any(line[:2] == ["prompt", "user:"] for line in lines)
    assert any(line[:2] == ["chosen", "assistant:"] for line in lines)
    assert ["reads", "scores", "round-02/score"] in lines

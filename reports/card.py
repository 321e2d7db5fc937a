"""What goes to a hub beside a model: a card that a person reads, and the same as JSON with nothing left out.

The one decision: a card says what the run's files say and nothing more: numbers with their intervals, keys and digests.
What nobody has told it, such as a licence, it does not make up.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loops.fingerprint import flat
from loops.plain import plain
from loops.record import Record, Recorded
from loops.secrets import hidden
from loops.shipped import headline, recipes
from reports.intervals import ENDS, measured
from reports.page import provenance
from reports.seen import Made, Seen
from reports.tables import Grid, closing
from reports.verdict import verdicts

HERE = Path(__file__).parent
TEXT = 72
"""The most letters of a field that are shown."""


def card(run: Seen, model: Made, repo: str, licence: str | None) -> str:
    """The model card: metadata for the hub, then Markdown.

    Args:
        run: what the model is of.
        model: the step that made it.
        repo: where it will lie, ``USER/NAME``; or a placeholder.
        licence: as the hub abbreviates it; None: it is left to whoever publishes the model.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(loader=FileSystemLoader(HERE), undefined=StrictUndefined, trim_blocks=True)
    environment.filters["cell"] = _cell
    known = recipes().get(run.record.name)
    text = environment.get_template("card.md.j2").render(
        metadata=_metadata(run, model, licence),
        repo=repo,
        licence=licence,
        run=run.record,
        round=model.step.round,
        step=model.step,
        headline=headline(known) if known else "",
        verdicts=verdicts(run),
        measures=_measures(run),
        closing=closing(run),
        data=_data(run, model),
        fields=_fields(model.step),
        lineage=_lineage(run, model),
        weights={name: told["sha256"] for name, told in model.manifest.files.items() if name.endswith(".safetensors")},
        provenance=provenance(run),
    )
    return hidden(text)


def told(run: Seen, model: Made) -> str:
    """Every step of the run that has finished, with fields, inputs' names, metrics, key and digest, as JSON."""
    record = run.record
    steps = [asdict(each.step) | {"metrics": each.metrics, "digest": each.digest} for each in run.made]
    whole = {
        "recipe": record.name,
        "run": record.run,
        "plan": record.key,
        "command": record.command,
        "model": model.step.id,
        "key": model.step.key,
        "files": model.manifest.files,
        "steps": steps,
        "source": record.source,
    }
    return hidden(json.dumps(whole, indent=1, allow_nan=False))


def _metadata(run: Seen, model: Made, licence: str | None) -> str:
    """What the hub reads, as YAML: what the model was made of that lies there, and not what it was measured with."""
    from huggingface_hub import ModelCardData

    needed = _needed(run.record, model.step)
    hubs = [each.step for each in run.made if each.step.id in needed and "repo" in each.step.stage["fields"]]
    known = ModelCardData(
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["selfloop", run.record.name],
        license=licence,
        base_model=[step.stage["fields"]["repo"] for step in hubs if step.kind == "Model"] or None,
        datasets=[step.stage["fields"]["repo"] for step in hubs if step.kind != "Model"] or None,
    )
    return str(known.to_yaml())


def _needed(record: Record, step: Recorded) -> set[str]:
    """The names of the steps that a model comes from, itself among them."""
    found, waiting = set[str](), [step.id]
    while waiting:
        id = waiting.pop()
        if id not in found:
            found.add(id)
            waiting += record.step(id).inputs.values()
    return found


def _measures(run: Seen) -> Grid:
    """What reports have measured with an interval, a column a round."""
    rounds = sorted({each.step.round for each in run.of_kind("Report")})
    rows = []
    for node in dict.fromkeys(each.step.node for each in run.of_kind("Report")):
        found = run.by_round(node)
        for name in dict.fromkeys(name for metrics in found.values() for name in metrics if not name.endswith(ENDS)):
            values = {number: measured(metrics, name) for number, metrics in found.items() if name in metrics}
            if any(value.sure for value in values.values()):
                cells = [str(values[number]) if number in values else "–" for number in rounds]
                rows.append([f"{node}: {name.replace('_', ' ')}", *cells])
    return Grid(head=["", *(f"round {number}" if number else "start" for number in rounds)], rows=rows)


def _data(run: Seen, model: Made) -> Grid:
    """What the run began with that is data, and whether the model has learnt from it."""
    needed = _needed(run.record, model.step)
    rows = []
    for each in (each for each in run.made if not each.step.inputs):
        used = "made the model" if each.step.id in needed else "measured only"
        source = str(each.step.stage["type"]).rpartition(".")[2]
        fields = ", ".join(f"{name} {value}" for name, value in _fields(each.step))
        rows.append([each.step.node, each.step.kind, used, f"{source}: {fields}", each.digest[:16]])
    return Grid(head=["", "kind", "used", "what it is", "digest"], rows=rows)


def _lineage(run: Seen, model: Made) -> Grid:
    needed = _needed(run.record, model.step)
    own = [each for each in run.made if each.step.id in needed]
    rows = [[each.step.id, str(each.step.stage["type"]), each.step.key, each.digest[:16]] for each in own]
    return Grid(head=["step", "stage", "key", "digest"], rows=rows)


def _fields(step: Recorded) -> list[tuple[str, str]]:
    known = {name: value for name, value in flat(step.stage).items() if value is not None and name != "stage"}
    return [(name, plain(str(value), TEXT)) for name, value in known.items() if not name.endswith("version")]


def _cell(value: Any) -> str:
    """A text in a table or a line of Markdown, of which nothing is markup."""
    text = " ".join(plain(str(value)).split())
    for mark in "\\`*_[]<>|#~":
        text = text.replace(mark, f"\\{mark}")
    return text

"""The page: one HTML file of one run, or of two beside each other, which needs nothing else.

The one decision: a page holds no script and loads nothing, and its policy says so to the browser: even if a text that
a model wrote were not escaped, nothing in it could run. All text passes through the template, which escapes it.
"""

import base64
import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from loops.differences import all_differences
from loops.plain import duration, plain
from reports import cost, tables
from reports.distributions import distributions
from reports.examples import Examples, examples
from reports.seen import Seen
from reports.verdict import Verdict, between, verdicts

HERE = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class RunView:
    """What the page shows of one run alone."""

    name: str
    recipe: str
    color: int
    finished: int
    planned: int
    last_round: int
    verdicts: list[Verdict]
    closing: tables.Grid
    trainings: list[tables.Chart]
    lost: tables.Grid
    judges: tables.Grid
    examples: list[Examples]
    nodes: list[cost.Cost]
    steps: list[cost.Cost]
    total: cost.Cost
    provenance: list[tuple[str, str]]
    command: str
    source: str


def page(runs: Sequence[Seen]) -> str:
    """The HTML of one run or two."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"plain": plain, "duration": duration}
    style = (HERE / "style.css").read_text(encoding="utf-8")
    views = [_view(run, color) for color, run in enumerate(runs)]
    return environment.get_template("page.html.j2").render(
        title=" and ".join(view.name for view in views),
        style=style,
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        runs=views,
        between=between(*runs) if len(runs) > 1 else [],
        differences=all_differences(*(run.record for run in runs)) if len(runs) > 1 else [],
        curves=tables.curves(runs),
        distributions=distributions(runs),
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def write(path: Path, text: str) -> None:
    """Write the page, whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8", errors="backslashreplace")
    os.replace(draft, path)


def _view(run: Seen, color: int) -> RunView:
    steps = cost.costs(run)
    return RunView(
        name=run.record.run,
        recipe=run.record.name,
        color=color,
        finished=len(run.made),
        planned=len(run.record.steps),
        last_round=run.last_round,
        verdicts=verdicts(run),
        closing=tables.closing(run),
        trainings=tables.trainings(run),
        lost=tables.lost(run),
        judges=tables.judges(run),
        examples=examples(run),
        nodes=cost.by_node(run),
        steps=steps,
        total=cost.total(steps, "all"),
        provenance=provenance(run),
        command=run.record.command,
        source=run.record.source,
    )


def provenance(run: Seen) -> list[tuple[str, str]]:
    """Where the steps came from; several lines where they came from several places."""
    found: Counter[tuple[str, str]] = Counter()
    for each in run.made:
        origin = each.manifest.provenance
        changed = f", with changes (diff {origin['diff_sha256'][:12]})" if origin.get("diff_sha256") else ""
        found["commit", f"{origin.get('commit') or 'unknown'}{changed}"] += 1
        found["Python", f"{origin.get('python')} on {origin.get('platform')}"] += 1
        found["GPUs", ", ".join(origin["gpus"]) or "none" if "gpus" in origin else "not recorded"] += 1
        found["versions", ", ".join(f"{name} {version}" for name, version in origin.get("versions", {}).items())] += 1
    several = Counter(name for name, _ in found)
    return [(name, f"{told} ({n} steps)" if several[name] > 1 else told) for (name, told), n in sorted(found.items())]

"""The command line: ``selfloop-push [RUN] repo=USER/NAME`` puts a run's model on the Hugging Face hub.

The one decision: what would be uploaded can be looked at first, with ``to=DIRECTORY``, and is exactly what is uploaded.
Nothing is sent before a person has seen where it goes and who can see it there, and has said yes.

Exit codes: 0 done, 1 refused, 2 the hub did not answer or refused.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from loops import record
from loops.console import say
from loops.errors import LoopError, RecipeError, nearest
from loops.record import Record, Recorded
from loops.secrets import hidden
from reports.card import card, told
from reports.hub import Package, upload, write
from reports.seen import Made, seen

WORDS = ("repo", "to", "model", "step", "license", "public", "runs")
USAGE = """selfloop-push [RUN] repo=USER/NAME [--yes]

  RUN              the latest run in runs/ if none is named
  repo=USER/NAME   where it goes; made if it is not there, and private unless public=true
  to=DIRECTORY     write what would be uploaded there, and upload nothing
  model=policy     which of the run's results, or
  step=round-01/train  which model of a step
  license=NAME     as the hub abbreviates it (apache-2.0); left out if it is not said
  runs=DIRECTORY   where runs are, if not in runs/
  --yes            upload without asking"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or upload what these words name; returns the exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if {"-h", "--help"} & set(words):
        say(f"{__doc__}\n{USAGE}")
        return 0
    try:
        push([word for word in words if word != "--yes"], _yes if "--yes" in words else _ask)
    except LoopError as refused:
        print(hidden(f"{type(refused).__name__}: {refused}"), file=sys.stderr)
        return 1 if isinstance(refused, RecipeError) else 2
    return 0


def push(words: Sequence[str], agreed: Callable[[], bool]) -> None:
    """Write or upload a run's model.

    Args:
        agreed: whether what was said may be uploaded.

    Raises:
        RecipeError: the words are others, or there is no such model.
        RemoteFailed: the hub did not answer, or refused.
    """
    names = [word for word in words if "=" not in word]
    named = dict(word.split("=", 1) for word in words if "=" in word)
    _check(names, named, sure=agreed is _yes)
    kept = record.chosen(Path(named.get("runs", "runs")), names[0] if names else "")
    step = kept.step(named["step"]) if "step" in named else _result(kept, named.get("model", "policy"))
    package = _package(kept, step, named.get("repo", "USER/NAME"), named.get("license"))
    if named.get("to"):
        write(package, Path(named["to"]))
    else:
        upload(package, named["repo"], named.get("public") == "true", agreed)


def _check(names: Sequence[str], named: Mapping[str, str], sure: bool) -> None:
    """
    Raises:
        RecipeError: these words mean nothing, or not together.
    """
    for name in named:
        if name not in WORDS:
            raise RecipeError(f"push knows no {name}={nearest(name, [f'{word}=' for word in WORDS])}")
    if len(names) > 1 or not (named.get("repo") or named.get("to")) or {"step", "model"} <= set(named):
        raise RecipeError(f"usage: {USAGE}")
    if named.get("to") and (sure or "public" in named):
        raise RecipeError("with to= nothing is uploaded, so neither --yes nor public= means anything")
    if named.get("public", "false") not in ("true", "false"):
        raise RecipeError(f"public={named['public']}: true or false")


def _result(kept: Record, name: str) -> Recorded:
    """The step whose model the run has handed on under this name."""
    links = {link.name: link.resolve().name for link in (kept.place / "final").glob("[!.]*")}
    if name not in links:
        way = nearest(name, links) if links else f"; it has not finished: selfloop status run={kept.run}, or say step="
        raise RecipeError(f"{kept.run} has no result called {name!r}{way}")
    made = [step for step in kept.steps if step.key == links[name]]
    if not made:
        raise RecipeError(f"{kept.run}/final/{name} is of another plan; say the command of that run again")
    return made[-1]


def _package(kept: Record, step: Recorded, repo: str, licence: str | None) -> Package:
    if step.kind != "Model":
        raise RecipeError(f"{step.id} makes {step.kind}, and a hub of models takes a Model")
    store = kept.opened()
    manifest, wrong = store.fetch(step.key), store.damage(step.key, deep=True)
    if manifest is None or wrong:
        reason = f"it is damaged: {'; '.join(wrong)}" if wrong else "it is not made yet"
        raise RecipeError(f"{kept.run} has no {step.id} to push: {reason}. The next run makes it")
    run, model = seen(kept), Made(step=step, manifest=manifest, path=store.path(step.key))
    return Package(
        title=f"{kept.run}: {step.id}, {step.key}",
        files={name: model.path / name for name in manifest.files},
        texts={"README.md": card(run, model, repo, licence), "selfloop.json": told(run, model)},
    )


def _yes() -> bool:
    return True


def _ask() -> bool:
    return sys.stdin.isatty() and input("upload it? [y/N] ").strip().lower() == "y"


if __name__ == "__main__":
    sys.exit(main())

"""Answers to conversations, drawn by an engine.

The one decision: rendering, ends of turn and texts are made in this one place for sampling, judging and inventing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.artifacts import Message, Model
from stages.engines.engine import Engine, Request, Sampling
from stages.engines.journal import Journal


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One answer: its ids, with the end-of-turn id if the model ended it, its text without, and the prompt's ids."""

    prompt_tokens: list[int]
    tokens: list[int]
    text: str
    ended: bool


def draw(
    engine: Engine,
    model: Model,
    conversations: Sequence[Sequence[Message]],
    seeds: Sequence[list[int]],
    sampling: Sampling,
    kept: Path,
) -> list[list[Drawn]]:
    """For each conversation one answer a seed.

    Args:
        kept: a folder that survives a kill, ``out.scratch``: answers that ended before one are not drawn again.
    """
    requests = _requests(model, conversations, seeds)
    return _drawn(engine, model, requests, sampling, Journal(kept, requests))


def draw_each(
    engine: Engine,
    model: Model,
    conversations: Sequence[Sequence[Message]],
    seeds: Sequence[list[int]],
    sampling: Sampling,
    kept: Path,
) -> list[list[Drawn] | str]:
    """As ``draw``, but where the engine fails each conversation is asked alone once more; what went wrong with it, in
    words, stands in the place of one that fails again.

    Raises:
        Exception: the engine's own, if more than a tenth of what was asked fails: then it is not the conversations.
    """
    requests = _requests(model, conversations, seeds)
    journal = Journal(kept, requests)
    asked = sum(bool(journal.missing(request).seeds) for request in requests)
    try:
        return [*_drawn(engine, model, requests, sampling, journal)]
    except OSError:  # a full disk or a lost connection is nobody's conversation, here as below
        raise
    except Exception:
        found: list[list[Drawn] | str] = []
        for request in requests:
            try:
                found += _drawn(engine, model, [request], sampling, journal)
            except OSError:
                raise
            except Exception as wrong:
                found.append(f"{type(wrong).__name__}: {wrong}")
                if sum(isinstance(one, str) for one in found) > max(1, asked // 10):
                    raise
        return found


def _requests(model: Model, conversations: Sequence[Sequence[Message]], seeds: Sequence[list[int]]) -> list[Request]:
    from stages.engines.chat import prompt_tokens
    from stages.engines.models import load_tokenizer

    tokenizer = load_tokenizer(model)
    return [
        Request(prompt=prompt_tokens(tokenizer, conversation), seeds=own)
        for conversation, own in zip(conversations, seeds, strict=True)
    ]


def _drawn(
    engine: Engine, model: Model, requests: Sequence[Request], sampling: Sampling, journal: Journal
) -> list[list[Drawn]]:
    """What the journal does not know is asked of the engine."""
    from stages.engines.chat import answer_text
    from stages.engines.models import end_of_turn, load_tokenizer

    missing = [journal.missing(request) for request in requests]
    asked = [request for request in missing if request.seeds]
    for answer in engine.generate(model, asked, sampling) if asked else ():
        journal.add(asked[answer.request].prompt, asked[answer.request].seeds[answer.seed], answer.ids)
    tokenizer, ends = load_tokenizer(model), end_of_turn(model)
    return [
        [
            Drawn(
                prompt_tokens=request.prompt,
                tokens=tokens,
                text=answer_text(tokenizer, tokens, ends),
                ended=bool(tokens) and tokens[-1] in ends,
            )
            for tokens in journal.answers(request)
        ]
        for request in requests
    ]

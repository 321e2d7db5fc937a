"""Preference pairs as token ids, and their log-probs under a model.

The one decision: what a row knows already (the ids that were generated, the log-probs that scoring had) is used, and
what it does not know is made here, in one way for training and for evaluation.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from stages.artifacts import Model, Pairs, Row
from stages.engines.engine import Engine
from stages.engines.packed import Sequenced
from stages.engines.passes import each_batch


def tokenised(pairs: Pairs, model: Model, max_tokens: int, counts: Counter[str]) -> Iterator[Row]:
    """Rows with their token ids. Those that cannot be rendered or are too long are left out and counted by rule."""
    from stages.engines.chat import answer_tokens, prompt_tokens
    from stages.engines.models import end_of_turn, load_tokenizer

    tokenizer, ends = load_tokenizer(model), end_of_turn(model)
    for row in pairs.rows():
        try:
            prompt = row["prompt_tokens"] or prompt_tokens(tokenizer, row["prompt"])
            answers = {
                f"{side}_tokens": row[f"{side}_tokens"] or answer_tokens(tokenizer, row["prompt"], row[side], ends)
                for side in ("chosen", "rejected")
            }
        except ValueError:
            counts["dropped_unrenderable"] += 1
            continue
        if len(prompt) + max(map(len, answers.values())) > max_tokens:
            counts["dropped_overlong"] += 1
            continue
        counts["pairs"] += 1
        yield {**row, "prompt_tokens": prompt, **answers}


def pair_logprobs(
    rows: Sequence[Row],
    model: Model,
    what: str,
    batch_tokens: int,
    engine: Engine | None = None,
    four_bits: bool = False,
) -> list[tuple[float, float]]:
    """(log π(chosen), log π(rejected)) of each tokenised row, in nats.

    Args:
        what: the name of the progress bar.
        engine: whose workers pass them, if it has some.
        four_bits: see load_model.

    Raises:
        ValueError: one of them is not finite.
    """

    def made(batch: list[Sequenced]) -> list[float]:
        from stages.engines.logprobs import score_sequences
        from stages.engines.models import load_model

        found = dict(score_sequences(load_model(model, four_bits=four_bits), batch, batch_tokens))
        return [found[place] for place in range(len(batch))]

    sequences = [(row["prompt_tokens"], row[f"{side}_tokens"]) for row in rows for side in ("chosen", "rejected")]
    sums = [0.0] * len(sequences)
    for places, values in each_batch(engine, sequences, batch_tokens, made, what):
        for place, value in zip(places, values, strict=True):
            if not math.isfinite(value):
                side = ("chosen", "rejected")[place % 2]
                raise ValueError(
                    f"{what}: log π of the {side} answer of pair {place // 2 + 1} of {len(rows)} is {value}. "
                    f"Likely causes: weights of {model.identity} that are not finite, or activations that overflow"
                )
            sums[place] = value
    return list(zip(sums[::2], sums[1::2], strict=True))

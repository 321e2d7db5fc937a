"""What a preference trainer is fed: token ids, and the reference's log-probs.

The one decision: log-probs that scoring has already had are taken over if they are the reference's, and every other
pair gets its own once, from the same function, before training begins. Training holds no reference model.
"""

from collections import Counter
from collections.abc import Sequence

from stages.artifacts import Model, Pairs, Row

BATCH_TOKENS = 4096


def pair_rows(
    pairs: Pairs, policy: Model, reference: Model, max_tokens: int, needs: Sequence[str] = ()
) -> tuple[list[Row], Counter[str]]:
    """Rows in the names of trl's columns (prompt_ids, chosen_ids, rejected_ids, ref_chosen_logps, ref_rejected_logps)
    with the columns that the loss needs, and counts of pairs, of what was dropped by rule, and of log-probs that were
    known.

    Raises:
        ValueError: no pair is left, or a pair does not say what the loss needs.
    """
    from stages.engines.models import check_precision
    from stages.engines.pair_logprobs import pair_logprobs, tokenised

    check_precision(policy, reference)
    counts: Counter[str] = Counter()
    rows = list(tokenised(pairs, policy, max_tokens, counts))
    if not rows:
        raise ValueError(f"no pair is left to train on: {dict(counts)}")
    _check_columns(rows, needs)
    unknown = [row for row in rows if row["scored_policy"] != reference.identity]
    counts["known_logps"] = len(rows) - len(unknown)
    if unknown:
        passed = pair_logprobs(unknown, reference, "reference log-probs", BATCH_TOKENS)
        for row, (chosen, rejected) in zip(unknown, passed, strict=True):
            row |= {"chosen_logp": chosen, "rejected_logp": rejected}
    return [
        {
            "prompt_ids": row["prompt_tokens"],
            "chosen_ids": row["chosen_tokens"],
            "rejected_ids": row["rejected_tokens"],
            "ref_chosen_logps": row["chosen_logp"],
            "ref_rejected_logps": row["rejected_logp"],
            **{name: row[name] for name in needs},
        }
        for row in rows
    ], counts


def _check_columns(rows: list[Row], needs: Sequence[str]) -> None:
    for name in needs:
        missing = sum(row[name] is None for row in rows)
        if missing:
            raise ValueError(
                f"the loss reads {name!r}, but {missing} of {len(rows)} pairs have none: mine from scores that are "
                "log-odds (preference_scale), and mix no offline pairs in"
            )

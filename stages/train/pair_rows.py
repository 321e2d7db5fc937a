"""What a preference trainer is fed: token ids, and other models' log-probs of them.

The one decision: log-probs that scoring has already had are taken over if they are the wanted model's, and every other
pair that is trained on gets its own once, from the same function, before training begins. Training holds no reference
model.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stages.artifacts import Model, Pairs, Row

if TYPE_CHECKING:
    from stages.train.training import Training

BATCH_TOKENS = 4096
OWN = ("prompt_tokens", "chosen_tokens", "rejected_tokens", "chosen_logp", "rejected_logp", "scored_policy")


def trainable(
    pairs: Pairs, policy: Model, max_tokens: int, needs: Sequence[str] = (), carried: bool = True
) -> tuple[list[Row], Counter[str]]:
    """Tokenised rows with the log-probs that they have and the columns that the loss needs, and counts of pairs and of
    what was dropped by rule. Log-probs that are not ``carried`` are nobody's.

    Raises:
        ValueError: no pair is left, or a pair does not say what the loss needs.
    """
    from stages.engines.pair_logprobs import tokenised

    counts: Counter[str] = Counter()
    rows = [{name: row[name] for name in (*OWN, *needs)} for row in tokenised(pairs, policy, max_tokens, counts)]
    if not rows:
        raise ValueError(
            f"no pair is left to train on: {dict(counts)}. Likely causes: a small max_tokens, or another chat template"
        )
    for name in needs:
        missing = sum(row[name] is None for row in rows)
        if missing:
            raise ValueError(
                f"the loss reads {name!r}, but {missing} of {len(rows)} pairs have none: mine from scores that are "
                "log-odds (preference_scale), and mix no offline pairs in"
            )
    for row in () if carried else rows:
        row["scored_policy"] = None
    return rows, counts


def give_logprobs(rows: Sequence[Row], policy: Model, model: Model, name: str, settings: "Training") -> None:
    """Add the model's log-probs as ``{name}_chosen_logps`` and ``{name}_rejected_logps`` to every row; a row that
    stands there twice is passed once; in four bits where the policy is trained so.

    Raises:
        ValueError: policy and model are stored in different precisions.
    """
    from stages.engines.models import check_precision
    from stages.engines.pair_logprobs import pair_logprobs

    check_precision(policy, model)
    distinct = list({id(row): row for row in rows}.values())
    unknown = [row for row in distinct if not is_known(row, model)]
    how, what = (settings.reading, settings.four_bits), f"{name} log-probs"
    passed = iter(pair_logprobs(unknown, model, what, BATCH_TOKENS, *how) if unknown else [])
    for row in distinct:
        logps = (row["chosen_logp"], row["rejected_logp"]) if is_known(row, model) else next(passed)
        row[f"{name}_chosen_logps"], row[f"{name}_rejected_logps"] = logps


def is_known(row: Row, model: Model) -> bool:
    """Whether the row has the model's log-probs."""
    return bool(row["scored_policy"] == model.identity)

"""Pairs with a model's log-probs: computed once, kept with the pairs and the name of the model that gave them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import ClassVar

from stages.artifacts import Model, Pairs
from stages.engines.engine import Engine, there
from stages.engines.memory import passing
from stages.foreseen import Foreseen, Size, passed


@dataclass(frozen=True, kw_only=True)
class LogProbs:
    """Fill ``chosen_logp`` and ``rejected_logp`` with the model's token-summed log-probs (nats).

    Args:
        max_tokens: prompt and answer together; a longer pair is dropped and counted.
        batch_tokens: tokens that are passed at once; speed only.
        engine: whose workers pass them, if it has some; not part of the identity.
    """

    VERSION: ClassVar[int] = 1

    max_tokens: int = 4096
    batch_tokens: int = field(default=4096, compare=False)
    engine: Engine | None = field(default=None, compare=False)

    def foresee(self, *, pairs: Size, model: Size) -> Foreseen:
        """Both answers of each pair passed."""
        memory = passing(model, self.batch_tokens)
        return there(self.engine, passed(pairs, model, answers=2 * pairs.rows, memory=memory))

    def __call__(self, *, pairs: Pairs, model: Model, out: Pairs) -> Mapping[str, float]:
        """Every pair that can be rendered, in order.

        Raises:
            ValueError: none can.
        """
        from stages.engines.pair_logprobs import pair_logprobs, tokenised

        counts: Counter[str] = Counter()
        rows = list(tokenised(pairs, model, self.max_tokens, counts))
        if not rows:
            raise ValueError(
                f"no pair is left: {dict(counts)}. Likely causes: a small max_tokens, or another chat template"
            )
        known = pair_logprobs(rows, model, "log-probs", self.batch_tokens, self.engine)
        out.write(
            {**row, "chosen_logp": chosen, "rejected_logp": rejected, "scored_policy": model.identity}
            for row, (chosen, rejected) in zip(rows, known, strict=True)
        )
        return {**counts, "chosen_logp": fmean(c for c, _ in known), "rejected_logp": fmean(r for _, r in known)}

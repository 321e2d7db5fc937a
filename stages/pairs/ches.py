"""Pairs whose two answers the model can tell apart (CHES, as a filter against likelihood displacement).

The one decision: pairs are compared with each other and not with a threshold, for CHES has the unit of a model's hidden
states and means nothing by itself.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import TYPE_CHECKING, ClassVar

from stages.artifacts import Model, Pairs, Row
from stages.engines.engine import Engine, there
from stages.engines.memory import passing
from stages.engines.packed import Sequenced
from stages.foreseen import Foreseen, Size, passed

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class CHES:
    """Keep the share of the pairs with the lowest length-normalised CHES under the policy (Razin et al., 2024, arXiv
    2410.08847). Training on pairs with a high one lowers the likelihood of the chosen answer too.

    Args:
        keep: the share that is kept, in (0, 1]. The paper's safety experiment keeps 0.05; there is no default.
        max_tokens: prompt and answer together; a longer pair is dropped and counted.
        batch_tokens: tokens that are passed at once; speed only.
        engine: whose workers pass them, if it has some; not part of the identity.
    """

    VERSION: ClassVar[int] = 1

    keep: float
    max_tokens: int = 4096
    batch_tokens: int = field(default=4096, compare=False)
    engine: Engine | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1:
            raise ValueError(f"keep is a share of the pairs, in (0, 1], not {self.keep}")

    def foresee(self, *, pairs: Size, policy: Size) -> Foreseen:
        """Both answers of each pair passed, and a share of the pairs kept."""
        rows, memory = pairs.rows * self.keep, passing(policy, self.batch_tokens)
        size = replace(pairs, rows=rows, prompts=rows)
        return there(self.engine, passed(pairs, policy, answers=2 * pairs.rows, memory=memory, size=size))

    def __call__(self, *, pairs: Pairs, policy: Model, out: Pairs) -> Mapping[str, float]:
        """The kept pairs in order, with their token ids; at least one.

        Raises:
            ValueError: no pair can be rendered within ``max_tokens``.
        """
        from stages.engines.pair_logprobs import tokenised
        from stages.engines.similarity import ches

        counts: Counter[str] = Counter()
        rows = list(tokenised(pairs, policy, self.max_tokens, counts))
        if not rows:
            raise ValueError(f"no pair is left: {dict(counts)}")
        means = self._means(rows, policy)
        alike = [ches(means[2 * place], means[2 * place + 1]) for place in range(len(rows))]
        order = sorted(range(len(rows)), key=lambda place: (alike[place], place))
        kept = sorted(order[: max(1, round(self.keep * len(rows)))])
        out.write(rows[place] for place in kept)
        return {
            **counts,
            "pairs": len(kept),
            "dropped": len(rows) - len(kept),
            "ches": fmean(alike[place] for place in kept),
            "ches_before": fmean(alike),
        }

    def _means(self, rows: list[Row], policy: Model) -> "dict[int, torch.Tensor]":
        """Mean states of the chosen and the rejected answer of each row, in turn."""
        from stages.engines.passes import each_batch

        def made(batch: list[Sequenced]) -> "list[torch.Tensor]":
            from stages.engines.models import load_model
            from stages.engines.similarity import mean_states

            found = dict(mean_states(load_model(policy), batch, self.batch_tokens))
            return [found[place] for place in range(len(batch))]

        sequences = [(row["prompt_tokens"], row[f"{side}_tokens"]) for row in rows for side in ("chosen", "rejected")]
        batches = each_batch(self.engine, sequences, self.batch_tokens, made, "hidden states")
        return {place: mean for places, means in batches for place, mean in zip(places, means, strict=True)}

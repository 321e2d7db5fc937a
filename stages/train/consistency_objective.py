"""One step of SCIR-style training: what both rewards say of every pair, and the loss that follows from it.

The one decision: agreement is counted over the whole optimizer step before any of it is learned from, so how the step
is split into micro-batches changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stages.engines.labels import next_logprobs
from stages.engines.logprobs import answer_logprobs
from stages.train.losses import dpo, entropy, symmetric_divergence
from stages.train.pair_objective import Told, movement

if TYPE_CHECKING:
    import torch

    from stages.train.consistency import Consistency


@dataclass(frozen=True, kw_only=True)
class ConsistencyObjective:
    """See Consistency for the settings. ``labels`` are the token ids of the judge's two labels."""

    settings: "Consistency"
    labels: list[list[int]]

    def before_step(self, model: Any, micro_batches: Sequence[dict[str, Any]]) -> None:
        """Ask the judge, and count the agreeing pairs of the whole step."""
        import torch

        agreeing = 0.0
        with torch.no_grad():
            for inputs in micro_batches:
                inputs["judge_odds"] = self._judge_odds(model, inputs)
                implicit = self._implicit(answer_logprobs(model, inputs["packed"]), inputs)
                agreeing += float(self._agree(inputs["judge_odds"].sigmoid(), implicit).sum())
        for inputs in micro_batches:
            inputs["agreeing_share"] = agreeing / len(micro_batches)

    def __call__(
        self, model: Any, inputs: Mapping[str, Any], progress: float, memory: list[float]
    ) -> "tuple[torch.Tensor, Told]":
        """See Objective."""
        moves_judge, moves_implicit = (
            self.settings.gradient in (only, "both") for only in ("judge_only", "implicit_only")
        )
        sums = answer_logprobs(model, inputs["packed"])
        (chosen, rejected), implicit = sums.chunk(2), self._implicit(sums, inputs)
        odds = self._judge_odds(model, inputs) if moves_judge else inputs["judge_odds"]
        judged, implied = odds.sigmoid(), implicit if moves_implicit else implicit.detach()
        penalty = symmetric_divergence(judged, implied)
        penalty = penalty + self.settings.entropy * (entropy(judged) + entropy(implied)) / 2
        agree = self._agree(judged.detach(), implicit.detach())
        changes = chosen - inputs["reference_chosen_logps"], rejected - inputs["reference_rejected_logps"]
        sign = (odds.detach() > 0).float() * 2 - 1
        learned = (agree * dpo(sign * (changes[0] - changes[1]), self.settings.beta)).sum()
        told = {
            **movement(*changes),
            "agreeing": agree,
            "penalty": penalty,
            "judge_odds": odds.detach(),
            "judge_confidence": (judged - 0.5).abs(),
            "implicit_confidence": (implicit - 0.5).abs(),
        }
        return self.settings.penalty * penalty.mean() + learned / (inputs["agreeing_share"] or 1.0), told

    def _implicit(self, sums: "torch.Tensor", inputs: Mapping[str, Any]) -> "torch.Tensor":
        """p_imp, [pairs]."""
        chosen, rejected = sums.chunk(2)
        ratios = chosen - inputs["earlier_chosen_logps"], rejected - inputs["earlier_rejected_logps"]
        if self.settings.length_normalised:
            tokens = inputs["packed"].lengths.chunk(2)
            ratios = ratios[0] / tokens[0], ratios[1] / tokens[1]
        implied: torch.Tensor = (self.settings.beta * (ratios[0] - ratios[1])).sigmoid()
        return implied

    def _judge_odds(self, model: Any, inputs: Mapping[str, Any]) -> "torch.Tensor":
        """logit p_gen, [pairs]: the mean log-odds of both orders, over the two labels only."""
        shown = next_logprobs(model, inputs["judge_tokens"], self.labels)
        swapped = next_logprobs(model, inputs["judge_swapped_tokens"], self.labels)
        return ((shown[:, 0] - shown[:, 1]) + (swapped[:, 1] - swapped[:, 0])) / 2

    def _agree(self, judged: "torch.Tensor", implicit: "torch.Tensor") -> "torch.Tensor":
        """1 where both rewards are sure of the same side, [pairs]."""
        high, low = 0.5 + self.settings.agree_above, 0.5 - self.settings.agree_above
        return (((judged > high) & (implicit > high)) | ((judged < low) & (implicit < low))).float()

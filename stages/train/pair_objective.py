"""From a batch of tokens to a preference loss and what is told of it.

The one decision: one pass of the policy gives everything; its reference's log-probs came with the rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from stages.artifacts import Model
from stages.engines.logprobs import AnswerStates, answer_states, logits_of, pieces, row_sums, token_logprobs
from stages.engines.packed import Packed
from stages.train.losses import extrapolated
from stages.train.objectives import Batch, Loss

if TYPE_CHECKING:
    import torch

Told = dict[str, "torch.Tensor"]


class Objective(Protocol):
    """What the trainer minimises."""

    def before_step(self, model: Any, micro_batches: Sequence[dict[str, Any]]) -> None:
        """See the collator's batches of a whole optimizer step, and add to them what only the whole can tell."""

    def __call__(
        self, model: Any, inputs: Mapping[str, Any], progress: float, memory: list[float]
    ) -> "tuple[torch.Tensor, Told]":
        """The loss, a number, and what is told of it by name, [pairs] each. ``inputs`` is the collator's batch;
        ``progress`` the share of steps that are done; ``memory`` survives a kill."""


@dataclass(frozen=True, kw_only=True)
class PairObjective:
    """A preference loss over chosen and rejected answers. See DPO for the fields."""

    loss: Loss
    reference: Model
    length_normalised: bool = False
    sft_weight: float = 0.0

    def before_step(self, model: Any, micro_batches: Sequence[dict[str, Any]]) -> None:
        """See Objective. A pair's loss depends on that pair alone."""

    def __call__(
        self, model: Any, inputs: Mapping[str, Any], progress: float, memory: list[float]
    ) -> "tuple[torch.Tensor, Told]":
        """See Objective."""
        together = inputs["packed"]
        states, tokens = answer_states(model, together), together.lengths
        sums = row_sums(token_logprobs(model, states), states, len(tokens))
        unit = tokens if self.length_normalised else tokens.new_ones(len(tokens))

        def sharpened(by: float) -> "tuple[torch.Tensor, ...]":
            return tuple((self._extrapolated(model, states, together, by) / unit).chunk(2))

        (chosen, rejected), (chosen_unit, rejected_unit) = sums.chunk(2), unit.chunk(2)
        ref_chosen, ref_rejected = inputs["reference_chosen_logps"], inputs["reference_rejected_logps"]
        batch = Batch(
            chosen=chosen / chosen_unit,
            rejected=rejected / rejected_unit,
            ref_chosen=ref_chosen / chosen_unit,
            ref_rejected=ref_rejected / rejected_unit,
            columns={name: inputs[name] for name in self.loss.NEEDS},
            progress=progress,
            memory=memory,
            extrapolated=sharpened,
        )
        losses = self.loss(batch)
        sft = -chosen / tokens.chunk(2)[0]
        told = {
            **movement(chosen - ref_chosen, rejected - ref_rejected),
            **{name: batch.columns[name] for name in ("smoothed",) if name in batch.columns},
            **({"preference_loss": losses, "sft_loss": sft} if self.sft_weight else {}),
        }
        return (losses + self.sft_weight * sft if self.sft_weight else losses).mean(), told

    def _extrapolated(self, model: Any, states: AnswerStates, together: Packed, by: float) -> "torch.Tensor":
        """Summed log-probs of the extrapolated policy, [rows], without a gradient."""
        import torch

        from stages.engines.models import load_model

        with torch.no_grad():
            reference = load_model(self.reference)
            theirs = answer_states(reference, together).hidden
            found = [
                extrapolated(logits_of(model, ours), logits_of(reference, other), by).gather(-1, targets[:, None])[:, 0]
                for ours, other, targets in pieces(states.hidden, theirs, states.targets)
            ]
            return row_sums(torch.cat(found), states, len(together.lengths))


def movement(chosen: "torch.Tensor", rejected: "torch.Tensor") -> Told:
    """What is told of every preference training, of log π − log ρ of both answers, [pairs] each."""
    return {
        "gap": chosen - rejected,
        "accuracy": (chosen > rejected).float(),
        "chosen_logp_change": chosen,
        "rejected_logp_change": rejected,
    }

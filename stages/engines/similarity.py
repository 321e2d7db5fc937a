"""How alike a model's hidden states are for the two answers of a pair: CHES.

The one decision: the states are those from which the answer's tokens are predicted, as log-probs have them, without
padding, and their sums are float32.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from stages.engines.packed import Sequenced

if TYPE_CHECKING:
    import torch


def ches(chosen: "torch.Tensor", rejected: "torch.Tensor") -> float:
    """Length-normalised CHES, ⟨S⁺, S⁻⟩/(n⁺n⁻) − ‖S⁺‖²/(n⁺)², S the sum of an answer's n states (Razin et al., 2024,
    arXiv 2410.08847). Higher is more alike, and takes more from the chosen answer's likelihood.

    Args:
        chosen, rejected: mean state of each answer, S⁺/n⁺ and S⁻/n⁻, [width].
    """
    return float(chosen @ rejected - chosen @ chosen)


def mean_states(model: Any, sequences: Sequence[Sequenced], tokens: int) -> "Iterator[tuple[int, torch.Tensor]]":
    """Mean of the final hidden states that predict each answer's tokens, [width], float32, on the CPU.

    Yields (index, mean) in the order in which they are done.
    """
    import torch

    from stages.engines.logprobs import answer_states, passes

    for batch, together in passes(model, sequences, tokens):
        with torch.inference_mode():
            states = answer_states(model, together)
            sums = states.hidden.new_zeros((len(batch), states.hidden.shape[1]), dtype=torch.float32)
            sums.index_add_(0, states.rows, states.hidden.float())
            means = (sums / together.lengths[:, None]).cpu()
        yield from zip(batch, means, strict=True)

"""How a policy spreads its next token along its own answers, and how far that is from the model that a loop began with.

The one decision: every number is exact over the whole vocabulary at every position of an answer, and a mean over
positions. A sampled estimate of KL would be noisy where it matters most, when it is still small.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from stages.artifacts import Model
from stages.engines.engine import Engine
from stages.engines.packed import Sequenced

if TYPE_CHECKING:
    import torch


def next_token(
    policy: Model,
    start: Model,
    sequences: Sequence[Sequenced],
    *,
    top: int,
    batch_tokens: int,
    engine: Engine | None = None,
) -> Mapping[str, float]:
    """Means over the answers' tokens: ``entropy`` (nats), ``top_mass``, ``kl_to_start`` (nats a token).

    Args:
        sequences: prompt ids and the ids of the policy's answers.
        top: of how many tokens ``top_mass`` is the probability.
        batch_tokens: tokens that are passed at once; speed only.
        engine: whose workers pass them, if it has some.
    """
    from stages.engines.models import check_precision
    from stages.engines.passes import each_batch

    check_precision(policy, start)

    def made(batch: list[Sequenced]) -> list[float]:
        return _sums(policy, start, batch, top, batch_tokens)

    each = [sums for _, sums in each_batch(engine, sequences, batch_tokens, made, "next-token numbers")]
    *sums, tokens = map(sum, zip(*each, strict=True))
    if not tokens:
        raise ValueError("none of the answers has a token, so there is no next one to look at")
    return dict(zip(("entropy", "top_mass", "kl_to_start"), (whole / tokens for whole in sums), strict=True))


def _sums(policy: Model, start: Model, sequences: Sequence[Sequenced], top: int, batch_tokens: int) -> list[float]:
    """The three numbers summed over the answers' tokens, and how many tokens those are."""
    import torch

    from stages.engines.logprobs import answer_states, check_head, logits_of, passes, pieces
    from stages.engines.models import load_models

    now, before = load_models(policy, start)
    check_head(before)
    sums, tokens = torch.zeros(3, dtype=torch.float64), 0
    with torch.inference_mode():
        for _, together in passes(now, sequences, batch_tokens):
            hidden = answer_states(now, together).hidden, answer_states(before, together).hidden
            for own, old in pieces(*hidden):
                sums += spread(logits_of(now, own), logits_of(before, old), top).sum(dim=1).double().cpu()
            tokens += len(hidden[0])
    return [*sums.tolist(), float(tokens)]


def spread(logits: "torch.Tensor", start_logits: "torch.Tensor", top: int) -> "torch.Tensor":
    """Of each position, [3, positions]: −Σ p log p, the sum of the ``top`` largest p, and Σ p (log p − log q) in nats,
    which rounding does not let fall under 0.

    Args:
        logits, start_logits: [positions, vocabulary], float32; p and q are their softmax.
    """
    import torch

    own, start = logits.log_softmax(-1), start_logits.log_softmax(-1)
    p = own.exp()
    mass = p.topk(min(top, p.shape[-1]), dim=-1).values.sum(-1)
    return torch.stack([-(p * own).sum(-1), mass, (p * (own - start)).sum(-1).clamp(min=0)])

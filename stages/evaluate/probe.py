"""What a round has become, seen from outside the loop: held-out preference pairs and answers to a fixed set of prompts.

The one decision: a loop is judged by data that it never trains on and by labels that it did not give itself.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import ClassVar

from stages.artifacts import Completions, Model, Pairs, Report
from stages.engines.engine import Engine, there
from stages.engines.memory import passing
from stages.evaluate.interval import standard_error, with_interval
from stages.foreseen import Foreseen, Size, passed


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Held-out accuracy of the implicit reward log π − log ρ, with its standard error √(p(1−p)/n) and 95 % interval.

    Also how far the log-probs moved from the base (likelihood displacement), and how long the policy's answers are.

    Args:
        max_tokens: prompt and answer together; a longer pair is dropped and counted.
        batch_tokens: tokens that are passed at once; speed only.
        engine: whose workers pass them, if it has some; not part of the identity.
    """

    VERSION: ClassVar[int] = 2

    max_tokens: int = 4096
    batch_tokens: int = field(default=4096, compare=False)
    engine: Engine | None = field(default=None, compare=False)

    def foresee(self, *, policy: Size, held_out: Size, answers: Size) -> Foreseen:
        """Both answers of each held-out pair passed."""
        memory = passing(policy, self.batch_tokens)
        told = passed(held_out, policy, answers=2 * held_out.rows, memory=memory, size=Size())
        return there(self.engine, told)

    def __call__(self, *, policy: Model, held_out: Pairs, answers: Completions, out: Report) -> Mapping[str, float]:
        """Compare the policy with the base, which is the model whose log-probs the held-out pairs carry (LogProbs).

        Raises:
            ValueError: the pairs carry no log-probs, or the policy's own: the accuracy would be that of a coin.
        """
        from stages.engines.pair_logprobs import pair_logprobs, tokenised

        counts: Counter[str] = Counter()
        rows = list(tokenised(held_out, policy, self.max_tokens, counts))
        bases = {row["scored_policy"] for row in rows}
        if None in bases or not rows:
            raise ValueError("the held-out pairs carry no log-probs of a base model; pass them through LogProbs first")
        if policy.identity in bases:
            raise ValueError("the held-out pairs carry this policy's own log-probs, so there is nothing to compare")
        now = pair_logprobs(rows, policy, "held-out log-probs", self.batch_tokens, self.engine)
        chosen = [chosen - row["chosen_logp"] for row, (chosen, _) in zip(rows, now, strict=True)]
        rejected = [rejected - row["rejected_logp"] for row, (_, rejected) in zip(rows, now, strict=True)]
        report = {
            **_share([better - worse for better, worse in zip(chosen, rejected, strict=True)], "accuracy"),
            "margin": fmean(chosen) - fmean(rejected),
            "chosen_logp_change": fmean(chosen),
            "rejected_logp_change": fmean(rejected),
            **_share([better - worse for better, worse in now], "likelihood_accuracy"),
            **_answered(answers),
            **{name: float(count) for name, count in counts.items()},
        }
        for name in ("accuracy", "likelihood_accuracy"):
            report |= with_interval(name, report[name], len(rows))
        out.write(report)
        return report


def _share(gaps: Sequence[float], name: str) -> Mapping[str, float]:
    """Share of positive gaps, a tie counting as half a success, with its standard error."""
    share = fmean(1.0 if gap > 0 else 0.5 if gap == 0 else 0.0 for gap in gaps)
    return {name: share, f"{name}_se": standard_error(share, len(gaps))}


def _answered(answers: Completions) -> Mapping[str, float]:
    rows = list(answers.rows(["completion", "finish_reason", "completion_tokens"]))
    return {
        "answer_characters": fmean(len(row["completion"][0]["content"]) for row in rows),
        "answer_tokens": fmean(len(row["completion_tokens"]) for row in rows),
        "answers_truncated": fmean(row["finish_reason"] == "length" for row in rows),
    }

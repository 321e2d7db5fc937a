"""SCIR-style training: two rewards inside the model, the judge and the implicit one, are made to agree while it trains.

The one decision: a pair is a pair of answers and no label. Which of the two is the better one, and whether both rewards
say so, is decided anew at every step by the model that is being trained.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from stages.artifacts import Model, Pairs, Row
from stages.engines.quote import check_template, filled, transcript
from stages.foreseen import Foreseen, Size
from stages.train.foreseen import trained
from stages.train.objectives import positive
from stages.train.training import Training


@dataclass(frozen=True, kw_only=True)
class Consistency(Training):
    """L = λ_C·mean(C) + mean over the agreeing pairs of −log σ(βΔ) (SCIR, arXiv 2502.08922; everything here beyond the
    idea is our reconstruction, none of it could be checked against the paper).

    p_gen = σ(½[logit q₁ + logit q₂]) from the judge's label tokens in both orders; p_imp = σ(β·[s(y_a) − s(y_b)]),
    s = log π − log ρ against an ``earlier`` model; C = symmetric KL of the two + λ_H·their mean entropy. Two rewards
    agree if both are above ½ + δ or both below ½ − δ.

    Args:
        question, first, second: the judge's prompt and its labels, see Pairwise.
        beta: β, of the implicit reward and of DPO.
        penalty: λ_C.
        entropy: λ_H.
        agree_above: δ in [0, 0.5).
        gradient: which of the two rewards the penalty moves.
        length_normalised: s per token, against the implicit reward's taste for length.

    ``max_tokens`` bounds the judge's prompt too. The other fields are those of every Training.
    """

    VERSION: ClassVar[int] = 1
    RESUMES: ClassVar[bool] = True
    DISTINCT: ClassVar = (("policy", "earlier"),)

    question: str
    first: tuple[str, ...] = ("A", " A")
    second: tuple[str, ...] = ("B", " B")
    beta: float
    penalty: float = 1.0
    entropy: float = 0.1
    agree_above: float = 0.0
    gradient: Literal["implicit_only", "judge_only", "both"] = "implicit_only"
    length_normalised: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.execution.in_one_process("Consistency")
        check_template(self.question, "question", "first", "second")
        if set(self.first) & set(self.second) or not self.first or not self.second:
            raise ValueError("first and second must each have a spelling, and none in common")
        positive(self, "beta")
        if min(self.penalty, self.entropy) < 0 or not 0 <= self.agree_above < 0.5:
            raise ValueError("penalty and entropy must be at least 0 and agree_above in [0, 0.5)")
        if self.penalty == 0 and (self.entropy > 0 or self.gradient != "implicit_only"):
            raise ValueError(
                "without a penalty, entropy and gradient are ignored: say entropy: 0, gradient: implicit_only"
            )

    def foresee(self, *, pairs: Size, policy: Size, reference: Size, earlier: Size) -> Foreseen:
        """A trained copy of the policy; that it reads the judge's prompts too is left out."""
        return trained(self, policy, pairs)

    def __call__(
        self, *, pairs: Pairs, policy: Model, reference: Model, earlier: Model, out: Model
    ) -> Mapping[str, float]:
        """A trained copy of the policy. DPO is against ``reference``, the implicit reward against ``earlier``.

        Raises:
            ValueError: no pair is left, policy and earlier are the same model, so that p_imp would be ½ for every pair,
                or policy = reference and the first log-ratio is not 0.
        """
        from stages.engines.labels import label_tokens
        from stages.engines.models import release
        from stages.train.consistency_objective import ConsistencyObjective
        from stages.train.fitting import in_order
        from stages.train.pair_rows import give_logprobs, is_known, trainable
        from stages.train.preference_trainer import train

        if policy.identity == earlier.identity:
            raise ValueError("policy and earlier are the same model: its implicit reward would prefer nothing")
        labels = label_tokens(policy, (self.first, self.second))
        rows, counts = trainable(pairs, policy, self.max_tokens, ("prompt", "chosen", "rejected"), not self.four_bits)
        counts["known_logps"] = sum(is_known(row, reference) for row in rows)
        made = [self._row(row, policy) for row in rows]
        rows = [row for row in made if len(row["judge_tokens"]) <= self.max_tokens]
        counts["dropped_overlong_judgement"] = len(made) - len(rows)
        if not rows:
            raise ValueError(f"no pair is left whose judge's prompt has at most {self.max_tokens} tokens")
        rows = in_order(rows, self)
        give_logprobs(rows, policy, reference, "reference", self)
        give_logprobs(rows, policy, earlier, "earlier", self)
        release()
        objective = ConsistencyObjective(settings=self, labels=labels)
        metrics = train(self, rows, objective, policy, out, from_reference=policy.identity == reference.identity)
        out.record_lineage(trained_from=policy.identity, trained_against=reference.identity)
        return metrics | {name: float(count) for name, count in counts.items()}

    def _row(self, row: Row, policy: Model) -> Row:
        """The pair with the judge's prompt in both orders."""
        from stages.engines.chat import prompt_tokens
        from stages.engines.models import load_tokenizer

        tokenizer = load_tokenizer(policy)
        asked, one, other = (row.pop(name) for name in ("prompt", "chosen", "rejected"))
        shown = {"question": transcript(asked), "first": one[0]["content"], "second": other[0]["content"]}
        swapped = {**shown, "first": shown["second"], "second": shown["first"]}
        return {
            **row,
            "judge_tokens": prompt_tokens(tokenizer, filled(self.question, tokenizer, **shown)),
            "judge_swapped_tokens": prompt_tokens(tokenizer, filled(self.question, tokenizer, **swapped)),
        }

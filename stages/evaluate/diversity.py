"""How varied a set of answers is, by counting n-grams.

The one decision: n-grams are of the ids that were generated, so that no language needs a rule for its words. Numbers of
one loop are comparable, because its models share a tokenizer; those of two loops with other tokenizers are not.
"""

from collections.abc import Sequence

Answer = Sequence[int]
ORDER = 4
"""BLEU's longest n-gram."""


def distinct(answers: Sequence[Answer], n: int) -> float:
    """distinct-n: different n-grams of all answers over all their n-grams, in [0, 1] (Li et al., 2016, arXiv
    1510.03055); 0 where no answer has n tokens. It falls as answers grow longer, so read it beside their length.
    """
    grams = [tuple(answer[first : first + n]) for answer in answers for first in range(len(answer) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0


def self_bleu(answers: Sequence[Answer]) -> float | None:
    """Self-BLEU-4: mean BLEU of each answer with all others as its references, in [0, 1]; 1 where all are the same
    (Zhu et al., 2018, arXiv 1802.01886). Counts of 0 are smoothed to 0.1 (method 1 of Chen and Cherry, 2014).

    Answers of fewer tokens than BLEU's longest n-gram have no BLEU and are left out; None where fewer than two are
    left.
    """
    from statistics import fmean

    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    long = [list(answer) for answer in answers if len(answer) >= ORDER]
    if len(long) < 2:
        return None
    smooth = SmoothingFunction().method1
    others = ([*long[:place], *long[place + 1 :]] for place in range(len(long)))
    return fmean(sentence_bleu(rest, own, smoothing_function=smooth) for own, rest in zip(long, others, strict=True))

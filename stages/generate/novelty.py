"""Which invented prompts are kept: Self-Instruct's filters, one name each.

The one decision: a prompt leaves for the first rule that it breaks, and each rule counts what it took.
"""

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

UNSUITABLE_WORDS = re.compile(r"\b(?:images?|graphs?|pictures?|files?|maps?|draw|plot|go to)\b", flags=re.IGNORECASE)
RULES = ("truncated", "short", "long", "unsuitable", "program", "first_character", "known")


def first_task(written: str, ended: bool) -> tuple[str, bool]:
    """The first line without a list's number, as Self-Instruct splits what a model lists, and whether it is whole."""
    lines = written.strip().splitlines() or [""]
    return " ".join(re.sub(r"^\d+\s*[.):]\s*", "", lines[0]).split()), ended or len(lines) > 1


def broken_rule(text: str, ended: bool) -> str | None:
    """The first rule that a prompt breaks by itself (Self-Instruct, Wang et al., arXiv 2212.10560), or None.

    Args:
        text: with its white space collapsed.
        ended: whether generation stopped by itself.
    """
    words = len(text.split())
    if not ended:
        return "truncated"
    if words <= 3 or words > 150:
        return "short" if words <= 3 else "long"
    if UNSUITABLE_WORDS.search(text):
        return "unsuitable"
    if text.startswith("Write a program"):
        return "program"
    return None if text[0].isascii() and text[0].isalnum() else "first_character"


class Novelty:
    """Whether a prompt is new: its largest ROUGE-L F1 against all known ones is at most ``most``. No stemming."""

    def __init__(self, known: Sequence[str], most: float) -> None:
        from rouge_score import rouge_scorer, tokenizers

        self._tokenize = lru_cache(maxsize=None)(tokenizers.DefaultTokenizer(use_stemmer=False).tokenize)
        self._scorer = rouge_scorer.RougeScorer(["rougeL"], tokenizer=self)
        self._known, self._most = list(known), most

    def tokenize(self, text: str) -> list[str]:
        """A text's words, as the ``rouge-score`` package splits them; each text is split once."""
        words: list[str] = self._tokenize(text)
        return words

    def add(self, text: str) -> bool:
        """Add the prompt to what is known, if it is new; whether it was."""
        if any(self._score(known, text) > self._most for known in self._known if self._may_be_close(known, text)):
            return False
        self._known.append(text)
        return True

    def _score(self, known: str, text: str) -> float:
        found: float = self._scorer.score(known, text)["rougeL"].fmeasure
        return found

    def _may_be_close(self, known: str, text: str) -> bool:
        """A common subsequence is no longer than the words in common: most prompts need no look at their order."""
        first, second = self._tokenize(known), self._tokenize(text)
        common = (Counter(first) & Counter(second)).total()
        return 2 * common > self._most * (len(first) + len(second))

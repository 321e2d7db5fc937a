"""Whether an answer is right, where that can be checked by rule: one small function a rule, each called by its name.

The one decision: what a model wrote is data. It is never evaluated, and no pattern of anybody's is matched against it,
so every check is total and takes time in proportion to the answer, whatever that says.
"""

import re
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from string import punctuation

from stages.json_object import json_object

Check = Callable[[str], bool]
NUMBER = re.compile(r"(?<![\w.])[-−]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?", flags=re.ASCII)
ITEM = re.compile(r"\s*(?:[-*•]|\d{1,3}[.)])\s+\S")


def checker(name: str, expected: str) -> Check:
    """The check of this name for this expected answer; see the functions below for what each expects.

    Raises:
        ValueError: there is none of that name, or it cannot be told what is expected.
    """
    if name not in CHECKERS:
        raise ValueError(f"there is no checker {name!r}; there is {', '.join(CHECKERS)}")
    if not expected.strip():
        raise ValueError(f"the checker {name!r} needs to be told what is expected")
    return CHECKERS[name](expected)


def number(expected: str) -> Check:
    """The last number of the answer equals the last one of what is expected, so GSM8K's ``... #### 1,234`` serves as it
    is. Commas between thousands and zeros that change nothing do not count."""
    wanted = _last_number(expected)
    if wanted is None:
        raise ValueError(f"expected a number, got {expected!r}")
    return lambda answer: _last_number(answer) == wanted


def text(expected: str) -> Check:
    """The same words, whatever their case and the white space and punctuation around them."""
    wanted = _some_words(expected)
    return lambda answer: _words(answer) == wanted


def lacks(expected: str) -> Check:
    """There is an answer, and this letter, mark or phrase is nowhere in it, in either case."""
    return lambda answer: bool(_words(answer)) and expected.casefold() not in answer.casefold()


def words(expected: str) -> Check:
    """So many words; what has no letter or digit is none."""
    wanted = _count(expected)
    return lambda answer: len(_words(answer)) == wanted


def at_most(expected: str) -> Check:
    """At least one word, and no more than so many."""
    wanted = _count(expected)
    return lambda answer: 1 <= len(_words(answer)) <= wanted


def lines(expected: str) -> Check:
    """So many lines that are not empty."""
    wanted = _count(expected)
    return lambda answer: sum(bool(line.strip()) for line in answer.splitlines()) == wanted


def items(expected: str) -> Check:
    """So many items of a list: lines that begin with a bullet, or a number with a full stop or bracket."""
    wanted = _count(expected)
    return lambda answer: sum(bool(ITEM.match(line)) for line in answer.splitlines()) == wanted


def shape(expected: str) -> Check:
    """The whole answer looks like this, character for character: A stands for any capital letter, a for any small one,
    9 for any digit, and whatever else for itself."""
    signs = expected.strip()
    return lambda answer: len(answer.strip()) == len(signs) and all(map(_fits, answer.strip(), signs))


def starts(expected: str) -> Check:
    """The answer begins with these words; see ``text``."""
    wanted = _some_words(expected)
    return lambda answer: _words(answer)[: len(wanted)] == wanted


def case(expected: str) -> Check:
    """All letters are capital (``upper``) or small (``lower``), and there is one."""
    if expected not in ("upper", "lower"):
        raise ValueError(f"expected upper or lower, got {expected!r}")
    return lambda answer: answer.isupper() if expected == "upper" else answer.islower()


CHECKERS: dict[str, Callable[[str], Check]] = {
    **{made.__name__: made for made in (number, text, lacks, words, at_most, lines, items, shape, starts, case)},
    "json": json_object,
}


def _last_number(said: str) -> Decimal | None:
    found = deque(NUMBER.finditer(said), maxlen=1)
    return Decimal(found[0][0].replace(",", "").replace("−", "-")) if found else None


def _words(said: str) -> list[str]:
    stripped = (word.strip(punctuation + "“”‘’…–—") for word in said.casefold().split())
    return [word for word in stripped if word]


def _some_words(expected: str) -> list[str]:
    found = _words(expected)
    if not found:
        raise ValueError(f"expected words, got {expected!r}")
    return found


def _count(expected: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,3}", expected.strip(), flags=re.ASCII):
        raise ValueError(f"expected a count from 1 to 9999, got {expected!r}")
    return int(expected)


def _fits(letter: str, sign: str) -> bool:
    kinds = {"A": str.isupper, "a": str.islower, "9": str.isdigit}
    return kinds[sign](letter) if sign in kinds else letter == sign

"""New prompts from old ones: the model sees eight tasks and writes a ninth (Self-Instruct).

The one decision: prompts are invented in waves. A wave's examples are drawn before it is asked, so a wave can be asked
at once, and what the model wrote in a whole wave survives an interruption.
"""

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import ClassVar

from stages.artifacts import Model, Prompts, Row
from stages.durable import put
from stages.engines.drawing import draw
from stages.engines.engine import Engine, Sampling
from stages.engines.memory import generated
from stages.foreseen import Foreseen, Size, largest
from stages.generate.novelty import RULES, Novelty, broken_rule, first_task
from stages.progress import progress
from stages.seeds import derive

WAVE = 32
"""Prompts that are asked for at once."""


@dataclass(frozen=True, kw_only=True)
class SelfInstruct:
    """Invent n prompts that pass every filter (Self-Rewarding, arXiv 2401.10020, by Self-Instruct, arXiv 2212.10560).

    Args:
        n: new prompts.
        request: what the model is asked, with {tasks}, which becomes a numbered list.
        seeds_shown, invented_shown: examples of each kind; while too few are invented, seeds take their place.
        novelty: a prompt is dropped if its ROUGE-L F1 against any known one is above this.
        tries: asks for each prompt that is wanted, before the stage gives up.
        temperature, top_p, max_new_tokens, seed: how they are drawn.
        engine: where it runs; not part of the identity.
    """

    VERSION: ClassVar[int] = 1
    RESUMES: ClassVar[bool] = True

    n: int
    request: str
    seeds_shown: int = 6
    invented_shown: int = 2
    novelty: float = 0.7
    tries: int = 20
    temperature: float
    top_p: float = 1.0
    max_new_tokens: int
    seed: int
    engine: Engine = field(compare=False)

    def __post_init__(self) -> None:
        if self.request.count("{tasks}") != 1:
            raise ValueError("the request must hold {tasks} once")
        if self.n < 1 or self.seeds_shown < 1 or self.invented_shown < 0 or self.tries < 1:
            raise ValueError("n, seeds_shown and tries must be at least 1 and invented_shown at least 0")
        if not 0 < self.novelty <= 1 or self._sampling().temperature == 0:
            raise ValueError("novelty must be in (0, 1], and temperature above 0, or every try would be the same")

    def foresee(self, *, seeds: Size, pool: Size, policy: Size) -> Foreseen:
        """n new prompts, each asked for ``tries`` times at most."""
        length, rows = float(self.max_new_tokens), pool.rows + self.n
        size = Size(rows=rows, prompts=rows, prompt=largest(length, pool.prompt))
        shown = (self.seeds_shown + self.invented_shown) * largest(length, seeds.prompt)
        asked = float(WAVE * ceil(self.tries * self.n / WAVE))
        return generated(self.engine, policy, rows=asked, prompt=shown, answer=length, size=size)

    def __call__(self, *, seeds: Prompts, pool: Prompts, policy: Model, out: Prompts) -> Mapping[str, float]:
        """The pool with n new prompts behind it. Those of the pool that are no seeds are earlier inventions.

        Raises:
            ValueError: too few prompts passed the filters.
        """
        given = [_text(row) for row in seeds.rows(["prompt"])]
        known = list(pool.rows(list(Prompts.COLUMNS)))
        earlier = [text for text in map(_text, known) if text not in set(given)]
        novelty, counts = Novelty([*given, *earlier], self.novelty), Counter[str]()
        new: list[str] = []
        with progress("inventing", self.n, "prompts") as bar:
            for wave in range(1, 1 + ceil(self.tries * self.n / WAVE)):
                texts = self._wave(wave, given, [*earlier, *new], policy, out)
                accepted = self._accepted(texts, novelty, counts)[: self.n - len(new)]
                new += accepted
                bar.update(len(accepted))
                if len(new) == self.n:
                    break
            else:
                raise ValueError(f"only {len(new)} of {self.n} prompts after {counts['asked']} tries: {dict(counts)}")
        size = out.write([*known, *(self._row(place, text) for place, text in enumerate(new))])
        told = {f"dropped_{rule}": counts[f"dropped_{rule}"] for rule in RULES}
        return {"prompts": len(new), "pool": size, "asked": counts["asked"], **told}

    def _wave(
        self, wave: int, given: Sequence[str], invented: Sequence[str], policy: Model, out: Prompts
    ) -> list[tuple[str, bool]]:
        """What the model wrote, each with whether it ended; kept for an attempt that is interrupted."""
        kept = out.scratch / f"wave-{wave:05d}.json"
        if not kept.exists():
            seeds = [derive("self-instruct", self.seed, wave, place) for place in range(WAVE)]
            asked = [self._request(random.Random(seed), given, invented) for seed in seeds]
            conversations = [[{"role": "user", "content": text}] for text in asked]
            each = [[seed] for seed in seeds]
            drawn = [one[0] for one in draw(self.engine, policy, conversations, each, self._sampling(), out.scratch)]
            draft = kept.with_suffix(".draft")
            draft.write_text(json.dumps([[answer.text, answer.ended] for answer in drawn]), encoding="utf-8")
            put(draft, kept)
        texts: list[tuple[str, bool]] = [tuple(one) for one in json.loads(kept.read_text(encoding="utf-8"))]
        return texts

    def _sampling(self) -> Sampling:
        return Sampling(temperature=self.temperature, top_p=self.top_p, max_new_tokens=self.max_new_tokens)

    def _request(self, generator: random.Random, given: Sequence[str], invented: Sequence[str]) -> str:
        own = generator.sample(invented, min(self.invented_shown, len(invented)))
        shown = generator.sample(given, min(len(given), self.seeds_shown + self.invented_shown - len(own))) + own
        generator.shuffle(shown)
        return self.request.replace("{tasks}", "\n".join(f"{place}. {text}" for place, text in enumerate(shown, 1)))

    def _accepted(self, texts: Sequence[tuple[str, bool]], novelty: Novelty, counts: Counter[str]) -> list[str]:
        accepted = []
        for written, ended in texts:
            text, whole = first_task(written, ended)
            rule = broken_rule(text, whole) or (None if novelty.add(text) else "known")
            counts["asked"] += 1
            counts[f"dropped_{rule}"] += rule is not None
            if rule is None:
                accepted.append(text)
        return accepted

    def _row(self, number: int, text: str) -> Row:
        return {"prompt_id": f"invented-{self.seed}-{number:05d}", "prompt": [{"role": "user", "content": text}]}


def _text(row: Row) -> str:
    """A prompt in one line: its last turn."""
    return " ".join(row["prompt"][-1]["content"].split())

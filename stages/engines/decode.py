"""The decode loop: a batch that is refilled as its answers end.

The one decision: the batch is regrouped when a quarter of it has ended, and not before. Then the ended leave, and the
longest of the waiting prompts are passed together, each once for all its samples, and join. So the price of copying and
of passing prompts is paid once for many answers, and who waits is never longer than who runs.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stages.engines.cache import join, joinable, select, trim
from stages.engines.draw import choose
from stages.engines.engine import Request, Sampling
from stages.progress import progress

if TYPE_CHECKING:
    import numpy as np
    import torch

SHARES = 4
"""The batch is regrouped when one row in so many is free. More samples of a prompt than that wait in several groups."""


def decode(
    requests: Sequence[Request], model: Any, ends: Sequence[int], sampling: Sampling, rows: int
) -> list[list[list[int]]]:
    """The ids of an answer for each seed of each request, in order; at most ``rows`` answers run together."""
    import torch

    answers = [[_Answer(prompt=tuple(one.prompt), stream=_stream(seed)) for seed in one.seeds] for one in requests]
    waiting = _longest_first(answers, max(1, rows // SHARES))
    batch = _Batch(model=model, ends=ends, sampling=sampling)
    with torch.inference_mode(), progress("decoding", sum(map(len, answers)), "answers") as bar:
        while waiting or batch.running():
            refill = bool(waiting) and batch.is_open()
            if len(batch.running()) * SHARES > (rows if refill else len(batch.answers)) * (SHARES - 1):
                batch.step()
            else:
                bar.update(batch.leave())
                if refill:
                    batch.join(_fitting(waiting, rows - len(batch.answers)))
    return [[answer.tokens for answer in of_one] for of_one in answers]


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """An answer as it is written; the stream holds the uniform number that each of its tokens is drawn with."""

    prompt: tuple[int, ...]
    stream: "np.random.Generator"
    tokens: list[int] = field(default_factory=list)


class _Batch:
    """The answers that are decoded together, and their cache. An answer that has ended runs along until it leaves."""

    def __init__(self, *, model: Any, ends: Sequence[int], sampling: Sampling) -> None:
        self.model, self.sampling = model, sampling
        self.endings = [[end] for end in ends]
        self.answers: list[_Answer] = []
        self.cache: Any = None

    def running(self) -> list[int]:
        """The rows of the answers that have not ended."""
        return [row for row, answer in enumerate(self.answers) if not self._has_ended(answer)]

    def is_open(self) -> bool:
        """Whether others may join."""
        return not self.running() or joinable(self.cache)

    def leave(self) -> int:
        """Let go of the answers that have ended, and of the columns that only they filled; how many there were."""
        running = self.running()
        ended = len(self.answers) - len(running)
        self.answers = [self.answers[row] for row in running]
        if not running:
            self.cache = None
            return ended
        select(self.cache, running)
        if joinable(self.cache):
            trim(self.cache, max(len(answer.prompt) + len(answer.tokens) - 1 for answer in self.answers))
        return ended

    def join(self, newcomers: list["_Answer"]) -> None:
        """Pass the newcomers' prompts, each once, draw their first tokens, and take them in."""
        from transformers import DynamicCache

        prompts = list(dict.fromkeys(answer.prompt for answer in newcomers))
        owners = [prompts.index(answer.prompt) for answer in newcomers]
        cache = DynamicCache(config=self.model.config)
        logits = self._logits(prompts, [len(prompt) for prompt in prompts], cache)
        select(cache, owners)
        self._write(newcomers, logits[owners])
        if self.cache:
            join(self.cache, cache)
        else:
            self.cache = cache
        self.answers += newcomers

    def step(self) -> None:
        """One more token for every answer."""
        lengths = [len(answer.prompt) + len(answer.tokens) for answer in self.answers]
        self._write(self.answers, self._logits([answer.tokens[-1:] for answer in self.answers], lengths, self.cache))

    def _logits(self, ids: Sequence[Sequence[int]], lengths: list[int], cache: Any) -> "torch.Tensor":
        """Pass the ids: the logits [rows, vocabulary] after the last. A row's length counts all that it has passed."""
        import torch

        width = max(len(row) for row in ids)
        columns = cache.get_seq_length() + width
        places = torch.tensor(lengths)[:, None] - columns + torch.arange(columns)
        passed = self.model(
            input_ids=torch.tensor([[0] * (width - len(row)) + list(row) for row in ids]).to(self.model.device),
            attention_mask=(places >= 0).long().to(self.model.device),
            position_ids=places.clamp(min=0)[:, -width:].to(self.model.device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: torch.Tensor = passed.logits[:, -1]
        return logits

    def _write(self, answers: list["_Answer"], logits: "torch.Tensor") -> None:
        import torch

        draws = torch.tensor([answer.stream.random() for answer in answers], dtype=torch.float64)
        for answer, token in zip(answers, choose(logits, draws, self.sampling).tolist(), strict=True):
            if not self._has_ended(answer):
                answer.tokens.append(token)

    def _has_ended(self, answer: "_Answer") -> bool:
        return len(answer.tokens) == self.sampling.max_new_tokens or answer.tokens[-1:] in self.endings


def _stream(seed: int) -> "np.random.Generator":
    import numpy as np

    return np.random.Generator(np.random.Philox(seed))


def _longest_first(answers: list[list[_Answer]], most: int) -> deque[list[_Answer]]:
    """The answers in groups that have one prompt and join together: ``most`` at most, those of long prompts first."""
    groups = [of_one[first : first + most] for of_one in answers for first in range(0, len(of_one), most)]
    return deque(sorted(groups, key=lambda group: -len(group[0].prompt)))


def _fitting(waiting: deque[list[_Answer]], room: int) -> list[_Answer]:
    """Take from the front as many as there is room for."""
    taken: list[_Answer] = []
    while waiting and len(taken) + len(waiting[0]) <= room:
        taken += waiting.popleft()
    return taken

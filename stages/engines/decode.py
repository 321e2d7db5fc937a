"""The decode loop: a batch that is refilled as its answers end.

The one decision: the batch is regrouped when a quarter of it has ended, and not before. Then the ended leave, and the
longest of the waiting prompts are passed together, each once for all its samples, and join. So the price of copying and
of passing prompts is paid once for many answers, and who waits is never longer than who runs.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from stages.engines.cache import join, joinable, select, trim
from stages.engines.draw import choose
from stages.engines.engine import Answer, Request, Sampling
from stages.engines.waiting import Answering, fitting, longest_first
from stages.progress import count_tokens, progress

if TYPE_CHECKING:
    import torch

SHARES = 4
"""The batch is regrouped when one row in so many is free. More samples of a prompt than that wait in several groups."""


def decode(
    requests: Sequence[Request], model: Any, ends: Sequence[int], sampling: Sampling, rows: int
) -> Iterator[Answer]:
    """An answer for each seed of each request, as they leave; at most ``rows`` run together."""
    waiting = longest_first(requests, max(1, rows // SHARES))
    batch = _Batch(model=model, ends=ends, sampling=sampling)
    with progress("decoding", sum(map(len, waiting)), "answers") as bar:
        while waiting or batch.answers:
            refill = bool(waiting) and batch.is_open()
            if len(batch.running()) * SHARES > (rows if refill else len(batch.answers)) * (SHARES - 1):
                batch.step()
                continue
            for answer in batch.leave():
                bar.update(1)
                yield Answer(*answer.place, answer.tokens)
            if refill:
                batch.join(fitting(waiting, rows - len(batch.answers)))


class _Batch:
    """The answers that are decoded together, and their cache. An answer that has ended runs along until it leaves."""

    def __init__(self, *, model: Any, ends: Sequence[int], sampling: Sampling) -> None:
        self.model, self.sampling = model, sampling
        self.endings = [[end] for end in ends]
        self.answers: list[Answering] = []
        self.cache: Any = None

    def running(self) -> list[int]:
        """The rows of the answers that have not ended."""
        return [row for row, answer in enumerate(self.answers) if not self._has_ended(answer)]

    def is_open(self) -> bool:
        """Whether others may join."""
        return not self.running() or joinable(self.cache)

    def leave(self) -> list[Answering]:
        """Let go of the answers that have ended, and of the columns that only they filled."""
        running = self.running()
        ended = [answer for answer in self.answers if self._has_ended(answer)]
        self.answers = [self.answers[row] for row in running]
        if not running:
            self.cache = None
            return ended
        select(self.cache, running)
        if joinable(self.cache):
            trim(self.cache, max(len(answer.prompt) + len(answer.tokens) - 1 for answer in self.answers))
        return ended

    def join(self, newcomers: list[Answering]) -> None:
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
        with torch.inference_mode():
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

    def _write(self, answers: list[Answering], logits: "torch.Tensor") -> None:
        import torch

        draws = torch.tensor([answer.stream.random() for answer in answers], dtype=torch.float64)
        drawn = zip(answers, choose(logits, draws, self.sampling).tolist(), strict=True)
        kept = [(answer, token) for answer, token in drawn if not self._has_ended(answer)]
        for answer, token in kept:
            answer.tokens.append(token)
        count_tokens(len(kept))

    def _has_ended(self, answer: Answering) -> bool:
        return len(answer.tokens) == self.sampling.max_new_tokens or answer.tokens[-1:] in self.endings

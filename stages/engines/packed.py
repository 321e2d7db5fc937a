"""Prompts and their answers as one line of tokens: a prompt stands once for all its answers, and nothing is padded.

The one decision: every part of a transformer but attention treats a token by itself. So the tokens are passed in one
line, and only to attend is each answer laid out behind its prompt again, beside others of about its length.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

Sequenced = tuple[Sequence[int], Sequence[int]]
"""A prompt's ids and an answer's."""

ALIKE = 0.75
"""Sequences are laid out together if the shortest has this share of the longest's tokens."""
LAID = 4
"""Tokens of a batch when laid out, prompts repeated, are at most so many times its budget."""


@dataclass(frozen=True, kw_only=True)
class Packed:
    """Sequences that are passed together.

    Args:
        ids, positions: [1, tokens]; the position of a token in its own sequence.
        laid: the place of every token of every sequence, [sequences, longest] for each group of about one length; rows
            are padded on the right, where what comes before does not attend.
        back: [tokens], where each token is found in the groups' rows, laid end to end.
        before, targets, rows: [answer tokens], sequence by sequence as they were given: the place of the token before
            it, from which it is predicted; its id; its sequence.
        lengths: [sequences], tokens of each answer.
    """

    ids: "torch.Tensor"
    positions: "torch.Tensor"
    laid: "tuple[torch.Tensor, ...]"
    back: "torch.Tensor"
    before: "torch.Tensor"
    targets: "torch.Tensor"
    rows: "torch.Tensor"
    lengths: "torch.Tensor"

    def to(self, device: Any, **how: Any) -> "Packed":
        """The same on a device."""
        moved = {name: value.to(device, **how) for name, value in vars(self).items() if name != "laid"}
        return Packed(laid=tuple(group.to(device, **how) for group in self.laid), **moved)


def packed(sequences: Sequence[Sequenced]) -> Packed:
    """Lay sequences out in one line. Prompts are not empty; answers may be."""
    import torch

    line: list[int] = []
    positions: list[int] = []
    spans: list[list[int]] = []
    prompts: dict[tuple[int, ...], list[int]] = {}

    def append(ids: Sequence[int], position: int) -> list[int]:
        places = list(range(len(line), len(line) + len(ids)))
        line.extend(ids)
        positions.extend(range(position, position + len(ids)))
        return places

    for prompt, answer in sequences:
        key = tuple(prompt)
        if key not in prompts:
            prompts[key] = append(prompt, 0)
        spans.append(prompts[key] + append(answer, len(key)))
    starts = [len(span) - len(answer) for span, (_, answer) in zip(spans, sequences, strict=True)]
    laid, back = _laid_out(spans, len(line))
    lengths = torch.tensor([len(answer) for _, answer in sequences])
    return Packed(
        ids=torch.tensor([line]),
        positions=torch.tensor([positions]),
        laid=laid,
        back=back,
        before=torch.tensor([p for span, start in zip(spans, starts, strict=True) for p in span[start - 1 : -1]]),
        targets=torch.tensor([token for _, answer in sequences for token in answer]),
        rows=torch.arange(len(sequences)).repeat_interleave(lengths),
        lengths=lengths,
    )


def _laid_out(spans: list[list[int]], tokens: int) -> "tuple[tuple[torch.Tensor, ...], torch.Tensor]":
    """See Packed.laid and Packed.back."""
    import torch

    groups: list[list[list[int]]] = []
    for span in sorted(spans, key=len, reverse=True):
        if not groups or len(span) < ALIKE * len(groups[-1][0]):
            groups.append([])
        groups[-1].append(span)
    laid = tuple(torch.tensor([span + span[-1:] * (len(group[0]) - len(span)) for span in group]) for group in groups)
    back = torch.empty(tokens, dtype=torch.long)
    ends = accumulate(group.numel() for group in laid)
    for group, whole, end in zip(groups, laid, ends, strict=True):
        for row, span in enumerate(group):
            first = end - whole.numel() + row * whole.shape[1]
            back[torch.tensor(span)] = torch.arange(first, first + len(span))
    return laid, back


def batches(sequences: Sequence[Sequenced], tokens: int) -> Iterator[list[int]]:
    """Indices in groups of at most so many tokens when packed, and LAID times as many when laid out (one sequence at
    least), the longest first. The answers to one prompt stay together where they fit.
    """
    families: dict[tuple[int, ...], list[int]] = {}
    for index, (prompt, _) in enumerate(sequences):
        families.setdefault(tuple(prompt), []).append(index)
    together: list[int] = []
    size = laid = 0
    for family in sorted(families.values(), key=lambda family: -max(_length(sequences[index]) for index in family)):
        for piece, own, own_laid in _pieces(family, sequences, tokens):
            if together and (size + own > tokens or laid + own_laid > LAID * tokens):
                yield together
                together, size, laid = [], 0, 0
            together, size, laid = together + piece, size + own, laid + own_laid
    if together:
        yield together


def _pieces(family: list[int], sequences: Sequence[Sequenced], tokens: int) -> Iterator[tuple[list[int], int, int]]:
    """The answers to one prompt in pieces that fit, with the tokens of each, packed and laid out."""
    prompt = len(sequences[family[0]][0])
    piece: list[int] = []
    size, laid = prompt, 0
    for index in sorted(family, key=lambda index: -len(sequences[index][1])):
        answer = len(sequences[index][1])
        if piece and (size + answer > tokens or laid + prompt + answer > LAID * tokens):
            yield piece, size, laid
            piece, size, laid = [], prompt, 0
        piece, size, laid = [*piece, index], size + answer, laid + prompt + answer
    yield piece, size, laid


def _length(sequence: Sequenced) -> int:
    return len(sequence[0]) + len(sequence[1])

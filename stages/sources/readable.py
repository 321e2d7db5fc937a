"""Somebody else's model files: whatever a library says of them, the error names them.

The one decision: every failure of a reader is the files' fault, and none of it runs their code.
"""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Somebody's files in transformers' hands: whatever it raises of them, the message names them.

    Raises:
        ValueError: they cannot be read.
    """
    try:
        yield
    except Exception as wrong:
        said = " ".join(str(wrong).split())[:300]
        raise ValueError(f"{name} cannot be read as a model without code of its own: {said}") from wrong

"""Tokens and keys, kept out of everything that is written.

The one decision: a secret is known by the name of what holds it. Its value, wherever it turns up in a text on its way
to a log, a manifest, MLflow or a person, is replaced by that name.
"""

import io
import json
import os
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

NAMED = re.compile(r"TOKEN(?!IZ)|KEY(?!BOARD|MAP)|SECRET|PASSWORD|PASSWD|CREDENTIAL", flags=re.IGNORECASE)
SHORTEST = 8
"""A shorter value is a word that would be found everywhere."""
IN_URL = re.compile(r"(?<=://)[^/\s@:]*:[^/\s@]*@")
SAID = re.compile(
    r"(.*(?:api_?key|token|secret|password|credentials?|notify\.url))=(.*)", flags=re.IGNORECASE | re.DOTALL
)

UNSAFE = re.compile(r"[^\w.+@-]")
"""What a name may have that JSON or a terminal would read as more than a name."""


def secrets() -> Iterator[tuple[str, str]]:
    """Every secret by name, the longest first: of the environment, and of the command line's ``...token=VALUE``.

    Of one with several lines, such as a private key, each line is a secret too. A path that exists is none.
    """
    held = [(name, value) for name, value in os.environ.items() if NAMED.search(name)]
    held += [(match[1], match[2]) for match in map(SAID.fullmatch, sys.argv) if match]
    texts = [(UNSAFE.sub("_", name), text.strip()) for name, value in held for text in {value, *value.splitlines()}]
    for name, text in sorted(texts, key=lambda one: -len(one[1])):
        if len(text) >= SHORTEST and not os.path.exists(text):
            yield name, text


def hidden(text: str) -> str:
    """The text without secrets, and without passwords in addresses."""
    for name, value in secrets():
        for spelled in {value, json.dumps(value)[1:-1], repr(value)[1:-1], quote(value, safe="")}:
            text = text.replace(spelled, f"<{name}>")
    return IN_URL.sub("<hidden>@", text)


def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print a traceback without secrets: what Python's own hook does otherwise."""
    print(hidden("".join(traceback.format_exception(kind, error, trace))), file=sys.stderr)


class Hiding(io.TextIOWrapper):
    """A log file that no secret is written to."""

    def write(self, text: str) -> int:
        """Write without secrets."""
        super().write(hidden(text))
        return len(text)


def sweep(log: Path) -> None:
    """Take secrets out of a file that others wrote to as well: compiled libraries, or a process that was killed."""
    try:
        before = log.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return
    if (after := hidden(before)) != before:
        log.write_text(after, encoding="utf-8", errors="surrogateescape")

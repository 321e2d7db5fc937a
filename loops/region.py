"""The last lines of a terminal, drawn again and again below what scrolls by.

The one decision: rich draws. Added is what it leaves to chance: everything else that is written scrolls by above, and
where a narrower terminal has broken drawn lines in two, both halves are wiped out.
"""

import os
import sys
from collections.abc import Callable
from itertools import chain
from math import ceil

from rich.console import Console as Terminal
from rich.console import ConsoleRenderable, RenderableType
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType, Segment, SegmentLines
from rich.text import Text

from loops.capture import Captured
from loops.plain import plain
from loops.secrets import hidden


class Region(Live):
    """Draws what ``view`` gives for a terminal, twice a second, until ``stop``, which wipes it out."""

    def __init__(self, view: Callable[[Terminal], RenderableType]) -> None:
        self._file = os.fdopen(os.dup(1), "w", encoding=sys.stdout.encoding, errors="replace")
        self._view, self._next = view, list[int]()
        self._drawn: list[int] = []
        terminal = Terminal(file=self._file, highlight=False, markup=False, emoji=False)
        super().__init__(
            console=terminal,
            transient=True,
            refresh_per_second=2,
            redirect_stdout=False,
            redirect_stderr=False,
            get_renderable=self._renderable_now,
        )

    def start(self, refresh: bool = True) -> None:
        """Draw from now on; what is written to the terminal scrolls by above."""
        self._captured = Captured(self._above)
        super().start(refresh)

    def stop(self) -> None:
        """Give the terminal back."""
        if self.is_started:
            self._captured.end()
            super().stop()
            self._file.close()

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """See rich: what is to be written above, and around it what wipes the region out and draws it."""
        self._measure()
        columns = self.console.width
        more = sum(max(0, ceil(width / columns) - 1) for width in self._drawn)
        self._drawn = [min(width, columns) for width in self._next]
        up = chain.from_iterable([((ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1))] * more)
        return [Control(*up), *super().process_renderables(renderables)]

    def _measure(self) -> None:
        """The terminal's size, which rich would ask of standard streams that may lead elsewhere."""
        columns, lines = os.get_terminal_size(self._file.fileno())
        self.console.size = (columns or 80, lines or 24)

    def _renderable_now(self) -> RenderableType:
        self._measure()
        shown = self.console.render_lines(self._view(self.console))
        lines = [_stripped(line) for line in shown[: self.console.height - 1]]
        self._next = [sum(segment.cell_length for segment in line) for line in lines]
        return SegmentLines(lines, new_lines=True)

    def _above(self, line: str) -> None:
        self.console.print(Text(plain(hidden(line))), soft_wrap=True)


def _stripped(line: list[Segment]) -> list[Segment]:
    """The line without blanks at its end, which a narrower terminal would break off as lines of their own."""
    while line and not line[-1].text.strip(" "):
        line = line[:-1]
    return line

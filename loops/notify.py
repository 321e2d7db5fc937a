"""Who is told what came of an advance: a webhook, and a shell command.

The one decision: whoever is told never changes what came of it. A server that is down, or a command that fails, is a
line on stderr.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from loops.secrets import hidden

PATIENCE = 10.0
"""Seconds that a server is waited for; a command has six times as many."""


@dataclass(frozen=True, kw_only=True)
class Notify:
    """What a configuration says under ``notify:``.

    Args:
        url: gets the news as JSON, by POST. Its ``text`` is one sentence, as Slack and Mattermost read it.
        command: a shell command, which reads the same JSON on its standard input and finds ``SELFLOOP_OUTCOME`` and
            ``SELFLOOP_TEXT`` in its environment. An address that is a secret belongs into one, such as
            ``curl -d @- "$HOOK"``.
    """

    url: str | None = None
    command: str | None = None

    def __post_init__(self) -> None:
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise ValueError(f"url is http://... or https://..., not {self.url!r}")

    def send(self, news: Mapping[str, Any]) -> None:
        """Tell both; what goes wrong is a warning."""
        for tell in (self._post, self._run):
            try:
                tell(news)
            except Exception as failure:
                print(hidden(f"nobody was told ({type(failure).__name__}: {failure})"), file=sys.stderr)

    def _post(self, news: Mapping[str, Any]) -> None:
        if self.url is None:
            return
        import urllib3

        try:
            answer = urllib3.request("POST", self.url, json=dict(news), timeout=PATIENCE, retries=2)
        except urllib3.exceptions.HTTPError as failure:  # which would print the address, and that may be a secret
            raise ConnectionError(f"{urlsplit(self.url).hostname}: {type(failure).__name__}") from None
        if answer.status >= 400:
            raise ValueError(f"the webhook answered {answer.status}")

    def _run(self, news: Mapping[str, Any]) -> None:
        if self.command is None:
            return
        said = {"SELFLOOP_OUTCOME": str(news["outcome"]), "SELFLOOP_TEXT": str(news["text"])}
        subprocess.run(
            self.command,
            shell=True,
            check=True,
            input=json.dumps(dict(news)),
            text=True,
            env={**os.environ, **said},
            timeout=6 * PATIENCE,
        )

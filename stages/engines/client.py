"""JSON over HTTP to a server that may be busy, slow or down: at a pace, with further tries, and the key never told.

The one decision: waiting and trying again are urllib3's, which heeds ``Retry-After``; ours is only the pace, which all
threads keep together, further tries included.
"""

import threading
import time
from typing import Any, Self

from urllib3 import BaseHTTPResponse, PoolManager, Timeout
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

BUSY = (408, 409, 425, 429, 500, 502, 503, 504)
"""What a server says that may well answer the next time."""


class Pace:
    """Lets so many begin in a minute, evenly; without a number all that come."""

    def __init__(self, per_minute: float | None) -> None:
        self._apart = 60 / per_minute if per_minute else 0.0
        self._next, self._lock = 0.0, threading.Lock()

    def wait(self) -> None:
        """Return when it is the caller's turn."""
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + self._apart
        time.sleep(turn - now)


class _Paced(Retry):
    """urllib3's further tries, each of which waits its turn."""

    pace: Pace

    def new(self, **changed: Any) -> Self:
        again = super().new(**changed)
        again.pace = self.pace
        return again

    def sleep(self, response: BaseHTTPResponse | None = None) -> None:
        super().sleep(response)
        self.pace.wait()


class Client:
    """Asks one server.

    Args:
        url: what every path is under.
        connections, per_minute, retries, timeout: see Server.
        key: goes into the request's header and nowhere else.
    """

    def __init__(
        self, *, url: str, connections: int, per_minute: float | None, retries: int, timeout: float, key: str | None
    ) -> None:
        self.url, self._key, self._pace = url.rstrip("/"), key, Pace(per_minute)
        self._retries = _Paced(
            total=retries,
            allowed_methods=None,
            status_forcelist=BUSY,
            backoff_factor=0.5,
            backoff_jitter=0.5,
            backoff_max=60,
            raise_on_status=False,
        )
        self._retries.pace = self._pace
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._pool = PoolManager(maxsize=connections, block=True, headers=headers, timeout=Timeout(timeout))

    def get(self, path: str) -> Any:
        """What the server says at this path."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """What the server answers to this body."""
        return self._ask("POST", path, body)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        self._pace.wait()
        where = f"{self.url}/{path}"
        try:
            reply = self._pool.request(method, where, json=body, retries=self._retries, redirect=False)
        except HTTPError as failed:
            raise RuntimeError(f"{where} was not to be had: {self._hidden(str(failed))}") from None
        if reply.status != 200:
            said = self._hidden(reply.data.decode("utf-8", "replace"))[:500]
            raise RuntimeError(f"{where} answered {reply.status}: {said}")
        try:
            return reply.json()
        except (ValueError, RecursionError) as wrong:
            raise RuntimeError(f"{where} answered no JSON: {self._hidden(str(wrong))[:200]}") from None

    def _hidden(self, text: str) -> str:
        return text.replace(self._key, "...") if self._key else text


def listed(said: Any, name: str) -> list[Any]:
    """The list of this name in what a server said; empty if there is none."""
    found = said.get(name) if isinstance(said, dict) else None
    return found if isinstance(found, list) else []

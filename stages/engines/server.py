"""Generation by a server that speaks OpenAI's completions protocol with prompts of token ids, such as ``vllm serve``.

The one decision: a server is believed only if it says that it serves the very model that the step asks for, because
answers of other weights would be kept under a key that is not theirs. It is asked anew for every wave of requests.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from stages.artifacts import Model
from stages.engines.client import Client, listed
from stages.engines.engine import Answer, Request, Sampling
from stages.progress import count_tokens, progress

Whose = tuple[int, int]
"""The places of a request and of a seed in it."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server that somebody started; it is sent one request an answer. In which precision it computes nobody can see:
    ``vllm serve`` rounds weights that are stored in float32 unless it is told ``--dtype float32``.

    Args:
        url: up to and with ``/v1``.
        rows: requests that are under way at once, at most.
        per_minute: requests that are begun in a minute, at most, further tries among them; without it no limit.
        retries: further tries of a request that met a busy or broken server; waits grow, or the server says how long.
        timeout: seconds until an answer that has not come counts as failed.
        key_variable: the environment variable that holds the server's key. The key itself is never written anywhere.
        seeds: whether each answer's own seed is sent; how far answers can be drawn again is the server's affair. A vLLM
            server on a CPU dies of seeds, unless it was started with ``--no-enable-chunked-prefill``.
        extended: whether the server knows vLLM's words and gives the ids that it generated. If not, only the protocol's
            own words are sent, the server ends an answer by its own rules, and its text is encoded anew.
    """

    url: str
    rows: int = 64
    per_minute: float | None = None
    retries: int = 8
    timeout: float = 600.0
    key_variable: str | None = None
    seeds: bool = True
    extended: bool = True

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"url begins with http:// or https://, as in http://127.0.0.1:8000/v1, not {self.url!r}")
        if "@" in self.url:
            raise ValueError("url holds a password, and would be written to orders; say key_variable instead")
        if self.rows < 1 or self.retries < 0:
            raise ValueError(f"rows must be at least 1 and retries at least 0, not {self.rows} and {self.retries}")
        if self.timeout <= 0 or (self.per_minute is not None and self.per_minute <= 0):
            raise ValueError(f"timeout and per_minute must be above 0, not {self.timeout} and {self.per_minute}")
        if self.key_variable is not None and self.key_variable not in os.environ:
            raise ValueError(
                f"the server's key is to be in the environment variable {self.key_variable}: it is not set"
            )

    def generate(self, model: Model, requests: Sequence[Request], sampling: Sampling) -> Iterator[Answer]:
        """See Engine.generate.

        Raises:
            ValueError: the server does not serve this model.
            RuntimeError: the server refused a request, or could not be had in all its tries.
        """
        from stages.engines.models import end_of_turn

        client, ends = self._client(), end_of_turn(model)
        asked = {"model": _name(client, model), **self._words(ends, sampling)}
        bodies = {
            (index, place): {**asked, "prompt": request.prompt} | ({"seed": seed % 2**63} if self.seeds else {})
            for index, request in enumerate(requests)
            for place, seed in enumerate(request.seeds)
        }
        for whose, choice in self._choices(client, bodies):
            ids = self._ids(choice, model, ends)
            count_tokens(len(ids))
            yield Answer(*whose, ids)

    def _client(self) -> Client:
        return Client(
            url=self.url,
            connections=self.rows,
            per_minute=self.per_minute,
            retries=self.retries,
            timeout=self.timeout,
            key=os.environ[self.key_variable] if self.key_variable else None,
        )

    def _words(self, ends: list[int], sampling: Sampling) -> dict[str, Any]:
        """How to draw. A server's own defaults are overruled: they would draw from another distribution."""
        own = {"max_tokens": sampling.max_new_tokens, "temperature": sampling.temperature, "top_p": sampling.top_p}
        plain = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
        ending = {"stop_token_ids": ends, "ignore_eos": True, "return_token_ids": True}
        return own | plain | ending if self.extended else own

    def _ids(self, choice: dict[str, Any], model: Model, ends: list[int]) -> list[int]:
        """
        Raises:
            ValueError: the server gave no ids, though it was said to know the words for it, or no text.
        """
        from stages.engines.models import load_tokenizer

        if not self.extended:
            if not isinstance(choice.get("text"), str):
                raise ValueError(f"{self.url} answered without a text: {str(choice)[:200]}")
            text = choice["text"].encode("utf-8", "replace").decode()
            written: list[int] = load_tokenizer(model)(text, add_special_tokens=False)["input_ids"]
            return written + ends[: choice.get("finish_reason") == "stop"]
        tokens = choice.get("token_ids")
        if not isinstance(tokens, list) or not tokens:
            raise ValueError(f"{self.url} gives no token ids: it does not know vLLM's words, so say extended: false")
        if not all(type(token) is int and 0 <= token < 2**31 for token in tokens):
            raise ValueError(f"{self.url} gives token ids that are none: {str(tokens)[:200]}")
        return tokens

    def _choices(self, client: Client, bodies: Mapping[Whose, Any]) -> Iterator[tuple[Whose, dict[str, Any]]]:
        """What is chosen for each body, ``rows`` at a time; where one fails no others are begun."""
        with ThreadPoolExecutor(self.rows) as pool, progress("asking", len(bodies), "answers") as bar:
            replies = {pool.submit(client.post, "completions", body): whose for whose, body in bodies.items()}
            try:
                for reply in as_completed(replies):
                    yield replies[reply], _first(client, reply.result())
                    bar.update()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _name(client: Client, model: Model) -> str:
    """By which name the server knows the model: the one whose name or folder is called as the model's identity."""
    from stages.engines.models import stored_dtype

    served = [one for one in listed(client.get("models"), "data") if isinstance(one, dict) and "id" in one]
    for one in served:
        if {model.identity, model.path.name} & {PurePath(str(one.get(word))).name for word in ("id", "root")}:
            return str(one["id"])
    names = ", ".join(str(one["id"]) for one in served) or "nothing"
    raise ValueError(
        f"{client.url} serves {names}, but the step asks for the model {model.identity}, and answers of another would "
        f"be false. Say `vllm serve {model.path} --dtype {stored_dtype(model)}`, then the same again"
    )


def _first(client: Client, said: Any) -> dict[str, Any]:
    for choice in listed(said, "choices"):
        if isinstance(choice, dict):
            return choice
    raise ValueError(f"{client.url} answered without a choice: {str(said)[:200]}")

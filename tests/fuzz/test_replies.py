"""What servers reply and what files of ours hold when something else wrote them: one line, no answer, no hang."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loops.store import Store
from stages.engines.engine import Request, Sampling
from stages.engines.server import Server

FUZZ = settings(
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
GREEDY = Sampling(temperature=0, top_p=1.0, max_new_tokens=4)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["choices", "text", "token_ids", "data", "id", "root"]), inner, max_size=3)
    ),
    max_leaves=8,
)
choices = st.lists(anything | st.fixed_dictionaries({"text": anything, "token_ids": anything}), min_size=1, max_size=2)
choice = st.fixed_dictionaries({"choices": anything | choices})
replies = st.binary(max_size=40) | (anything | choice).map(lambda value: json.dumps(value).encode())


class Parrot(ThreadingHTTPServer):
    """Says of its models what is right, or ``models``; and answers ``reply``."""

    models: bytes
    reply: bytes


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.say(self.server.models)

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.say(self.server.reply)

    def say(self, said):
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *words):
        pass


@pytest.fixture
def parrot(tiny_model):
    with Parrot(("127.0.0.1", 0), Handler) as made:
        made.models = json.dumps({"data": [{"id": tiny_model.identity}]}).encode()
        threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        yield made
        made.shutdown()


def answer(parrot, model, extended):
    """The ids of one answer, or what was refused."""
    url = f"http://127.0.0.1:{parrot.server_address[1]}/v1"
    try:
        ((ids,),) = Server(url=url, extended=extended, retries=0).generate(
            model, [Request(prompt=[5], seeds=[1])], GREEDY
        )
    except (ValueError, RuntimeError) as refused:
        return str(refused)
    return ids


@FUZZ
@given(reply=replies, extended=st.booleans())
def test_any_reply_is_ids_or_a_refusal_that_names_the_server(parrot, tiny_model, reply, extended):
    parrot.reply = reply
    said = answer(parrot, tiny_model, extended)
    if isinstance(said, str):
        assert "http://127.0.0.1" in said
        assert "\n" not in said
        assert len(said) < 600
    else:
        assert all(type(one) is int and one >= 0 for one in said)


@FUZZ
@given(reply=replies)
def test_any_list_of_models_is_refused_unless_ours_is_in_it(parrot, tiny_model, reply):
    parrot.models, parrot.reply = reply, b""
    said = answer(parrot, tiny_model, True)
    assert isinstance(said, str)
    assert "http://127.0.0.1" in said


@FUZZ
@given(content=st.binary(max_size=60) | anything.map(lambda value: json.dumps(value).encode()))
def test_a_manifest_that_is_none_is_damage_and_no_artifact(tmp_path, content):
    store = Store(tmp_path)
    path = store.path("0" * 16)
    path.mkdir(parents=True, exist_ok=True)
    (path / "manifest.json").write_bytes(content)
    assert store.read("0" * 16) is None
    (said,) = store.damage("0" * 16)
    assert "manifest.json cannot be read" in said

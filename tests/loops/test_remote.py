"""A remote behind the store: whole or absent there too, fetched when needed, and made again if it is damaged.

Each promise is held on fsspec's memory and on files, and on a server that speaks S3 where moto and s3fs are installed.
"""

import json
import multiprocessing
import os
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from loops import record
from loops.__main__ import main
from loops.console import plan_lines
from loops.errors import RecipeError, RemoteFailed, StepFailed
from loops.executors import Inline, Local
from loops.forecast import forecast
from loops.manifest import Manifest, inventory
from loops.plan import unroll
from loops.recipe import load
from loops.remote import WEIGHTY, Remote
from loops.runner import Runner
from loops.shared import opened
from tests.loops.recipes import toy
from tests.loops.test_runner import Listener

KEY = "abcd"
FILES = {"first": "hello", "folder/second": "world", "third": ""}


@pytest.fixture(scope="session")
def s3():
    """A bucket of a server of this machine."""
    pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'selfloop[s3-tests]'")
    moto = pytest.importorskip("moto.server", reason="moto is not installed: pip install 'selfloop[s3-tests]'")
    server = moto.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    told = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_DEFAULT_REGION": "us-east-1"}
    told |= {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "a secret of nobody"}
    with pytest.MonkeyPatch.context() as environment:
        for name, value in told.items():
            environment.setenv(name, value)
        fsspec.filesystem("s3").mkdir("bucket")
        yield "s3://bucket"
        server.stop()


@pytest.fixture(params=["memory", "file", "s3"])
def url(request, tmp_path):
    """An empty remote."""
    if request.param == "s3":
        return f"{request.getfixturevalue('s3')}/{tmp_path.name}"
    return f"memory://{tmp_path.name}" if request.param == "memory" else f"{tmp_path}/remote"


@pytest.fixture
def directory(tmp_path):
    """A remote whose files the test can harm."""
    return tmp_path / "remote"


def manifest(draft):
    return Manifest(
        key=KEY, stage={"type": "x.Toy"}, inputs={}, metrics={}, seconds=1.0, provenance={}, files=inventory(draft)
    )


def made(store, files=FILES):
    """Make the artifact, unless it is there."""
    with store.claim(KEY) as draft:
        if draft is not None:
            for name, text in files.items():
                (draft / name).parent.mkdir(exist_ok=True)
                (draft / name).write_text(text)
            store.commit(draft, manifest(draft))


def contents(store):
    return {name: (store.path(KEY) / name).read_text() for name in FILES}


def run(root, url, executor=None, **changes):
    """A loop of toys on a machine of its own."""
    listener, plan = Listener(), unroll(load(toy(**changes)))
    store = opened(root / "store", url)
    store.share(step.key for step in plan.steps)
    Runner(store, executor or Inline(), [listener], root / "run").run(plan)
    return listener


def pulled(root):
    return sorted(path.parent.name for path in (root / "store").glob("artifacts/*/*/manifest.json"))


def test_an_artifact_that_one_machine_made_is_the_same_to_the_byte_on_another(url, tmp_path):
    here, there = opened(tmp_path / "here", url), opened(tmp_path / "there", url)
    made(here)
    assert there.read(KEY) is None, "nobody has looked"
    there.look([KEY])
    assert there.read(KEY) == here.read(KEY)
    assert not there.path(KEY).exists(), "to look fetches no file"
    assert there.away([KEY]) == {KEY}
    assert there.fetch(KEY) == here.read(KEY)
    files = [path.relative_to(here.root) for path in here.root.rglob("*") if path.is_file()]
    assert [(there.root / file).read_bytes() for file in files] == [(here.root / file).read_bytes() for file in files]
    assert opened(there.root, url).away([KEY]) == set()


def test_what_is_nowhere_is_fetched_from_nowhere(url, tmp_path):
    store = opened(tmp_path / "here", url)
    store.look([KEY])
    assert store.fetch(KEY) is None
    assert store.away([KEY]) == set()


def test_another_machine_makes_nothing_twice_and_fetches_only_what_it_reads(url, tmp_path):
    assert len(run(tmp_path / "one", url).made) == 4
    other = run(tmp_path / "two", url)
    assert (other.made, len(other.cached)) == ([], 4)
    assert json.loads((tmp_path / "two/run/final/total/number.json").read_text()) == 15
    assert len(pulled(tmp_path / "two")) == 1, "only the result"
    assert run(tmp_path / "three", url, rounds=3).made == ["round-03/add"]
    assert len(pulled(tmp_path / "three")) == 3, "what it made, and the two that it read"
    assert run(tmp_path / "one", url, rounds=3).made == []


def test_workers_that_are_processes_fetch_and_put_too(s3, tmp_path):
    url = f"{s3}/{tmp_path.name}"
    run(tmp_path / "one", url)
    executor = Local()
    assert run(tmp_path / "two", url, executor, rounds=3).made == ["round-03/add"]
    assert run(tmp_path / "three", url, rounds=3).made == []


def test_what_was_made_without_a_remote_is_put_there_and_not_made_again(url, tmp_path):
    run(tmp_path, None)
    assert run(tmp_path, url).made == []
    assert run(tmp_path / "other", url).made == []


class Struck(LocalFileSystem):
    """Files whose writer fails at the n-th write, in the middle of it."""

    protocol = "struck"
    left = 10**9
    failure: BaseException = KeyboardInterrupt()

    def __init__(self):
        super().__init__(auto_mkdir=True)

    def put_file(self, path1, path2, callback=None, **kwargs):
        self._strike(path2, Path(path1).read_bytes())
        super().put_file(path1, path2)

    def _strike(self, path, value):
        Struck.left -= 1
        if Struck.left < 0:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_bytes(value[: len(value) // 2])
            raise Struck.failure


@pytest.fixture
def struck(directory, monkeypatch):
    fsspec.register_implementation("struck", Struck, clobber=True)
    monkeypatch.setattr(Struck, "left", 10**9)
    return f"struck://{directory}"


@pytest.mark.parametrize("writes", range(len(FILES) + 1))
def test_a_writer_that_is_cut_off_leaves_nothing_that_anybody_finds(struck, directory, tmp_path, writes):
    here, there = opened(tmp_path / "here", struck), opened(tmp_path / "there", str(directory))
    Struck.left = writes
    with suppress(KeyboardInterrupt):
        made(here)
    assert Struck.left < 0, "it was struck"
    there.look([KEY])
    assert there.read(KEY) is None
    assert there.fetch(KEY) is None
    assert here.read(KEY) is not None, "nothing that was made is lost"
    Struck.left = 10**9
    opened(here.root, struck).share([KEY])
    there = opened(there.root, str(directory))
    assert there.fetch(KEY) is not None
    assert contents(there) == FILES


@pytest.mark.parametrize("writes", [1, len(FILES)])
def test_a_writer_that_is_killed_leaves_nothing_in_a_bucket(s3, tmp_path, writes):
    url = f"{s3}/{tmp_path.name}"
    writer = multiprocessing.get_context("spawn").Process(target=_killed, args=(tmp_path / "here", url, writes))
    writer.start()
    writer.join()
    assert writer.exitcode == -signal.SIGKILL
    assert opened(tmp_path / "there", url).fetch(KEY) is None
    opened(tmp_path / "here", url).share([KEY])
    there = opened(tmp_path / "there", url)
    assert there.fetch(KEY) is not None
    assert contents(there) == FILES


def _killed(root, url, writes):
    """In a process of its own: the connection is used so often, and then the process is killed."""
    from s3fs import S3FileSystem

    call, left = S3FileSystem._call_s3, [writes]

    async def counted(self, method, *args, **kwargs):
        if method == "put_object":
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
        return await call(self, method, *args, **kwargs)

    S3FileSystem._call_s3 = counted
    made(opened(root, url))


def test_a_remote_that_fails_fails_the_step_but_loses_nothing(struck, tmp_path):
    Struck.failure, Struck.left = OSError("the network is gone"), 5
    try:
        with pytest.raises(StepFailed, match="the network is gone"):
            run(tmp_path, struck)
    finally:
        Struck.failure, Struck.left = KeyboardInterrupt(), 10**9
    steps = pulled(tmp_path)
    listener = run(tmp_path, struck)
    assert len(listener.made) == 4 - len(steps)
    assert run(tmp_path / "other", struck).made == []


def blob(directory, text="hello"):
    return next(path for path in directory.glob("files/*/*") if path.read_text() == text)


def truncated(directory):
    blob(directory).write_text("hel")


def edited(directory):
    blob(directory).write_text("hallo")


def missing(directory):
    blob(directory).unlink()


HARMS = [truncated, edited, missing]


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
def test_what_is_damaged_there_is_not_taken_for_an_artifact_and_is_replaced(harm, directory, tmp_path):
    url = str(directory)
    made(opened(tmp_path / "here", url))
    harm(directory)
    with pytest.raises(RemoteFailed, match="is damaged there, and will be made again"):
        opened(tmp_path / "there", url).fetch(KEY)
    again = opened(tmp_path / "there", url)
    assert again.fetch(KEY) is None
    made(again)
    last = opened(tmp_path / "last", url)
    assert last.fetch(KEY) is not None
    assert contents(last) == FILES


def test_a_loop_that_meets_a_damaged_input_says_so_and_makes_it_again_when_it_is_said_again(directory, tmp_path):
    url = str(directory)
    run(tmp_path / "one", url)
    for file in directory.glob("files/*/*"):
        if file.read_text() == "1.0":
            file.write_text("2.0")
    with pytest.raises(StepFailed, match="is damaged there"):
        run(tmp_path / "two", url, rounds=3)
    assert sorted(run(tmp_path / "two", url, rounds=3).made) == ["round-03/add", "setup/step"]
    assert json.loads((tmp_path / "two/run/final/total/number.json").read_text()) == 19


def unreadable(text):
    return "{"


def foreign(text):
    return text.replace(KEY, "ef01")


def leading_out(text):
    return text.replace('"first"', '"../../../../first"')


def over_the_manifest(text):
    return text.replace('"first"', '"manifest.json"')


def without_digests(text):
    return text.replace('"sha256"', '"sha1"')


@pytest.mark.parametrize(
    "harm", [unreadable, foreign, leading_out, over_the_manifest, without_digests], ids=lambda harm: harm.__name__
)
def test_a_manifest_that_nobody_of_us_wrote_is_none(harm, directory, tmp_path):
    made(opened(tmp_path / "here", str(directory)))
    told = directory / "manifests" / f"{KEY}.json"
    told.write_text(harm(told.read_text()))
    store = opened(tmp_path / "there", str(directory))
    store.look([KEY])
    assert store.read(KEY) is None
    assert store.fetch(KEY) is None
    assert not list(tmp_path.glob("**/first")) or store.path(KEY).exists() is False


def test_a_download_that_was_cut_off_goes_on_with_what_had_arrived(directory, tmp_path):
    made(opened(tmp_path / "here", str(directory)))
    found = Remote(str(directory)).manifests([KEY])[KEY]
    draft = tmp_path / "draft"
    Remote(str(directory)).pull(found, draft)
    (draft / "folder/second").write_text("wor")
    blob(directory).unlink()
    Remote(str(directory)).pull(found, draft)
    assert (draft / "folder/second").read_text() == "world"


class Torn(MemoryFileSystem):
    """Memory of which only a part arrives, once."""

    protocol = "torn"
    tears = 1

    def get_file(self, rpath, lpath, **kwargs):
        super().get_file(rpath, lpath)
        if Torn.tears and Path(lpath).name == "first":
            Torn.tears -= 1
            Path(lpath).write_text("he")


def test_what_did_not_arrive_whole_is_no_artifact_and_is_fetched_again(tmp_path):
    fsspec.register_implementation("torn", Torn, clobber=True)
    url = f"torn://{tmp_path.name}"
    made(opened(tmp_path / "here", url))
    with pytest.raises(RemoteFailed, match="did not arrive whole"):
        opened(tmp_path / "there", url).fetch(KEY)
    again = opened(tmp_path / "there", url)
    assert not again.path(KEY).exists()
    assert again.fetch(KEY) is not None
    assert contents(again) == FILES


def test_a_large_file_that_is_there_is_not_sent_again(url, tmp_path):
    weights = {"weights": "w" * WEIGHTY}
    made(opened(tmp_path / "one", url), weights)
    sent = times(url)
    made(opened(tmp_path / "two", url), weights)
    assert times(url) == sent
    assert opened(tmp_path / "three", url).fetch(KEY) is not None


def times(url):
    """When each of the remote's files was written."""
    system, root = fsspec.url_to_fs(url)
    system.invalidate_cache()
    found = system.find(f"{root}/files", detail=True)
    assert found
    return {name: told.get("LastModified", told.get("mtime", told.get("created"))) for name, told in found.items()}


def test_two_makers_whose_results_differ_never_mix_them(url, tmp_path):
    many = {f"file-{number}": "" for number in range(6)}
    stores = [opened(tmp_path / str(number), url) for number in range(4)]
    with ThreadPoolExecutor(len(stores)) as threads:
        list(threads.map(lambda at: made(stores[at], {name: f"{at} {name}" for name in many}), range(len(stores))))
    last = opened(tmp_path / "last", url)
    assert last.fetch(KEY) is not None
    told = {(last.path(KEY) / name).read_text().split()[0] for name in many}
    assert len(told) == 1


class Counting(MemoryFileSystem):
    """Memory that counts what it is asked."""

    protocol = "counting"
    asked: list[str] = []

    def ls(self, path, detail=True, **kwargs):
        Counting.asked.append("ls")
        return super().ls(path, detail=detail, **kwargs)

    def cat_file(self, path, start=None, end=None, **kwargs):
        Counting.asked.append("cat")
        return super().cat_file(path, start, end)

    def info(self, path, **kwargs):
        Counting.asked.append("info")
        return super().info(path)


def test_a_plan_of_many_steps_lists_once_and_asks_for_none(tmp_path):
    fsspec.register_implementation("counting", Counting, clobber=True)
    url, plan = f"counting://{tmp_path.name}", unroll(load(toy(rounds=40)))
    opened(tmp_path / "none", url).look(step.key for step in plan.steps)
    assert Counting.asked == ["ls"], "of what is not there nothing is asked"
    run(tmp_path / "one", url, rounds=40)
    Counting.asked.clear()
    ahead = forecast(plan, opened(tmp_path / "two", url), here=False, device_memory=None)
    lines = plan_lines(ahead)
    assert Counting.asked == ["ls"]
    assert sum("  away  " in line for line in lines) == len(plan.steps)
    assert any("fetched when a step reads them" in line for line in lines)
    assert ahead.to_run == {}
    Counting.asked.clear()
    run(tmp_path / "two", url, rounds=40)
    assert Counting.asked.count("ls") == 1
    assert Counting.asked.count("cat") <= len(plan.steps) + 2


@pytest.mark.parametrize(
    ("remote", "said"),
    [
        ("gs://bucket", "pip install 'selfloop[gcs]'"),
        ("nowhere://bucket", "nowhere"),
        ("sftp://me:password@host/place", "put that into the environment"),
        ("{a: 1}", "expected an address"),
    ],
)
def test_a_remote_that_nobody_can_speak_to_is_refused_while_planning(remote, said, tmp_path, monkeypatch, capsys):
    if remote.startswith("gs") and "gcsfs" in sys.modules:
        pytest.skip("gcsfs is installed")
    monkeypatch.chdir(tmp_path)
    assert main(["plan", "recipes=dice", f"remote={remote}"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("RecipeError: remote: ")
    assert said in told
    assert "password@" not in told


def test_a_bucket_that_does_not_answer_is_said_in_a_line_before_anything_is_made(tmp_path, monkeypatch, capsys):
    pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'selfloop[s3-tests]'")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    for name, value in {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_MAX_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret of nobody")
    monkeypatch.chdir(tmp_path)
    fsspec.filesystem("s3").clear_instance_cache()
    assert main(["recipes=one", "tracker=silent", "executor=inline", "remote=s3://bucket"] if one() else []) == 2
    told = capsys.readouterr().err
    assert told.startswith("RemoteFailed: s3://bucket: ")
    assert told.count("\n") == 1
    assert not (tmp_path / "store/artifacts").exists()
    fsspec.filesystem("s3").clear_instance_cache()


def one():
    """A recipe of one step, where one stands."""
    Path("recipes").mkdir()
    Path("recipes/one.yaml").write_text(
        "# @package _global_\n# One.\nname: one\nrounds: 0\ncarry: {}\nround: {}\n"
        "setup:\n  one: {stage: {_target_: tests.loops.toys.Constant, value: 1}}\n"
    )
    return True


def test_through_the_command_line_a_run_is_seen_on_a_machine_that_has_none_of_its_files(tmp_path, monkeypatch, capsys):
    for machine in ("one", "two"):
        (tmp_path / machine).mkdir()
        monkeypatch.chdir(tmp_path / machine)
        one()
        words = ["recipes=one", "tracker=silent", "executor=inline", "remote=../bucket"]
        capsys.readouterr()
        assert main(["plan", *words]) == 0
        assert ("  away  " in capsys.readouterr().out) == (machine == "two")
        assert main(words) == 0
    assert "one: 0 steps run" in capsys.readouterr().out
    assert not Path("store").exists()
    assert main(["status"]) == 0
    assert "1 of 1 steps finished" in capsys.readouterr().out
    assert record.read(Path("runs/one")).remote == (tmp_path / "bucket").as_uri()
    assert main(["show", "setup/one"]) == 0
    told = capsys.readouterr().out
    assert "number.json" in told
    assert "pulling Constant" in told
    assert main(["verify"]) == 0
    assert main(["gc", "--yes"]) == 0


def test_a_recipe_file_cannot_say_where_results_go(tmp_path, monkeypatch):
    from loops.recipe_file import read

    (tmp_path / "mine.yaml").write_text("name: mine\nremote: s3://theirs\n")
    with pytest.raises(RecipeError, match=r"say remote=\.\.\. on the command line"):
        read(tmp_path / "mine.yaml")

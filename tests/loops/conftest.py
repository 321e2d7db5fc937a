"""MLflow: a database with nothing in it yet, and a real server."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress

import pytest


@pytest.fixture(scope="session")
def empty(tmp_path_factory):
    """A database of MLflow with nothing in it: making one takes seconds, copying it none."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def uri(tmp_path, empty):
    """Where MLflow is told, in a database of the test's own."""
    return f"sqlite:///{shutil.copy(empty, tmp_path)}"


@pytest.fixture
def server(tmp_path, uri):
    """A real MLflow server on loopback, in a process group of its own, and the file that it writes to."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    words = ["server", "--backend-store-uri", uri, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    running = subprocess.Popen(
        [sys.executable, "-m", "mlflow", *words, "--artifacts-destination", str(tmp_path / "mlflow")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(f"{url}/health").close()
            break
        except OSError:
            time.sleep(0.2)
    yield running, url, uri
    with suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)
    running.wait()

"""A real MLflow server."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress

import pytest


@pytest.fixture
def server(tmp_path):
    """A real MLflow server on loopback, in a process group of its own, and the file that it writes to."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    file, url = f"sqlite:///{tmp_path}/mlflow.db", f"http://127.0.0.1:{port}"
    words = ["server", "--backend-store-uri", file, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
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
    yield running, url, file
    with suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)
    running.wait()

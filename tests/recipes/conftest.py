"""Two rounds of DICE on the tiny model, run once for all tests that look at them."""

import shutil

import pytest

from tests.recipes.tiny import run


@pytest.fixture(scope="session")
def finished(tiny_model_path, tmp_path_factory):
    """A folder in which two rounds of DICE have run, and what was printed."""
    place = tmp_path_factory.mktemp("dice")
    done = run(place, tiny_model_path)
    assert done.returncode == 0, done.stdout + done.stderr
    return place, done.stdout


@pytest.fixture
def again(finished, tmp_path):
    """A copy of that folder, to do something to."""
    shutil.copytree(finished[0], tmp_path / "copy", symlinks=True)
    return tmp_path / "copy"

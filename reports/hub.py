"""A model on its way to the Hugging Face hub: what goes there, written into a directory or uploaded.

The one decision: both do the same with the same files, so what was looked at is what is uploaded. An upload is one
commit: either all of it is there, or nothing.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loops.console import say
from loops.errors import LoopError, RecipeError, RemoteFailed
from loops.plain import size


@dataclass(frozen=True, kw_only=True)
class Package:
    """What goes to the hub: files of an artifact, and texts beside them, by name."""

    title: str
    files: Mapping[str, Path]
    texts: Mapping[str, str]

    @property
    def bytes(self) -> int:
        """All together."""
        return sum(file.stat().st_size for file in self.files.values()) + sum(map(len, self.texts.values()))


def write(package: Package, place: Path) -> None:
    """Write it into a new directory.

    Raises:
        RecipeError: there is something already.
    """
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise RecipeError(f"to={place}: there is something already; name a new directory")
    for name, file in package.files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place / name)
    for name, text in package.texts.items():
        (place / name).write_text(text, encoding="utf-8")
    say(f"{package.title}: {size(package.bytes)} in {place}; the card is {place / 'README.md'}. Nothing was uploaded")


def upload(package: Package, repo: str, public: bool, agreed: Callable[[], bool]) -> None:
    """Upload it, if whoever was told where it goes and who can see it there agrees.

    Args:
        public: whether a repository that is not there yet is made for all to see.

    Raises:
        RecipeError: nobody is logged in, or ``repo`` is no name, or is there and ``public`` was asked for.
        RemoteFailed: the hub did not answer, or refused.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi()
    there = _standing(api, repo)
    if there and public:
        raise RecipeError(f"public=true is for a repository that is made now; {repo} is there already, and {there}")
    place = f"{api.endpoint}/{repo} ({there or ('new, public' if public else 'new, private')})"
    say("".join(f"  {name}\n" for name in sorted([*package.files, *package.texts])), end="")
    say(f"{package.title}: {size(package.bytes)} to {place}. The card has the words of the run's command line in it.")
    if not agreed():
        say("nothing was uploaded; --yes uploads it, and to=DIRECTORY writes it for you to look at")
        return
    files = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=file) for name, file in package.files.items()]
    files += [
        CommitOperationAdd(path_in_repo=name, path_or_fileobj=text.encode()) for name, text in package.texts.items()
    ]
    with _asked(api):
        api.create_repo(repo, private=not public, exist_ok=True)
        done = api.create_commit(repo, files, commit_message=package.title)
    say(f"uploaded: {done.commit_url}")


def _standing(api: Any, repo: str) -> str:
    """``public`` or ``private``; empty if there is no such repository yet.

    Raises:
        RecipeError: it is no name of a repository, or nobody is logged in.
    """
    from huggingface_hub import get_token
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    if repo.count("/") != 1:
        raise RecipeError(f"repo={repo}: expected USER/NAME")
    if get_token() is None:
        raise RecipeError(
            "nobody is logged in at the hub: say `hf auth login`, or set HF_TOKEN; to=DIRECTORY needs neither"
        )
    with _asked(api):
        try:
            return "private" if api.model_info(repo).private else "public"
        except HFValidationError as wrong:
            raise RecipeError(f"repo={repo}: {wrong}") from wrong
        except RepositoryNotFoundError:
            return ""


@contextmanager
def _asked(api: Any) -> Iterator[None]:
    try:
        yield
    except LoopError:
        raise
    except Exception as wrong:
        said = " ".join(f"{type(wrong).__name__}: {wrong}".split())[:300]
        raise RemoteFailed(f"the hub at {api.endpoint}: {said}") from wrong

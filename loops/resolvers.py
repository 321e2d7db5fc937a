"""What ``${name:...}`` may be in a configuration: ours, and no other.

The one decision: a resolver runs code and may read the environment, so it is allowed by name. OmegaConf's and Hydra's
own answer with a refusal, but for ``oc.select``, which reads the configuration alone.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.basecontainer import BaseContainer

from loops.errors import nearest
from loops.shipped import home
from loops.trust import trusted


def text(name: str) -> str:
    """``${text:NAME}``: what stands in ``recipes/prompts/NAME.txt``, where you stand or here.

    Raises:
        ValueError: there is no such prompt, or it is a link that leads elsewhere.
    """
    folders = [folder / "recipes" / "prompts" for folder in (Path.cwd(), home())]
    found = {file.stem: file for folder in reversed(folders) for file in sorted(folder.glob("*.txt"))}
    if name not in found:
        raise ValueError(f"there is no recipes/prompts/{name}.txt{nearest(str(name), found)}")
    if found[name].resolve().parent != found[name].parent.resolve():
        raise ValueError(f"recipes/prompts/{name}.txt is a link that leads out of its folder; put the text there")
    return found[name].read_text(encoding="utf-8").strip()


def by_round(*values: Any, _root_: DictConfig) -> Any:
    """``${by_round:0.5,0.25,0.125}``: the value of the round that is being planned.

    Raises:
        ValueError: there is none for this round.
    """
    if not 1 <= _root_.number <= len(values):
        place = f"round {_root_.number}" if _root_.number else "the setup"
        raise ValueError(f"by_round names values for {len(values)} rounds, none for {place}")
    return values[_root_.number - 1]


OURS: dict[str, Callable[..., Any]] = {"text": text, "by_round": by_round}


def allow_only_ours() -> None:
    """Let no other resolver answer, but for those that ``SELFLOOP_TRUST`` names."""
    for name, resolver in OURS.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True)
    for name in set(BaseContainer._resolvers) - {*OURS, "oc.select", *trusted()}:
        OmegaConf.register_new_resolver(name, _refusal(name), replace=True)


def _refusal(name: str) -> Callable[..., Any]:
    def refuse(*_: Any) -> Any:
        raise ValueError(
            f"the resolver {name!r} is none that a recipe may use ({', '.join([*OURS, 'oc.select'])}); "
            "name it in SELFLOOP_TRUST if you trust it"
        )

    return refuse

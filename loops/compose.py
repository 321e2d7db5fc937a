"""From overrides on the command line to one resolved configuration, with Hydra.

The one decision: Hydra composes and nothing more. It does not change directories, make folders or set up logging, so
that the same call serves the command line, a scheduler and a test.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from loops.errors import RecipeError, nearest


def home() -> Path:
    """Where ``conf/`` and ``recipes/`` lie: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    return package / "home" if (package / "home").is_dir() else package.parent


def text(name: str) -> str:
    """``${text:NAME}``: what stands in ``recipes/prompts/NAME.txt``, where you stand or here.

    Raises:
        ValueError: there is no such prompt.
    """
    folders = [folder / "recipes" / "prompts" for folder in (Path.cwd(), home())]
    found = {file.stem: file for folder in reversed(folders) for file in sorted(folder.glob("*.txt"))}
    if name not in found:
        raise ValueError(f"there is no recipes/prompts/{name}.txt{nearest(name, found)}")
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


def recipes() -> dict[str, Path]:
    """Every recipe's file by its name: those that ship, and those in ``recipes/`` where you stand."""
    folders = (home() / "recipes", Path.cwd() / "recipes")
    return {file.stem: file for folder in folders for file in sorted(folder.glob("*.yaml"))}


def headline(recipe: Path) -> str:
    """The first line of a recipe's comment, which names its paper."""
    lines = recipe.read_text(encoding="utf-8").splitlines()
    return next((line.lstrip("# ") for line in lines if line.startswith("#") and "@package" not in line), "")


def compose(overrides: Sequence[str]) -> DictConfig:
    """Compose ``conf/config.yaml`` with the overrides.

    Raises:
        RecipeError: no recipe, an unknown recipe, group or key, or a file that is not YAML.
    """
    chosen = [override for override in overrides if override.startswith("recipes=")]
    if not chosen:
        raise RecipeError(f"which recipe? say recipes=NAME{nearest('', recipes())}")
    for override in overrides:
        _known_choice(override)
    OmegaConf.register_new_resolver("text", text, replace=True)
    OmegaConf.register_new_resolver("by_round", by_round, replace=True)
    try:
        _offer_recipes(chosen[-1].partition("=")[2])
        with initialize_config_dir(version_base="1.3", config_dir=str(home() / "conf")):
            cfg: DictConfig = hydra_compose("config", overrides=[f"+home={home()}", *overrides])
            return cfg
    except yaml.YAMLError as wrong:
        raise RecipeError(f"not YAML: {' '.join(str(wrong).split())}") from wrong
    except (HydraException, OmegaConfBaseException) as wrong:
        hint = " (a key that no file mentions needs a + before it)" if "not in struct" in str(wrong) else ""
        raise RecipeError(f"configuration: {' '.join(str(wrong).split())[:300]}{hint}") from wrong


def section(cfg: DictConfig, name: str) -> dict[str, Any]:
    """A section of the configuration as a plain dictionary, interpolations resolved; empty if there is none.

    Raises:
        RecipeError: it is no section, or something in it leads nowhere.
    """
    found = resolved(cfg, name) or {}
    if not isinstance(found, dict):
        raise RecipeError(f"{name}: expected names, got {found!r}")
    return {str(key): value for key, value in found.items()}


def resolved(cfg: DictConfig, path: str) -> Any:
    """What stands at a dotted path, as plain containers; None if nothing does.

    Raises:
        RecipeError: something in it has no default or leads nowhere.
    """
    try:
        value = OmegaConf.select(cfg, path)
        return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    except OmegaConfBaseException as wrong:
        reason = str(wrong).splitlines()[0]
        _, missing, key = reason.partition("Missing mandatory value: ")
        raise RecipeError(f"{path}: {f'{key} has no default; say {key}=...' if missing else reason}") from wrong


def _offer_recipes(chosen: str) -> None:
    """Make every recipe a choice of the group ``recipes``, without making every folder beside it a group too.

    Raises:
        yaml.YAMLError: the chosen one is not YAML; another that is not is no choice.
    """
    for name, file in recipes().items():
        try:
            ConfigStore.instance().store(group="recipes", name=name, node=OmegaConf.load(file), package="_global_")
        except yaml.YAMLError:
            if name == chosen:
                raise


def _known_choice(override: str) -> None:
    """Refuse an unknown recipe, model, data set, engine, ... with the nearest match."""
    group, equals, choice = override.partition("=")
    folder = home() / "conf" / group
    choices = set(recipes()) if group == "recipes" else {file.stem for file in folder.glob("[!_]*.yaml")}
    if equals and choices and choice not in choices:
        raise RecipeError(f"{group}: there is no {choice!r}{nearest(choice, choices)}")

"""From overrides on the command line to one resolved configuration, with Hydra.

The one decision: Hydra composes and nothing more. It does not change directories, make folders or set up logging, so
that the same call serves the command line, a scheduler and a test.
"""

from collections.abc import Sequence
from pathlib import Path

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from loops.errors import RecipeError, nearest


def home() -> Path:
    """Where ``conf/`` and ``recipes/`` lie: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    return package / "home" if (package / "home").is_dir() else package.parent


def recipes() -> dict[str, str]:
    """Every recipe's name with the first line of its comment, from here and from ``recipes/`` where you stand."""
    found = {}
    for folder in (home() / "recipes", Path.cwd() / "recipes"):
        for file in sorted(folder.glob("*.yaml")):
            lines = file.read_text(encoding="utf-8").splitlines()
            comments = [line.lstrip("# ") for line in lines if line.startswith("#") and "@package" not in line]
            found[file.stem] = comments[0] if comments else ""
    return found


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
    search = ",".join(dict.fromkeys([f"file://{home()}", f"file://{Path.cwd()}"]))
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(home() / "conf")):
            return hydra_compose("config", overrides=[f"hydra.searchpath=[{search}]", f"+home={home()}", *overrides])
    except yaml.YAMLError as wrong:
        raise RecipeError(f"not YAML: {' '.join(str(wrong).split())}") from wrong
    except (HydraException, OmegaConfBaseException) as wrong:
        cause = wrong.__cause__ or wrong
        raise RecipeError(f"configuration: {_first_line(wrong)} {_first_line(cause) if cause is not wrong else ''}".strip()) from wrong


def _first_line(wrong: BaseException) -> str:
    return next((line.strip() for line in str(wrong).splitlines() if line.strip()), type(wrong).__name__)


def _known_choice(override: str) -> None:
    """Refuse an unknown recipe, model, data set, engine, ... with the nearest match."""
    group, equals, choice = override.partition("=")
    if group == "recipes":
        choices = set(recipes())
    else:
        choices = {file.stem for file in (home() / "conf" / group).glob("*.yaml")}
    if equals and choices and choice not in choices:
        raise RecipeError(f"{group}: there is no {choice!r}{nearest(choice, choices)}")

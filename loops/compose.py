"""From overrides on the command line to one configuration, with Hydra.

The one decision: Hydra composes and nothing more. It does not change directories, make folders or set up logging, so
that the same call serves the command line, a scheduler and a test.
"""

from collections.abc import Sequence

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from loops.errors import RecipeError, nearest
from loops.recipe_file import check_read, lineage
from loops.resolvers import allow_only_ours
from loops.secrets import hidden
from loops.shipped import home, recipes


def compose(overrides: Sequence[str]) -> DictConfig:
    """Compose ``conf/config.yaml`` with the overrides.

    Raises:
        RecipeError: no recipe, an unknown recipe, group or key, or a recipe's file that is none.
    """
    chosen = [override for override in overrides if override.startswith("recipes=")]
    if not chosen:
        raise RecipeError(f"which recipe? say recipes=NAME{nearest('', recipes())}")
    for override in overrides:
        _known_choice(override)
    used = lineage(chosen[-1].partition("=")[2], recipes())
    for name, recipe in used.items():
        ConfigStore.instance().store(group="recipes", name=name, node=recipe, package="_global_")
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(home() / "conf")):
            allow_only_ours()
            words = [f"+home={home()}", *overrides]
            cfg = _with_choices(hydra_compose("config", overrides=words, return_hydra_config=True))
    except (HydraException, OmegaConfBaseException, ValueError) as wrong:
        hint = " (a key that no file mentions needs a + before it)" if "not in struct" in str(wrong) else ""
        raise RecipeError(f"configuration: {' '.join(hidden(str(wrong)).split())[:300]}{hint}") from wrong
    finally:
        allow_only_ours()  # Hydra registers its own once more
    check_read(used.values(), cfg)
    return cfg


def _with_choices(cfg: DictConfig) -> DictConfig:
    """Instead of Hydra's own section, which file was chosen of each folder: ``chosen.model``, ``chosen.scale``, ..."""
    chosen = {group: choice for group, choice in cfg.hydra.runtime.choices.items() if "/" not in str(group)}
    with open_dict(cfg):
        del cfg["hydra"]
        cfg.chosen = chosen
    return cfg


def _known_choice(override: str) -> None:
    """Refuse an unknown recipe, model, data set, engine, ... with the nearest match."""
    group, equals, choice = override.partition("=")
    folder = home() / "conf" / group
    choices = set(recipes()) if group == "recipes" else {file.stem for file in folder.glob("[!_]*.yaml")}
    if equals and choices and choice not in choices:
        raise RecipeError(f"{group}: there is no {choice!r}{nearest(choice, choices)}")

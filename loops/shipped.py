"""What ships, and what stands where the user does: the configuration, the recipes and their headlines."""

from pathlib import Path


def home() -> Path:
    """Where ``conf/`` and ``recipes/`` lie: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    return package / "home" if (package / "home").is_dir() else package.parent


def recipes() -> dict[str, Path]:
    """Every recipe's file by its name: those that ship, and those in ``recipes/`` where you stand."""
    folders = (home() / "recipes", Path.cwd() / "recipes")
    return {file.stem: file for folder in folders for file in sorted(folder.glob("*.yaml"))}


def headline(recipe: Path) -> str:
    """The first line of a recipe's comment, which names its paper."""
    lines = recipe.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.lstrip("# ") for line in lines if line.startswith("#") and "@package" not in line), "")

"""What ``--help`` says, and how the words of a command line are read.

The one decision: argparse reads what is common to all commands, a list of words and ``--yes``. What a word means is
each command's own.
"""

import argparse

from loops.commands import COMMANDS, RECIPES
from loops.shipped import headline, recipes


def parser() -> argparse.ArgumentParser:
    """Of every command."""
    listed = "\n".join(f"  {name:<16} {headline(file)}" for name, file in recipes().items())
    looking = "\n".join(f"  {name:<8} {command.usage:<40} {command.summary}" for name, command in COMMANDS.items())
    made = argparse.ArgumentParser(
        prog="selfloop",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Run a self-improvement recipe, or only show its plan and its cost. Nothing is made twice.",
        epilog=f"recipes:\n{listed}\n\nexamples:\n"
        "  selfloop recipes=dice                       two rounds of DICE on a small model\n"
        "  selfloop plan recipes=dice rounds=3         what that would run\n"
        "  selfloop recipes=dice model=zephyr_7b data=ultrafeedback scale=paper sft_revision=...\n"
        "  selfloop recipes=dice round.train.stage.loss.beta=0.05\n"
        "  selfloop advance recipes=dice rounds=+1     a round more; exit code 3: there was nothing to do\n"
        "  selfloop schedule recipes=dice cron='0 2 * * *' rounds=+1     the same every night, until Ctrl-C\n\n"
        f"what runs have left (run=NAME is the latest run if it is not said, runs=DIRECTORY is runs):\n{looking}\n\n"
        "  selfloop-report [RUN [RUN]]                 a page of a run, or of two beside each other",
    )
    names = "|".join((*RECIPES, *COMMANDS))
    made.add_argument("words", nargs="*", metavar=f"[{names}] recipes=NAME [key=value ...]")
    made.add_argument("--yes", action="store_true", help="gc removes without asking")
    return made

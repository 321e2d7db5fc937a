"""Our pool of Ray workers against Ray Data's LLM processor: ``python -m benchmarks.ray_pool``.

The one decision: seconds begin with the first token that vLLM draws, so that no worker's start is in them but where it
is said. Ray Data is set up for answers that come back soon: all actors have begun before the first row is handed out,
rows are tokens already, and a batch is one row, as many of them at once as keep vLLM full (its pull request 52634).
"""

from benchmarks.measure import report
from benchmarks.ray_sides import Side, asked, cluster, ours, theirs
from benchmarks.ray_steps import Wave
from stages.engines.models import best_device

WORKERS, REPEATS, KILLS = 2, 3, 1
ANSWERS, FEW = 3, 1
"""Answers to each of 16 prompts, and how many of them one worker alone is asked for."""
HALF = 1000
"""Tokens after which a worker is killed: about half of what is drawn."""
FIGURES = {
    "": ("tokens/s", "ratio ≥ 0.95", lambda wave: wave.rate),
    "_together": ("answers that a worker decodes together, in the mean", "ratio ≥ 0.95", lambda wave: wave.together),
    "_first": ("s from the first token to the first answer in hand", "ratio ≤ 1", lambda wave: wave.first),
    "_tail": ("s that a worker idles at the end", "ratio ≤ 1", lambda wave: wave.tail),
    "_unkept": ("tokens that are drawn and not in hand, in the mean", "ratio ≤ 1", lambda wave: wave.unkept),
    "_again": ("s from asking to the first answer, not for the first time", "ratio ≤ 1", lambda wave: wave.wait),
}


def main() -> None:
    """Measure both in turns, then kill a worker of each, and write ``results/ray_pool*.json``."""
    if best_device() != "cpu":
        print("ray_pool: left out, its workers are made for cores")
        return
    with cluster(WORKERS):
        undisturbed()
        killed()


def undisturbed() -> None:
    """What is met where nothing goes wrong."""
    mine, other = in_turns(REPEATS)
    for name, (unit, target, figure) in FIGURES.items():
        found = {"ours": [figure(wave) for wave in mine], "theirs": [figure(wave) for wave in other]}
        report(f"ray_pool{name}", target=target, unit=unit, **found)
    alone = drawn(ours, 1, FEW), drawn(theirs, 1, FEW)
    same = {"ours": [wave.same(alone[0]) for wave in mine], "theirs": [wave.same(alone[1]) for wave in other]}
    report("ray_pool_same", target="ratio ≥ 1", unit="share of answers that one worker draws, too", **same)
    print(f"  {mine[-1].same(other[-1]):.3f} of all answers are the same on both sides", flush=True)


def killed() -> None:
    """What is drawn twice where one of the workers is killed half-way."""
    mine, other = in_turns(KILLS, kill=HALF)
    assert {len(wave.answers) for wave in mine + other} == {16 * ANSWERS}
    unit = "tokens that are drawn twice because a worker was killed"
    twice = {"ours": [float(wave.twice) for wave in mine], "theirs": [float(wave.twice) for wave in other]}
    report("ray_pool_killed", target="ratio ≤ 1", unit=unit, **twice)


def in_turns(repeats: int, kill: int | None = None) -> tuple[list[Wave], list[Wave]]:
    """Waves of ours and of theirs, in turns."""
    mine, other = list[Wave](), list[Wave]()
    for repeat in range(1, repeats + 1):
        for side, waves in ((ours, mine), (theirs, other)):
            waves.append(drawn(side, WORKERS, ANSWERS, kill))
            print(f"  {repeat}/{repeats} {side.__name__}: {waves[-1]}", flush=True)
    return mine, other


def drawn(side: Side, workers: int, answers: int, kill: int | None = None) -> Wave:
    """A wave of so many answers to each prompt."""
    with side(workers) as draw:
        return draw(asked(answers), kill)


if __name__ == "__main__":
    main()

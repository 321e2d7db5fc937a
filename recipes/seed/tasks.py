"""Writes tasks.jsonl and probe_tasks.jsonl: tasks with an answer that a rule can check. Ours, and made again by
``python recipes/seed/tasks.py``.

The one decision: a task is a sentence with numbers or words drawn into it, and no question is in both files. The two
hold the same kinds of question, so held-out accuracy says how well a kind is learned, and nothing about other kinds.
"""

import json
import random
from pathlib import Path

HELD_OUT, TRAINING = 24, 44
"""Tasks of each kind."""
NAMES = ("Ada", "Ben", "Clara", "Deniz", "Emeka", "Fay", "Goran", "Hana", "Ines", "Jonas", "Kofi", "Lena")
THINGS = ("apples", "books", "buttons", "cards", "coins", "eggs", "keys", "lemons", "pencils", "shells", "stamps")
WORDS = (
    "bear",
    "cloud",
    "door",
    "field",
    "glass",
    "hat",
    "island",
    "jar",
    "kite",
    "lamp",
    "moon",
    "nest",
    "owl",
    "pear",
)
COUNTS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
OPPOSITES = {
    **{"hot": "cold", "big": "small", "up": "down", "open": "closed", "early": "late", "full": "empty", "wet": "dry"},
    **{"loud": "quiet", "old": "young", "long": "short", "light": "dark", "fast": "slow"},
}
OPENINGS = ("The", "Every", "Some", "When", "My", "In")
TOPICS = ("autumn", "bread", "a cat", "the sea", "a bicycle", "snow", "a garden", "music", "the moon", "tea", "a train")
Task = tuple[str, str, str]
"""What is asked, the checker, and what it expects."""


def arithmetic(draw: random.Random) -> list[Task]:
    """Small numbers, as figures and in words."""
    a, b, c = draw.randint(2, 9), draw.randint(2, 9), draw.randint(2, 4)
    one, other = draw.sample(range(2, 100), 2)
    name, thing = draw.choice(NAMES), draw.choice(THINGS)
    return [
        (f"What is {a} + {one % 10}?", "number", f"{a + one % 10}"),
        (f"{name} has {a} {thing} and gets {b} more. How many {thing} does {name} have now?", "number", f"{a + b}"),
        (f"What is {a + b} - {b}?", "number", f"{a}"),
        (f"Which number is larger, {one} or {other}?", "number", f"{max(one, other)}"),
        (f"What is {COUNTS[a]} plus {COUNTS[b]}? Reply in figures.", "number", f"{a + b}"),
        (f"There are {b} boxes with {c} {thing} in each. How many {thing} are there in all?", "number", f"{b * c}"),
    ]


def exact(draw: random.Random) -> list[Task]:
    """A word, yes or no, or a list."""
    (a, b), three = draw.sample(range(2, 100), 2), draw.sample(WORDS, 3)
    first, second, third = three
    hot, cold = draw.choice(list(OPPOSITES.items()))
    offered, listed = ", ".join(sorted([cold, first])), ", ".join(three)
    return [
        (f"Is {a} greater than {b}? Begin with yes or no.", "starts", "yes" if a > b else "no"),
        (f"What is the opposite of '{hot}': {offered}? Begin with that word.", "starts", cold),
        (f"Is a {first} the same as a {second}? Begin with yes or no.", "starts", "no"),
        (f"Repeat this word and write nothing else: {second}", "text", second),
        (f"Repeat this list and write nothing else: {listed}", "text", listed),
        (
            f"Sort these words by the alphabet, with commas between them: {third}, {second}, {first}",
            "text",
            ", ".join(sorted(three)),
        ),
    ]


def form(draw: random.Random) -> list[Task]:
    """JSON, capital or small letters, a first word, a time."""
    name, age, topic, word = draw.choice(NAMES), draw.randint(5, 90), draw.choice(TOPICS), draw.choice(WORDS)
    known, any_value = json.dumps({"name": name, "age": age}), json.dumps({word: None})
    return [
        (
            f"Write one sentence about {topic} that begins with the word '{OPENINGS[age % 6]}'.",
            "starts",
            OPENINGS[age % 6],
        ),
        (f'Write this as a JSON object with the keys "name" and "age": {name} is {age} years old.', "json", known),
        (f'Write a JSON object with the single key "{word}".', "json", any_value),
        (f"Write the words '{topic} and the {word}' in capital letters.", "case", "upper"),
        (f"Name something that goes with {topic}, in small letters only.", "case", "lower"),
        (
            f"At what time does {name} get up? Write it like 0{age % 10}:{age % 60:02} and nothing else.",
            "shape",
            "99:99",
        ),
    ]


def counts(draw: random.Random) -> list[Task]:
    """So many words, lines or items, or none of a letter."""
    n, topic, letter = draw.randint(2, 5), draw.choice(TOPICS), draw.choice("bgkuvwy")
    return [
        (f"Describe {topic} in at most {COUNTS[n + 6]} words.", "at_most", f"{n + 6}"),
        (
            f"Make a list of {COUNTS[n]} things that go with {topic}, each on its own line after a '- '.",
            "items",
            f"{n}",
        ),
        (f"Write one sentence about {topic} without the letter '{letter}'.", "lacks", letter),
        (f"Write about {topic} in {COUNTS[n]} lines.", "lines", f"{n}"),
        (f"Describe {topic} in exactly {COUNTS[n]} words.", "words", f"{n}"),
    ]


KINDS = {"arithmetic": arithmetic, "exact": exact, "format": form, "counts": counts}


def different(kind: str, number: int) -> list[Task]:
    """So many tasks of a kind, no question twice. Each is drawn by itself, so that tasks are independent."""
    draw, found = random.Random(f"tasks of 2026: {kind}"), dict[str, Task]()
    while len(found) < number:
        sentences = KINDS[kind](draw)
        task = sentences[len(found) % len(sentences)]
        found.setdefault(task[0], task)
    return list(found.values())


def main(folder: Path) -> None:
    """Write both files."""
    made = {kind: different(kind, HELD_OUT + TRAINING) for kind in KINDS}
    for name, start, end in (("probe_tasks", 0, HELD_OUT), ("tasks", HELD_OUT, HELD_OUT + TRAINING)):
        # kinds take turns, so that the first rows hold as many of each
        rows = [(kind, *made[kind][place]) for place in range(start, end) for kind in KINDS]
        with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as file:
            for number, (kind, asked, checker, expected) in enumerate(rows, start=1):
                prompt = [{"role": "user", "content": asked}]
                row = {"id": f"{name.replace('_', '-').removesuffix('s')}-{number:03}", "kind": kind, "prompt": prompt}
                file.write(json.dumps({**row, "checker": checker, "expected": expected}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(Path(__file__).parent)

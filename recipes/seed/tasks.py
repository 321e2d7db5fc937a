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
OPPOSITES = {"hot": "cold", "big": "small", "up": "down", "open": "closed", "early": "late", "full": "empty"}
TOPICS = ("autumn", "bread", "a cat", "the sea", "a bicycle", "snow", "a garden", "music", "the moon", "tea", "a train")
Task = tuple[str, str, str]
"""What is asked, the checker, and what it expects."""


def arithmetic(draw: random.Random) -> list[Task]:
    """Sums in words, with small numbers."""
    a, b, c = draw.randint(2, 12), draw.randint(2, 9), draw.randint(2, 4)
    name, thing = draw.choice(NAMES), draw.choice(THINGS)
    left = f"{name} buys {a} {thing}, finds {b} more and gives away {c}. How many {thing} does {name} have?"
    return [
        (f"{name} has {a} {thing} and gets {b} more. How many {thing} does {name} have now?", "number", f"{a + b}"),
        (f"{name} had {a + b} {thing} and lost {b}. How many {thing} are left?", "number", f"{a}"),
        (f"There are {b} boxes with {c} {thing} in each. How many {thing} are there in all?", "number", f"{b * c}"),
        (f"What is {COUNTS[a]} plus {COUNTS[b]}?", "number", f"{a + b}"),
        (left, "number", f"{a + b - c}"),
    ]


def exact(draw: random.Random) -> list[Task]:
    """A word, a number or a list, and nothing else."""
    (a, b), three = draw.sample(range(2, 100), 2), draw.sample(WORDS, 3)
    first, second, _ = three
    hot, cold = draw.choice(list(OPPOSITES.items()))
    offered, listed = ", ".join(sorted([cold, first, second])), ", ".join(three)
    return [
        (f"Which number is larger, {a} or {b}? Reply with the number only.", "text", f"{max(a, b)}"),
        (f"Is {a} greater than {b}? Answer with yes or no only.", "text", "yes" if a > b else "no"),
        (f"Which of these words begins with {first[0].upper()}: {listed}? Reply with one word.", "text", first),
        (f"Repeat this word and write nothing else: {second}", "text", second),
        (
            f"Sort these words by the alphabet, with commas between them, and write nothing else: {listed}",
            "list",
            ", ".join(sorted(three)),
        ),
        (f"What is the opposite of '{hot}': {offered}? One word.", "text", cold),
    ]


def form(draw: random.Random) -> list[Task]:
    """JSON, a date, a time, capital letters, a last word."""
    name, age, topic, word = draw.choice(NAMES), draw.randint(5, 90), draw.choice(TOPICS), draw.choice(WORDS)
    day, month, digits = draw.randint(1, 28), draw.randint(1, 12), draw.randint(2, 6)
    known, any_value = json.dumps({"name": name, "age": age}), json.dumps({word: None})
    date = f"Write day {day} of month {month} of the year 20{age:02} as YYYY-MM-DD, and nothing else."
    return [
        (f'{name} is {age} years old. Answer in JSON with the keys "name" and "age" only.', "json", known),
        (f'Name something about {topic}. Answer in JSON with the single key "{word}".', "json", any_value),
        (f"Write about {topic} in one sentence, in capital letters only.", "case", "upper"),
        (f"Write about {topic} in one sentence, in small letters only, without any capital.", "case", "lower"),
        (f"Write one sentence about {topic} that ends with the word '{word}'.", "ends", word),
        (date, "text", f"20{age:02}-{month:02}-{day:02}"),
        (f"Make up a code of {digits} digits for {name} and write it alone.", "shape", "9" * digits),
        (
            f"At what time does {name} get up? Make it up, such as 0{day % 10}:{age % 60:02}, and write it alone.",
            "shape",
            "99:99",
        ),
    ]


def counts(draw: random.Random) -> list[Task]:
    """So many words, lines or items, or none of a letter."""
    n, topic, letter = draw.randint(2, 6), draw.choice(TOPICS), draw.choice("aeiost")
    bullets = f"List exactly {COUNTS[n]} facts about {topic}, each on a line that begins with '- '."
    return [
        (f"Describe {topic} in exactly {COUNTS[n]} words.", "words", f"{n}"),
        (f"Write about {topic} in exactly {COUNTS[n]} lines.", "lines", f"{n}"),
        (bullets, "items", f"{n}"),
        (f"Write one sentence about {topic} without the letter '{letter}'.", "lacks", letter),
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

"""New prompts: which are kept, which examples are shown, what an interruption leaves, and a round's own chunk."""

import re

import pytest

from stages.artifacts import Demonstrations, Pairs, Prompts
from stages.engines.engine import Answer
from stages.generate.chunk import Chunk
from stages.generate.novelty import Novelty, broken_rule, first_task
from stages.generate.self_instruct import WAVE, SelfInstruct
from tests.stages.rows import pair, prompt


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("Name three rivers", "short"),
        ("Name three rivers of Asia.", None),
        ("word " * 150, None),
        ("word " * 151, "long"),
        ("Describe the image in words.", "unsuitable"),
        ("Read these Files and sum up.", "unsuitable"),
        ("Tell me when to go to bed.", "unsuitable"),
        ("Explain what imagery is in poems.", None),
        ("Explain how maple syrup is made.", None),
        ("Write a program that adds numbers.", "program"),
        ("- Name three rivers of Asia.", "first_character"),
        ("Éclairs: how are they made?", "first_character"),
        ("7 plus 5 is how much?", None),
    ],
)
def test_a_prompt_leaves_for_the_rule_that_it_breaks(text, rule):
    assert broken_rule(" ".join(text.split()), ended=True) == rule


def test_a_prompt_that_was_cut_off_leaves_for_that():
    assert broken_rule("Name three rivers of Asia and", ended=False) == "truncated"


def test_of_what_a_model_lists_the_first_whole_task_is_taken():
    assert first_task("1. Name three rivers.\n2. Name two", ended=False) == ("Name three rivers.", True)
    assert first_task("  Name three\t rivers.", ended=True) == ("Name three rivers.", True)
    assert first_task("9) Name three", ended=False) == ("Name three", False)
    assert first_task("", ended=True) == ("", True)


def test_novelty_is_rouge_l_against_every_known_prompt_without_stemming():
    novelty = Novelty(["name three long rivers of asia"], most=0.7)
    assert not novelty.add("Name three long rivers of Europe"), "5 of 6 words in order: F1 0.83"
    assert novelty.add("Name three lakes of the north"), "3 of 6 words in order: F1 0.5"
    assert not novelty.add("Name three lakes of the south"), "an accepted prompt is known from then on"
    assert Novelty(["running dogs barked loudly"], most=0.7).add("run dog bark loud")


class Scripted:
    """An engine whose answers are lines of a script, in turn; it remembers what it was asked."""

    rows = 64

    def __init__(self, model, lines):
        from stages.engines.models import load_tokenizer

        self.tokenizer, self.lines, self.asked = load_tokenizer(model), iter(lines), []

    def generate(self, model, requests, sampling):
        self.asked += [self.tokenizer.decode(request.prompt) for request in requests]
        for index, _ in enumerate(requests):
            yield Answer(index, 0, [*self.tokenizer(next(self.lines)).input_ids, self.tokenizer.eos_token_id])


NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def novel(number):
    """Prompts with no word in common but two."""
    digits = " ".join(f"{NUMBERS[int(digit)]}{place}" for place, digit in enumerate(f"{number:04d}"))
    return f"Explain {digits} x{number} y{number} z{number} briefly"


SEEDS = [prompt(f"s{i}", f"Seed task number {i} is this.") for i in range(8)]


def invent(artifact, model, engine, pool=SEEDS, out=None, **fields):
    out = artifact(Prompts) if out is None else out
    settings = {"n": 4, "request": "Tasks:\n{tasks}\nOne more:", "temperature": 0.6, "max_new_tokens": 64, "seed": 1}
    stage = SelfInstruct(**settings | fields, engine=engine)
    told = stage(seeds=artifact(Prompts, SEEDS), pool=artifact(Prompts, pool), policy=model, out=out)
    return [row["prompt"][0]["content"] for row in out.rows()], told


def test_the_pool_grows_by_n_prompts_and_what_left_is_counted_by_rule(artifact, tiny_model):
    lines = [novel(0), novel(0), "Too short", "Describe the image in words.", *map(novel, range(1, WAVE))]
    texts, told = invent(artifact, tiny_model, Scripted(tiny_model, lines))
    assert texts[:8] == [row["prompt"][0]["content"] for row in SEEDS]
    assert texts[8:] == [novel(0), novel(1), novel(2), novel(3)]
    assert (told["prompts"], told["pool"]) == (4, 12)
    assert (told["dropped_known"], told["dropped_short"], told["dropped_unsuitable"]) == (1, 1, 1)


def shown(text):
    return re.findall(r"^\d+\. (.*)$", text, flags=re.MULTILINE)


def test_eight_seeds_are_shown_until_there_are_inventions_and_then_six_and_two(artifact, tiny_model):
    engine = Scripted(tiny_model, map(novel, range(1000)))
    invent(artifact, tiny_model, engine, n=WAVE + 1)
    first, second = engine.asked[:WAVE], engine.asked[WAVE:]
    seeds = {row["prompt"][0]["content"] for row in SEEDS}
    assert all(len(shown(text)) == 8 and set(shown(text)) <= seeds for text in first)
    assert all(len(shown(text)) == 8 and len(set(shown(text)) & seeds) == 6 for text in second)
    assert len({tuple(shown(text)) for text in first}) > WAVE / 2, "each ask draws its own examples"


def test_what_earlier_rounds_invented_is_shown_and_known(artifact, tiny_model):
    earlier = [prompt("invented-1-0", novel(5)), prompt("invented-1-1", novel(6))]
    engine = Scripted(tiny_model, map(novel, range(5, 1000)))
    texts, told = invent(artifact, tiny_model, engine, pool=[*SEEDS, *earlier], n=2)
    assert texts[-2:] == [novel(7), novel(8)]
    assert told["dropped_known"] == 2
    assert all({novel(5), novel(6)} <= set(shown(text)) for text in engine.asked)


def test_a_model_that_invents_nothing_new_stops_the_step_and_says_what_left(artifact, tiny_model):
    engine = Scripted(tiny_model, ["Seed task number 3 is this."] * 1000)
    with pytest.raises(ValueError, match=r"only 0 of 4 prompts after 96 tries: .*'dropped_known': 96"):
        invent(artifact, tiny_model, engine, tries=20)


def test_after_an_interruption_a_whole_wave_is_not_asked_again_and_the_result_is_the_same(artifact, tiny_model):
    class Stops(Scripted):
        def generate(self, model, requests, sampling):
            if len(self.asked) == WAVE:
                raise KeyboardInterrupt
            return super().generate(model, requests, sampling)

    undisturbed, _ = invent(artifact, tiny_model, Scripted(tiny_model, map(novel, range(1000))), n=40)
    out, engine = artifact(Prompts), Stops(tiny_model, map(novel, range(1000)))
    with pytest.raises(KeyboardInterrupt):
        invent(artifact, tiny_model, engine, n=40, out=out)
    again = Scripted(tiny_model, map(novel, range(WAVE, 1000)))
    resumed, _ = invent(artifact, tiny_model, again, n=40, out=out)
    assert resumed == undisturbed
    assert len(again.asked) == WAVE


def chunk(artifact, pool, known, **fields):
    out = artifact(Prompts)
    Chunk(**fields)(prompts=artifact(Prompts, pool), known=known, out=out)
    return [row["prompt_id"] for row in out.rows()]


POOL = [prompt(f"p{i}", f"Question {i}?") for i in range(10)]


def test_chunks_of_two_rounds_have_nothing_in_common_and_leave_out_what_is_known(artifact):
    known = artifact(Pairs, [pair("x", "Question  1?")])
    first, second = (chunk(artifact, POOL, known, sizes=4, number=number) for number in (1, 2))
    assert first == ["p0", "p2", "p3", "p4"]
    assert second == ["p5", "p6", "p7", "p8"]
    assert chunk(artifact, POOL, known, sizes=[2, 3], number=2) == ["p3", "p4", "p5"]


def test_demonstrations_are_known_prompts_too(artifact):
    known = artifact(Demonstrations, [{**POOL[0], "completion": [{"role": "assistant", "content": "Yes."}]}])
    assert chunk(artifact, POOL, known, sizes=2, number=1) == ["p1", "p2"]


def test_a_pool_that_is_used_up_is_said_and_not_begun_again(artifact):
    with pytest.raises(ValueError, match=r"round 3 wants 4 prompts after the first 8, but the pool holds 10"):
        chunk(artifact, POOL, artifact(Pairs, []), sizes=4, number=3)
    with pytest.raises(ValueError, match=r"round 3 has no chunk: sizes names 2"):
        Chunk(sizes=[1, 1], number=3)

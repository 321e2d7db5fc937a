"""Sampling: seeds belong to answers, ends are honest, and a finished part is not drawn again."""

import math
from contextlib import suppress
from itertools import islice

import pytest
import torch

from stages.artifacts import Completions, Model, Prompts
from stages.engines.draw import choose
from stages.engines.engine import Request, Sampling
from stages.engines.hf import HF
from stages.engines.models import end_of_turn, load_model, load_tokenizer
from stages.generate.sample import Sample
from tests.stages.rows import answered, prompt

QUESTIONS = [prompt(f"p{i}", text) for i, text in enumerate(["Hi", "Name three rivers.", "What is 2 + 2? Just say."])]


def draw(artifact, model, rows=64, questions=QUESTIONS, **fields):
    out = artifact(Completions)
    stage = Sample(**{"n": 3, "temperature": 1.0, "max_new_tokens": 24, "seed": 1, "engine": HF(rows=rows)} | fields)
    metrics = stage(prompts=artifact(Prompts, questions), policy=model, out=out)
    return list(out.rows()), metrics


def test_there_are_n_rows_a_prompt_in_the_prompts_order(artifact, tiny_model):
    rows, metrics = draw(artifact, tiny_model)
    assert [(row["prompt_id"], row["sample"]) for row in rows] == [(f"p{p}", s) for p in range(3) for s in range(3)]
    assert metrics["answers"] == 9


def test_an_answer_depends_on_its_seed_and_not_on_what_is_drawn_beside_it(artifact, tiny_model):
    together, _ = draw(artifact, tiny_model, rows=64)
    apart, _ = draw(artifact, tiny_model, rows=1)
    fewer, _ = draw(artifact, tiny_model, questions=QUESTIONS[1:])
    assert [row["completion_tokens"] for row in together] == [row["completion_tokens"] for row in apart]
    assert [row["completion_tokens"] for row in together[3:]] == [row["completion_tokens"] for row in fewer]


def test_no_answer_that_had_ended_before_a_kill_is_drawn_again(artifact, tiny_model):
    asked = []

    class Dies(HF):
        def generate(self, model, requests, sampling):
            asked.append(sum(len(request.seeds) for request in requests))
            yield from islice(super().generate(model, requests, sampling), Dies.lives)
            if Dies.lives < asked[-1]:
                raise KeyboardInterrupt

    questions = [prompt(f"p{i}", f"Number {i}?") for i in range(40)]
    whole, _ = draw(artifact, tiny_model, questions=questions)
    stage = Sample(n=3, temperature=1.0, max_new_tokens=24, seed=1, engine=Dies(rows=8))
    out = artifact(Completions)
    for Dies.lives in (50, 30, 1000):
        with suppress(KeyboardInterrupt):
            stage(prompts=artifact(Prompts, questions), policy=tiny_model, out=out)
        with (out.scratch / "answers.jsonl").open("a") as file:
            file.write('["half a li')
    assert asked == [63, 63 - 50, 57, 57 - 30], "parts of 21 prompts"
    assert list(out.rows()) == whole


def test_another_seed_draws_anew(artifact, tiny_model):
    first, _ = draw(artifact, tiny_model)
    second, _ = draw(artifact, tiny_model, seed=2)
    assert [row["completion_tokens"] for row in first] != [row["completion_tokens"] for row in second]


def test_samples_of_one_prompt_differ(artifact, tiny_model):
    rows, _ = draw(artifact, tiny_model)
    assert rows[0]["completion_tokens"] != rows[1]["completion_tokens"]


def test_an_answer_ends_with_its_end_of_turn_once_or_says_that_it_was_cut(artifact, tiny_model):
    rows, metrics = draw(artifact, tiny_model, n=40, max_new_tokens=10)
    ends = end_of_turn(tiny_model)
    assert {row["finish_reason"] for row in rows} == {"stop", "length"}, "the test needs both"
    for row in rows:
        found = [place for place, token in enumerate(row["completion_tokens"]) if token in ends]
        if row["finish_reason"] == "stop":
            assert found == [len(row["completion_tokens"]) - 1]
        else:
            assert found == []
            assert len(row["completion_tokens"]) == 10
        assert "<|im_end|>" not in row["completion"][0]["content"]
    assert metrics["truncated"] == pytest.approx(sum(row["finish_reason"] == "length" for row in rows) / len(rows))


def test_greedy_decoding_is_that_of_transformers(artifact, tiny_model):
    from transformers import AutoModelForCausalLM

    rows, _ = draw(artifact, tiny_model, n=1, temperature=0)
    model = AutoModelForCausalLM.from_pretrained(tiny_model.path, dtype=torch.float32)
    for row in rows:
        ids = torch.tensor([row["prompt_tokens"]])
        theirs = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=24)
        assert row["completion_tokens"] == theirs[0, ids.shape[1] :].tolist()


def mixed_prompts(count=30):
    """Prompts of 2 to 84 tokens, long and short in turn."""
    return [[5 + (place * step) % 200 for step in range(2 + place * 37 % 83)] for place in range(count)]


def generate(model, n, rows, prompts=None, temperature=1.0, max_new_tokens=24):
    """The engine's answers to mixed prompts; the shapes in which prompts were passed; the rows of each step."""
    shapes = []
    hook = load_model(model).register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    requests = [
        Request(prompt=ids, seeds=[100 * place + sample for sample in range(n)])
        for place, ids in enumerate(mixed_prompts() if prompts is None else prompts)
    ]
    sampling = Sampling(temperature=temperature, top_p=0.95, max_new_tokens=max_new_tokens)
    answers = answered(HF(rows=rows), model, requests, sampling)
    hook.remove()
    return answers, [shape for shape in shapes if shape[1] > 1], [shape[0] for shape in shapes if shape[1] == 1]


def test_answers_do_not_depend_on_how_many_run_together_and_when_they_join(tiny_model):
    whole, passed, _ = generate(tiny_model, n=3, rows=1000)
    assert len(passed) == 1, "nothing has to wait"
    for rows in (1, 4, 8, 64):
        answers, passed, steps = generate(tiny_model, n=3, rows=rows)
        assert len(passed) > 1, "the test needs answers that join later"
        assert max(steps) <= rows
        assert answers == whole


def test_a_prompt_is_passed_once_for_all_its_samples(tiny_model):
    _, passed, _ = generate(tiny_model, n=4, rows=16)
    assert sum(prompts for prompts, _ in passed) == 30
    widths = [width for _, width in passed]
    assert widths == sorted(widths, reverse=True), "long prompts first"


def test_the_batch_stays_near_full_until_the_work_runs_out(tiny_model):
    answers, _, steps = generate(tiny_model, n=4, rows=16)
    tokens = sum(len(answer) for one in answers for answer in one)
    assert all(rows > 12 for rows in steps[: tokens // 32])
    assert len(steps) < 1.5 * tokens / 16


def test_more_samples_than_run_together_wait_for_one_another(tiny_model):
    answers, _, steps = generate(tiny_model, n=40, rows=8, prompts=mixed_prompts(3))
    assert max(steps) == 8
    assert answers == generate(tiny_model, n=40, rows=1000, prompts=mixed_prompts(3))[0]


def greedily(model, prompt):
    """What transformers answers."""
    from transformers import AutoModelForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(model.path, dtype=torch.float32)
    ids = torch.tensor([prompt])
    theirs = loaded.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=24)
    return theirs[0, ids.shape[1] :].tolist()


def test_greedy_decoding_is_that_of_transformers_while_others_join(tiny_model):
    answers, passed, _ = generate(tiny_model, n=1, rows=4, temperature=0)
    assert len(passed) > 5
    assert [answer for [answer] in answers] == [greedily(tiny_model, prompt) for prompt in mixed_prompts()]


LAYERS = {
    "MistralConfig": None,
    "Gemma3TextConfig": ["sliding_attention", "full_attention"],
    "Lfm2Config": ["conv", "full_attention"],
}


@pytest.mark.parametrize("kind", LAYERS)
def test_caches_that_keep_a_window_or_a_state_are_decoded_group_by_group(kind, tmp_path):
    import transformers

    small = {"vocab_size": 256, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "head_dim": 8}
    small |= {"num_attention_heads": 4, "num_key_value_heads": 2, "sliding_window": 8, "initializer_range": 0.2}
    small |= {"layer_types": LAYERS[kind]} if LAYERS[kind] else {}
    torch.manual_seed(0)
    made = transformers.AutoModelForCausalLM.from_config(getattr(transformers, kind)(**small))
    made.generation_config.eos_token_id = list(range(30))
    made.save_pretrained(tmp_path)
    answers, passed, _ = generate(Model(tmp_path), n=1, rows=4, temperature=0)
    assert len(passed) == 8, "four at a time"
    assert [answer for [answer] in answers] == [greedily(Model(tmp_path), prompt) for prompt in mixed_prompts()]


def test_the_prompt_is_rendered_by_the_chat_template(artifact, tiny_model):
    rows, _ = draw(artifact, tiny_model)
    text = load_tokenizer(tiny_model).decode(rows[0]["prompt_tokens"])
    assert text == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


def test_a_finished_part_is_kept(artifact, tiny_model):
    out = artifact(Completions)
    rows, _ = draw(artifact, tiny_model, n=32)
    out.write_part(0, [{**row, "finish_reason": "kept"} for row in rows[:64]])
    stage = Sample(n=32, temperature=1.0, max_new_tokens=24, seed=1, engine=HF())
    stage(prompts=artifact(Prompts, QUESTIONS), policy=tiny_model, out=out)
    resumed = list(out.rows())
    assert {row["finish_reason"] for row in resumed[:64]} == {"kept"}
    assert resumed[64:] == rows[64:]


def drawn_from(top_p, temperature=1.0):
    """How often each token is drawn from probabilities (0.5, 0.3, 0.15, 0.05), over evenly spread draws."""
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log().expand(1000, 4)
    draws = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    sampling = Sampling(temperature=temperature, top_p=top_p, max_new_tokens=1)
    return torch.bincount(choose(logits, draws, sampling), minlength=4) / 1000


def test_tokens_are_drawn_as_often_as_they_are_likely():
    assert drawn_from(top_p=1.0).tolist() == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=2e-3)


def test_the_nucleus_is_the_smallest_set_that_holds_top_p():
    assert drawn_from(top_p=0.75).tolist() == pytest.approx([0.5 / 0.8, 0.3 / 0.8, 0, 0], abs=2e-3)
    assert drawn_from(top_p=0.4).tolist() == [1, 0, 0, 0]


def test_temperature_sharpens():
    squares = [p * p for p in (0.5, 0.3, 0.15, 0.05)]
    assert drawn_from(1.0, temperature=0.5).tolist() == pytest.approx(
        [s / math.fsum(squares) for s in squares], abs=2e-3
    )


def test_a_flat_distribution_is_wider_than_the_first_look_and_still_right():
    logits = torch.zeros(64, 5000)
    draws = (torch.arange(64, dtype=torch.float64) + 0.5) / 64
    chosen = choose(logits, draws, Sampling(temperature=1.0, top_p=0.9, max_new_tokens=1))
    assert len(set(chosen.tolist())) == 64


@pytest.mark.parametrize(
    "fields",
    [{"n": 0}, {"temperature": -1}, {"top_p": 0}, {"top_p": 1.1}, {"max_new_tokens": 0}, {"temperature": 0, "n": 2}],
)
def test_impossible_values_are_refused(fields):
    with pytest.raises(ValueError, match=r"at least|in \(0, 1\]|greedy"):
        Sample(**{"n": 1, "temperature": 1.0, "max_new_tokens": 1, "seed": 0, "engine": HF()} | fields)


def test_parts_do_not_depend_on_how_the_engine_batches(artifact, tiny_model):
    """An attempt that is resumed with another engine must find the same parts."""
    parts = []
    for rows in (1, 64, 1000):
        out = artifact(Completions)
        stage = Sample(n=3, temperature=1.0, max_new_tokens=4, seed=1, engine=HF(rows=rows))
        stage(prompts=artifact(Prompts, [prompt(f"p{i}", "Hi") for i in range(50)]), policy=tiny_model, out=out)
        parts.append([file.name for file in sorted(out.path.glob("part-*"))])
    assert parts[0] == parts[1] == parts[2]
    assert len(parts[0]) == 3

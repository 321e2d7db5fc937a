"""Rendering: one way for everything, and the end-of-turn id exactly once."""

import pytest

from stages.engines.chat import answer_text, answer_tokens, prompt_tokens
from stages.engines.models import end_of_turn, load_tokenizer

QUESTION = [{"role": "user", "content": "Name a river."}]


def answer(text):
    return [{"role": "assistant", "content": text}]


def test_a_written_answer_is_its_text_and_one_end_of_turn(tiny_model):
    tokenizer, ends = load_tokenizer(tiny_model), end_of_turn(tiny_model)
    tokens = answer_tokens(tokenizer, QUESTION, answer("The Rhine."), ends)
    assert tokenizer.decode(tokens) == "The Rhine.<|im_end|>"
    assert answer_text(tokenizer, tokens, ends) == "The Rhine."


def test_prompt_and_answer_together_are_what_the_template_prints(tiny_model):
    tokenizer, ends = load_tokenizer(tiny_model), end_of_turn(tiny_model)
    tokens = prompt_tokens(tokenizer, QUESTION) + answer_tokens(tokenizer, QUESTION, answer("The Rhine."), ends)
    assert tokenizer.apply_chat_template([*QUESTION, *answer("The Rhine.")], tokenize=False).startswith(
        tokenizer.decode(tokens)
    )


def test_an_answer_whose_text_ends_the_turn_is_refused(tiny_model):
    tokenizer, ends = load_tokenizer(tiny_model), end_of_turn(tiny_model)
    with pytest.raises(ValueError, match="end-of-turn"):
        answer_tokens(tokenizer, QUESTION, answer("The Rhine.<|im_end|>\n<|im_start|>user\nGood!"), ends)


def test_a_template_that_changes_the_prompt_is_refused(tiny_model):
    import copy

    tokenizer = copy.copy(load_tokenizer(tiny_model))
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['content'] }}{% if add_generation_prompt %}?{% else %}!{% endif %}{% endfor %}"
    )
    with pytest.raises(ValueError, match="differently"):
        answer_tokens(tokenizer, QUESTION, answer("The Rhine."), end_of_turn(tiny_model))


def test_a_cut_answer_keeps_its_last_token(tiny_model):
    tokenizer, ends = load_tokenizer(tiny_model), end_of_turn(tiny_model)
    tokens = answer_tokens(tokenizer, QUESTION, answer("The Rhine."), ends)[:-1]
    assert answer_text(tokenizer, tokens, ends) == "The Rhine."


def test_a_model_that_does_not_say_how_its_turns_end_is_refused(tiny_model, tmp_path):
    import shutil

    from stages.artifacts import Model

    shutil.copytree(tiny_model.path, tmp_path / "endless")
    (tmp_path / "endless/generation_config.json").write_text("{}")
    with pytest.raises(ValueError, match="names no eos_token_id"):
        end_of_turn(Model(tmp_path / "endless"))

"""Answer files of three benchmarks, field for field as their graders read them."""

import json

import pytest

from stages.artifacts import AnswerFile, Completions, Prompts
from stages.evaluate.export import AlpacaEval, ArenaHard, MTBench
from stages.generate.follow_up import FollowUp
from stages.sources.questions import LocalQuestions
from tests.stages.rows import prompt, scored


def answers(artifact, *rows):
    """Completions of (prompt_id, conversation, answer)."""
    made = [scored(name, 0, text, None, prompt=asked) for name, asked, text in rows]
    return artifact(Completions, [{name: row[name] for name in Completions.COLUMNS if name in row} for row in made])


def user(text):
    return {"role": "user", "content": text}


def said(text):
    return {"role": "assistant", "content": text}


def test_alpacaeval_reads_a_list_of_instruction_output_and_generator(artifact):
    out = artifact(AnswerFile)
    told = AlpacaEval(model_name="mine-2")(answers=answers(artifact, ("0", [user("Why?")], "Därum.")), out=out)
    assert json.loads((out.path / "mine-2.json").read_text()) == [
        {"instruction": "Why?", "output": "Därum.", "generator": "mine-2"}
    ]
    assert told == {"answers": 1, "truncated": 0}


def test_a_conversation_is_no_instruction(artifact):
    rows = answers(artifact, ("0", [user("Hi"), said("Hello"), user("Why?")], "So."))
    with pytest.raises(ValueError, match="'0' is a conversation"):
        AlpacaEval(model_name="mine")(answers=rows, out=artifact(AnswerFile))


def two_turns(artifact, tmp_path, second_answer="B2"):
    path = tmp_path / "question.jsonl"
    path.write_text(json.dumps({"question_id": 81, "category": "writing", "turns": ["Write.", "Shorten."]}) + "\n")
    asked, following = artifact(Prompts), artifact(Prompts)
    LocalQuestions(path=str(path), turn=1)(out=asked)
    LocalQuestions(path=str(path), turn=2)(out=following)
    (first,) = asked.rows()
    ours = answers(artifact, (first["prompt_id"], first["prompt"], "A1"))
    conversations = artifact(Prompts)
    FollowUp()(answers=ours, questions=following, out=conversations)
    (conversation,) = conversations.rows()
    return ours, answers(artifact, (conversation["prompt_id"], conversation["prompt"], second_answer)), conversation


def test_mt_benchs_second_turn_goes_on_from_the_models_own_first_answer(artifact, tmp_path):
    _, _, conversation = two_turns(artifact, tmp_path)
    assert conversation == {"prompt_id": "81", "prompt": [user("Write."), said("A1"), user("Shorten.")]}


def test_mt_bench_reads_both_turns_under_the_questions_number(artifact, tmp_path):
    ours, second, _ = two_turns(artifact, tmp_path)
    out = artifact(AnswerFile)
    assert MTBench(model_name="mine")(answers=ours, second=second, out=out)["answers"] == 2
    (line,) = map(json.loads, (out.path / "mine.jsonl").read_text().splitlines())
    assert line["question_id"] == 81
    assert line["model_id"] == "mine"
    assert line["choices"] == [{"index": 0, "turns": ["A1", "B2"]}]
    assert isinstance(line["answer_id"], str)
    assert isinstance(line["tstamp"], float)


def test_turns_that_do_not_belong_together_are_refused(artifact, tmp_path):
    ours, second, _ = two_turns(artifact, tmp_path)
    another = answers(artifact, ("81", [user("Write.")], "another first answer"))
    with pytest.raises(ValueError, match="does not go on from this model's first answer"):
        MTBench(model_name="mine")(answers=another, second=second, out=artifact(AnswerFile))
    with pytest.raises(ValueError, match="the same questions"):
        MTBench(model_name="mine")(answers=ours, second=answers(artifact), out=artifact(AnswerFile))
    named = answers(artifact, ("q", [user("Write.")], "A1"))
    with pytest.raises(ValueError, match="question_id is a number, not 'q'"):
        MTBench(model_name="mine")(answers=named, second=named, out=artifact(AnswerFile))
    with pytest.raises(ValueError, match="do not belong together"):
        FollowUp()(answers=ours, questions=artifact(Prompts, [prompt("82", "?")]), out=artifact(Prompts))


def test_arena_hard_reads_the_answer_as_the_last_message(artifact):
    out = artifact(AnswerFile)
    ArenaHard(model_name="mine")(answers=answers(artifact, ("ab12", [user("Why?")], "So.")), out=out)
    (line,) = map(json.loads, (out.path / "mine.jsonl").read_text().splitlines())
    assert (line["uid"], line["model"]) == ("ab12", "mine")
    assert line["messages"] == [user("Why?"), {"role": "assistant", "content": {"answer": "So."}}]
    assert set(line) == {"uid", "ans_id", "model", "messages", "tstamp"}


@pytest.mark.parametrize("name", ["", "a/b", "..", "a\\b"])
def test_a_name_that_is_no_file_name_is_refused_while_planning(name):
    with pytest.raises(ValueError, match="model_name names a file"):
        AlpacaEval(model_name=name)


def test_two_answers_to_a_question_are_refused(artifact):
    twice = answers(artifact, ("0", [user("Why?")], "So."), ("0", [user("Why?")], "Thus."))
    with pytest.raises(ValueError, match="more than once"):
        AlpacaEval(model_name="mine")(answers=twice, out=artifact(AnswerFile))


def test_a_question_without_turns_is_named(artifact, tmp_path):
    path = tmp_path / "question.jsonl"
    path.write_text('{"question_id": 1, "turns": "Write."}\n')
    with pytest.raises(ValueError, match="row 1, turns: expected a list of turns"):
        LocalQuestions(path=str(path), turn=1)(out=artifact(Prompts))

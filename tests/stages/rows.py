"""Rows for tests, with only what matters said."""


def scored(prompt_id, sample, text, score, finish_reason="stop", **more):
    return {
        "prompt_id": prompt_id,
        "prompt": [{"role": "user", "content": f"question {prompt_id}"}],
        "sample": sample,
        "completion": [{"role": "assistant", "content": text}],
        "finish_reason": finish_reason,
        "prompt_tokens": [1, 2, 3],
        "completion_tokens": list(range(4, 4 + len(text.split()))),
        "score": score,
        "policy_logp": None if score is None else score - 10.0,
        "reference_logp": None if score is None else -10.0,
        "scored_policy": "policy",
        **more,
    }


def pair(prompt_id, prompt="question", chosen="a good answer", rejected="a bad one", **more):
    return {
        "prompt_id": prompt_id,
        "prompt": [{"role": "user", "content": prompt}],
        "chosen": [{"role": "assistant", "content": chosen}],
        "rejected": [{"role": "assistant", "content": rejected}],
        "source": "offline",
        **more,
    }


def prompt(prompt_id, text):
    return {"prompt_id": prompt_id, "prompt": [{"role": "user", "content": text}]}


def answered(engine, model, requests, sampling):
    """What an engine answers, in the requests' order, each answer once."""
    found = {answer[:2]: answer.ids for answer in engine.generate(model, requests, sampling)}
    asked = [(i, place) for i, request in enumerate(requests) for place in range(len(request.seeds))]
    assert sorted(found) == asked
    return [[found[i, place] for place in range(len(request.seeds))] for i, request in enumerate(requests)]

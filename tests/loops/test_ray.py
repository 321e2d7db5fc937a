"""Steps and engines on a real Ray cluster of three nodes on this machine, which lose nodes while they work."""

import signal
from importlib.util import find_spec

import pytest

from loops.errors import RecipeError, StepFailed
from loops.executors import Local
from loops.stage import build
from loops.store import Store
from stages.artifacts import Completions, Prompts, Scores
from stages.engines.engine import Request, Sampling
from stages.engines.hf import HF
from stages.engines.models import release
from stages.engines.pieces import shrinking
from stages.engines.tensor_parallel import TensorParallel
from stages.generate.sample import Sample
from stages.score.implicit import ImplicitReward
from tests.loops.away import begin, slow
from tests.loops.beside import alive, being_made, wait_for
from tests.loops.recipes import TOYS, toy
from tests.loops.test_runner import failing, run, value
from tests.recipes.test_plans import plan
from tests.stages.rows import prompt

HAVE = find_spec("ray") is not None
real = pytest.mark.skipif(not HAVE, reason="Ray is not installed in this environment: pip install ray")
pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own
STORE = 80 * 2**20
FREE = Sampling(temperature=1.0, top_p=0.9, max_new_tokens=24)
GREEDY = Sampling(temperature=0, top_p=1.0, max_new_tokens=24)


@pytest.fixture(scope="module")
def cluster():
    """A head with one core and two nodes with two, which tests kill."""
    import ray
    from ray.cluster_utils import Cluster

    made = Cluster()
    for cores in (1, 2, 2):
        made.add_node(num_cpus=cores, object_store_memory=STORE)
    yield made
    release()
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def away(cluster):
    """Makes an executor on the cluster."""
    return lambda **fields: build({**on(cluster), **fields}, "executor")


def on(cluster):
    return {"_target_": "loops.ray_executor.Ray", "address": cluster.address}


def kill_node(cluster, pid):
    """Kill the node on which a process runs, with all that runs on it."""
    import psutil

    above = {one.pid for one in psutil.Process(pid).parents()}
    for node in cluster.list_all_nodes():
        if {each.process.pid for each in node.all_processes["raylet"]} & above:
            assert node is not cluster.head_node
            cluster.remove_node(node, allow_graceful=False)


@pytest.mark.skipif(HAVE, reason="Ray is installed here")
@pytest.mark.parametrize("target", ["loops.ray_executor.Ray", "stages.engines.ray_pool.RayPool"])
def test_without_ray_it_is_refused_while_planning(target):
    inner = {"inner": {"_target_": "stages.engines.hf.HF"}, "workers": 1} if "Pool" in target else {}
    with pytest.raises(RecipeError, match="make setup-cluster"):
        build({"_target_": target, **inner}, "it")


def pool(cluster, **fields):
    """Three workers, of which the head has room for one."""
    from stages.engines.ray_pool import RayPool

    return RayPool(**{"inner": HF(rows=4), "workers": 3, "address": cluster.address} | fields)


def asked(count=40):
    """Prompts of 2 to 84 tokens, three answers each."""
    return [
        Request(prompt=[5 + (i * step) % 200 for step in range(2 + i * 37 % 83)], seeds=[100 * i + s for s in range(3)])
        for i in range(count)
    ]


def answered(engine, model, sampling):
    return {(one.request, one.seed): one.ids for one in engine.generate(model, asked(), sampling)}


@real
def test_where_and_by_how_many_it_is_made_never_changes_a_key(tmp_path):
    words = ["executor=ray", "engine=ray_hf", "engine.workers=7", "+executor.resources={stages.score: {gpus: 0}}"]
    assert plan("scir", *words, cwd=tmp_path) == plan("scir", cwd=tmp_path)


@real
def test_answers_do_not_depend_on_how_many_workers_drew_them(cluster, tiny_model):
    for sampling in (GREEDY, FREE):
        alone = answered(HF(rows=64), tiny_model, sampling)
        assert len(alone) == 120
        assert answered(pool(cluster), tiny_model, sampling) == alone


@real
def test_a_worker_whose_node_dies_costs_no_answer(cluster, tiny_model):
    import psutil

    from tests.loops.away import Slowly

    alone, found, killed = answered(HF(), tiny_model, FREE), [], False
    for answer in pool(cluster, inner=Slowly(rows=4)).generate(tiny_model, asked(), FREE):
        found.append(answer)
        if not killed:
            for node in cluster.list_all_nodes():
                below = psutil.Process(node.all_processes["raylet"][0].process.pid).children(recursive=True)
                if node is not cluster.head_node and any("_Worker" in one.name() for one in below):
                    cluster.remove_node(node, allow_graceful=False)
                    killed = True
                    break
    assert killed
    assert len(found) == len(alone), "each answer once"
    assert {(one.request, one.seed): one.ids for one in found} == alone


@real
def test_rows_and_scores_are_the_same_bytes_as_in_one_process(cluster, artifact, tiny_model, other_model):
    questions = [prompt(f"p{i}", f"Name {i} rivers.") for i in range(70)]
    found = []
    for engine in (HF(), pool(cluster)):
        answers, scores = artifact(Completions), artifact(Scores)
        stage = Sample(n=3, temperature=1.0, max_new_tokens=24, seed=1, engine=engine)
        stage(prompts=artifact(Prompts, questions), policy=tiny_model, out=answers)
        ImplicitReward(engine=engine)(completions=answers, policy=tiny_model, reference=other_model, out=scores)
        files = [*sorted(answers.path.glob("part-*")), *sorted(scores.path.glob("part-*"))]
        found.append([file.read_bytes() for file in files])
    assert len(found[0]) == 4 + 4
    assert found[0] == found[1]


@real
def test_a_worker_whose_engine_shares_models_over_devices_scores_so(cluster, tiny_model):
    def held(_):
        from stages.engines.models import load_model
        from stages.engines.ranks import size

        return size(), load_model(tiny_model).model.layers[0].mlp.gate_proj.weight.to_local().shape[0]

    node = cluster.add_node(num_cpus=2, num_gpus=2, object_store_memory=STORE)  # Ray's word for it; nobody looks
    engine = pool(cluster, inner=TensorParallel(devices=2, inner=HF(rows=4)), workers=1, gpus=2)
    assert list(engine.each(held, [0, 1, 2])) == [(2, 32)] * 3
    release()
    cluster.remove_node(node)


@real
def test_what_the_inner_engine_raises_is_raised_here_and_the_pool_works_on(cluster, tiny_model):
    from tests.loops.away import Broken

    with pytest.raises(ValueError, match="the engine broke"):
        answered(pool(cluster, inner=Broken(rows=4)), tiny_model, GREEDY)
    assert len(answered(pool(cluster), tiny_model, GREEDY)) == 120
    release()


@real
def test_impossible_pools_are_refused_while_planning(cluster):
    for wrong in ({"workers": 0}, {"gpus": 2}, {"inner": pool(cluster)}):
        with pytest.raises(ValueError, match=r"at least 1|takes 1 GPUs, but gpus says 2|is no pool"):
            pool(cluster, **wrong)


def test_pieces_become_smaller_and_nobody_is_left_without_one():
    sizes = [len(piece) for piece in shrinking([(n, None) for n in range(1000)], 4, 16)]
    assert sum(sizes) == 1000
    assert sizes == sorted(sizes, reverse=True)
    assert (sizes[0], sizes[-1]) == (125, 13)
    assert [len(piece) for piece in shrinking([(n, None) for n in range(32)], 4, 64)] == [8, 8, 8, 8]
    assert [*shrinking([], 4, 16)] == []


@real
def test_a_loop_of_tasks_comes_to_the_same_and_independent_steps_run_at_once(away, tmp_path):
    meet = {"_target_": f"{TOYS}.Meet", "place": str(tmp_path)}
    nodes = {name: {"stage": {**meet, "name": name, "other": other}} for name, other in (("a", "b"), ("b", "a"))}
    listener = run(toy(rounds=0, setup=nodes), tmp_path / "tasks", away())
    run(toy(rounds=0, setup=nodes), tmp_path / "here", Local(workers=2))
    assert sorted(listener.made) == ["setup/a", "setup/b", "setup/start"]
    assert value(tmp_path / "tasks", "final/total") == value(tmp_path / "here", "final/total")
    assert Store(tmp_path / "tasks/store").keys() == Store(tmp_path / "here/store").keys()


@real
def test_a_step_that_raises_is_told_in_a_line_and_one_whose_worker_dies_is_tried_again(away, tmp_path):
    node = {"stage": {"_target_": f"{TOYS}.DieOnce", "marker": str(tmp_path / "marker")}, "inputs": {"number": "start"}}
    run(toy(rounds=0), tmp_path)
    with pytest.raises(StepFailed, match="setup/broken failed: RuntimeError: the toy broke") as failed:
        run(failing(fragile=node), tmp_path, away())
    assert "fragile" not in str(failed.value)
    assert (tmp_path / "run/setup/fragile/number.json").exists()


def half_made(place):
    """The process that makes the slow step; it has begun."""
    [half] = wait_for(lambda: being_made(place))
    return int(half.parent.name.split(".")[1])


@real
def test_a_step_outlives_the_runner_that_was_killed_and_is_not_done_twice(cluster, away, tmp_path):
    run(toy(rounds=0), tmp_path)
    runner = begin(on(cluster), tmp_path)
    half_made(tmp_path)
    runner.kill()
    runner.wait()
    runner.stderr.close()
    assert "setup/slow" in run(slow(tmp_path), tmp_path, away()).made
    assert (tmp_path / "trace").read_text() == "made\n"


@real
def test_ctrl_c_ends_the_steps(cluster, tmp_path):
    run(toy(rounds=0), tmp_path)
    runner = begin(on(cluster), tmp_path, seconds=600)
    pid = half_made(tmp_path)
    runner.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in runner.communicate(timeout=90)[1]
    wait_for(lambda: not alive(pid))
    assert not (tmp_path / "trace").exists()


@real
def test_a_step_whose_keeper_dies_is_asked_for_again(cluster, tmp_path):
    import psutil

    run(toy(rounds=0), tmp_path)
    runner = begin(on(cluster), tmp_path)
    half_made(tmp_path)
    raylets = [psutil.Process(node.all_processes["raylet"][0].process.pid) for node in cluster.list_all_nodes()]
    [keeper] = [one for raylet in raylets for one in raylet.children(recursive=True) if "_Keeper" in one.name()]
    keeper.kill()
    assert runner.wait(timeout=120) == 0, runner.stderr.read()
    runner.stderr.close()
    assert (tmp_path / "trace").read_text() == "made\n"


@real
def test_a_step_whose_node_dies_is_tried_again_on_another(cluster, tmp_path):
    cluster.add_node(num_cpus=2, object_store_memory=STORE)
    needs = {TOYS: {"cpus": 2}}  # for which the head has no room
    run(toy(rounds=0), tmp_path)
    runner = begin({**on(cluster), "resources": needs}, tmp_path, seconds=4)
    kill_node(cluster, half_made(tmp_path))
    assert runner.wait(timeout=120) == 0, runner.stderr.read()
    runner.stderr.close()
    assert (tmp_path / "trace").read_text() == "made\n"

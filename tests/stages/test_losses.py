"""Preference losses against their specified values, and the properties that make them what they are."""

import math

import pytest
import torch

from stages.train import losses
from stages.train.inpo import INPO
from stages.train.objectives import SPPO, Batch, Identity, Loss, Robust, Sigmoid, Soft
from stages.train.self_refining import SelfRefining


def vector(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def batch(chosen=(-120.0,), rejected=(-150.0,), ref_chosen=(-125.0,), ref_rejected=(-149.0,), **more):
    settings = {"columns": {}, "progress": 1.0, "memory": [], "extrapolated": None} | more
    logps = {"chosen": chosen, "rejected": rejected, "ref_chosen": ref_chosen, "ref_rejected": ref_rejected}
    return Batch(**{name: vector(*values) for name, values in logps.items()}, **settings)


def test_the_log_ratio_gap_of_the_specified_pair():
    gap = losses.log_ratio_gap(vector(-120), vector(-150), vector(-125), vector(-149))
    assert gap.item() == 6.0
    assert batch().gap.item() == 6.0


def test_the_dpo_loss_of_the_specified_pair():
    assert losses.dpo(vector(6.0), beta=0.1).item() == pytest.approx(0.4374879505, abs=1e-10)
    assert torch.sigmoid(0.1 * vector(6.0)).item() == pytest.approx(0.6456563062, abs=1e-10)
    assert Sigmoid(beta=0.1)(batch()).item() == pytest.approx(0.4374879505, abs=1e-10)


def test_without_a_gap_the_loss_is_ln_2():
    for loss in (
        losses.dpo(vector(0.0), beta=0.1),
        losses.smoothed(vector(0.0), 0.1, vector(0.3)),
        losses.robust(vector(0.0), 0.1, 0.2),
    ):
        assert loss.item() == pytest.approx(math.log(2), abs=1e-12)


def test_a_huge_gap_overflows_nothing():
    assert torch.isfinite(losses.dpo(vector(-1e6, 1e6), beta=1.0)).all()


def test_a_doubtful_pair_is_smoothed_and_a_confident_one_is_not():
    told = losses.smoothed(vector(6.0, 6.0), 0.1, vector(0.1, 0.0))
    assert told.tolist() == pytest.approx([0.4974879505, 0.4374879505], abs=1e-10)


def test_a_soft_label_of_eight_tenths():
    found = Soft(beta=0.1)(batch(columns={"preference": vector(0.8)}))
    assert found.item() == pytest.approx(0.5574879505, abs=1e-10)


def test_a_soft_label_is_met_where_the_margin_is_its_log_odds():
    gap = torch.tensor([math.log(0.8 / 0.2) / 0.1], dtype=torch.float64, requires_grad=True)
    losses.smoothed(gap, 0.1, vector(0.2)).sum().backward()
    assert gap.grad.item() == pytest.approx(0, abs=1e-12)


def test_robust_dpo_is_unbiased_when_its_share_of_labels_is_flipped():
    flipped = 0.3
    right, wrong = (losses.robust(vector(sign * 6.0), 0.1, flipped).item() for sign in (1, -1))
    assert (1 - flipped) * right + flipped * wrong == pytest.approx(losses.dpo(vector(6.0), 0.1).item(), abs=1e-12)
    assert Robust(beta=0.1, flipped=flipped)(batch()).item() == pytest.approx(right, abs=1e-12)


def test_identity_po_of_the_specified_pair():
    assert Identity(tau=0.1)(batch()).item() == pytest.approx(1.0, abs=1e-12)


def test_sppo_of_the_specified_pair_with_soft_wins():
    columns = {"chosen_wins": vector(0.7), "rejected_wins": vector(0.3)}
    assert SPPO(beta=0.001)(batch(columns=columns)).item() == pytest.approx(38813.0, abs=1e-6)


def test_inpo_of_the_specified_pair():
    found = losses.inpo(vector(30.0), vector(24.0), vector(26.0), tau=2.5e-3, eta=7.5e-3)
    assert found.item() == pytest.approx((14 / 3 - 1 / 0.015) ** 2, abs=1e-9)
    assert found.item() == pytest.approx(3844.0, abs=1e-6)


def test_inpo_as_it_is_trained_has_the_rounds_reference_and_the_first_one_in_their_places():
    from stages.train.inpo import _Loss

    told = batch(
        (0.0,),
        (-30.0,),
        (0.0,),
        (-26.0,),
        columns={"anchor_chosen_logps": vector(-3.0), "anchor_rejected_logps": vector(-27.0)},
    )
    assert _Loss(eta=7.5e-3, tau=2.5e-3)(told).item() == pytest.approx(3844.0, abs=1e-6)


def test_extrapolated_logits():
    found = losses.extrapolated(vector(2.0, 1.0, 0.0), vector(1.0, 1.0, 0.5), by=0.5)
    assert found.tolist() == pytest.approx([-0.252359, -1.752359, -3.002359], abs=1e-6)


def test_symmetric_divergence_and_entropy_of_two_rewards():
    first, second = vector(0.8), vector(0.6)
    assert losses.symmetric_divergence(first, second).item() == pytest.approx(0.0980829, abs=1e-7)
    mean = (losses.entropy(first) + losses.entropy(second)) / 2
    assert mean.item() == pytest.approx(0.5867070, abs=1e-7)
    assert torch.isfinite(losses.symmetric_divergence(vector(0.0), vector(1.0))).all()


def test_each_loss_is_one_and_says_what_it_needs():
    for loss in (Sigmoid(beta=1), Soft(beta=1), Robust(beta=1, flipped=0.1), Identity(tau=1), SPPO(beta=1)):
        assert isinstance(loss, Loss)
    assert isinstance(SelfRefining(beta=0.1, extrapolation=0), Loss)


def refine(margins, memory=(), progress=1.0, **fields):
    """The share of smoothing of each pair with these margins (β = 1, the policy as it is), and what is remembered."""
    settings = {"beta": 1.0, "extrapolation": 0.0, "window": 4, "doubtful": 0.25} | fields
    zeros, kept = [0.0] * len(margins), list(memory)
    told = batch(margins, zeros, zeros, zeros, memory=kept, progress=progress)
    SelfRefining(**settings)(told)
    return told.columns["smoothed"].tolist(), kept


def test_until_the_window_is_full_a_pair_is_doubtful_if_its_margin_is_not_above_0():
    assert refine([0.5, -0.5, 0.1])[0] == [0, 1, 0]


def test_then_it_is_doubtful_if_it_is_not_above_the_running_percentile():
    """Of 1, 2, 3, 4 the percentile 25 is between the second and the third: 2.5."""
    assert refine([2.4], memory=[4, 3, 2, 1])[0] == [1]
    assert refine([2.6], memory=[4, 3, 2, 1])[0] == [0]


def test_the_percentile_runs_pair_after_pair_however_they_are_batched():
    margins = [0.3, -1.0, 2.0, 0.1, 1.5, 0.2, 0.9, -0.4]
    whole, remembered = refine(margins)
    parts, memory = [], []
    for margin in margins:
        doubted, memory = refine([margin], memory)
        parts += doubted
    assert parts == whole
    assert memory == remembered == margins[-4:]
    assert 0 < sum(whole) < len(whole)


def test_in_the_first_fifth_of_the_steps_nothing_is_smoothed_but_margins_are_remembered():
    assert refine([-1.0], progress=0.19) == ([0], [-1.0])
    assert refine([-1.0], progress=0.2) == ([1], [-1.0])


def test_the_threshold_is_the_authors_two_order_statistics():
    loss = SelfRefining(beta=0.1, extrapolation=0)
    margins = [float(i) for i in range(50)]
    assert loss.threshold(margins) == 5.5
    assert loss.threshold(margins[:49]) == 0


def test_doubt_is_judged_by_the_extrapolated_policy():
    zeros = [0.0, 0.0]
    told = batch([1.0, 1.0], zeros, zeros, zeros, extrapolated=lambda by: (vector(by, -by), vector(0.0, 0.0)))
    SelfRefining(beta=1.0, extrapolation=0.5)(told)
    assert told.columns["smoothed"].tolist() == [0, 1]
    assert told.memory == [0.5, -0.5]


@pytest.mark.parametrize(
    ("loss", "fields"),
    [
        (Sigmoid, {"beta": 0}),
        (Soft, {"beta": -1}),
        (Robust, {"beta": 0.1, "flipped": 0.5}),
        (Robust, {"beta": 0.1, "flipped": 0}),
        (Identity, {"tau": 0}),
        (SPPO, {"beta": 0}),
        (SelfRefining, {"beta": 0.1, "extrapolation": 0.5, "smoothing": 0}),
        (SelfRefining, {"beta": 0.1, "extrapolation": -1}),
        (SelfRefining, {"beta": 0.1, "extrapolation": 0, "off_until": 1}),
        (INPO, {"eta": 1e-3, "tau": 1e-3, "learning_rate": 1e-6, "max_steps": 1, "batch": 1}),
    ],
)
def test_impossible_numbers_are_refused(loss, fields):
    with pytest.raises(ValueError, match=r"must be"):
        loss(**fields)

"""Preference losses against their specified values."""

import math

import pytest
import torch

from stages.train.losses import dpo, log_ratio_gap


def vector(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def test_the_log_ratio_gap_of_the_specified_pair():
    gap = log_ratio_gap(vector(-120), vector(-150), vector(-125), vector(-149))
    assert gap.item() == 6.0


def test_the_dpo_loss_of_the_specified_pair():
    assert dpo(vector(6.0), beta=0.1).item() == pytest.approx(0.4374879505, abs=1e-10)
    assert torch.sigmoid(0.1 * vector(6.0)).item() == pytest.approx(0.6456563062, abs=1e-10)


def test_without_a_gap_the_loss_is_ln_2():
    assert dpo(vector(0.0), beta=0.1).item() == pytest.approx(math.log(2), abs=1e-12)


def test_a_huge_gap_overflows_nothing():
    assert torch.isfinite(dpo(vector(-1e6, 1e6), beta=1.0)).all()

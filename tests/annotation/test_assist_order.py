"""The order of a worklist, and the uncertainty that it goes by."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ailab_kernel.annotation.assist import order, scores_of, worklist
from ailab_kernel.annotation.assist.order import keep_score, uncertainty
from ailab_kernel.ground.errors import WrongUse

UIDS = tuple(f"1.2.{n}" for n in range(9))


def test_the_least_sure_come_first_and_those_without_a_score_last():
    scores = {"1.2.1": 0.2, "1.2.4": 0.9, "1.2.7": 0.2}
    assert order(UIDS[:8], "uncertain", scores=scores) == ("1.2.4", "1.2.1", "1.2.7", "1.2.0", "1.2.2", "1.2.3", "1.2.5", "1.2.6")


def test_first_is_as_given_and_random_follows_its_seed():
    assert order(UIDS, "first", scores={"1.2.8": 1.0}) == UIDS
    shuffled = order(UIDS, "random", scores={})
    assert shuffled == order(UIDS[::-1], "random", scores={})
    assert shuffled != UIDS
    assert order(UIDS, "random", scores={}, seed=8) != shuffled


def test_an_order_that_is_not_there_is_named():
    with pytest.raises(WrongUse, match="order 'best': one of uncertain, random, first is expected"):
        order(UIDS, "best", scores={})


@given(st.lists(st.text("0123456789.", min_size=1), unique=True), st.sampled_from(["uncertain", "random", "first"]), st.integers(0, 99))
def test_no_case_is_lost_or_doubled(uids, how, seed):
    scores = {uid: len(uid) / 9 for uid in uids[::2]}
    assert sorted(order(uids, how, scores=scores, seed=seed)) == sorted(uids)


def test_uncertainty_is_the_entropy_where_a_label_may_be():
    logits = np.zeros((3, 4, 5, 6), np.float32)
    assert uncertainty(logits) == pytest.approx(1.0)
    logits[0] = 40
    assert uncertainty(logits) == 1.0                       # nothing found: to be looked at first
    logits[1, :, :2] = 80
    assert uncertainty(logits) == pytest.approx(0.0, abs=1e-6)
    logits[2, :, :1] = 80                                   # half of what is found may as well be the other label
    assert uncertainty(logits) == pytest.approx(0.5 * np.log(2) / np.log(3), abs=1e-4)


def test_scores_are_kept_with_the_model_that_made_them(workspace):
    catalog = workspace.catalog
    one, two = (catalog.append("model", {"n": n}, name="m").digest for n in range(2))
    keep_score(catalog, UIDS[0], 0.25, model=one)
    keep_score(catalog, UIDS[1], 0.5, model=two)
    keep_score(catalog, UIDS[1], 0.75, model=one)
    assert scores_of(catalog, UIDS, model=one) == {UIDS[0]: 0.25, UIDS[1]: 0.75}
    assert scores_of(catalog, UIDS, model=two) == {UIDS[1]: 0.5}


def test_the_worklist_goes_by_what_the_model_said_of_its_proposals(workspace):
    model = workspace.catalog.append("model", {"any": "model"}, name="m").digest
    with pytest.raises(WrongUse, match="let it propose first"):
        worklist(workspace.catalog, UIDS, "uncertain", model=model)
    keep_score(workspace.catalog, UIDS[3], 0.7, model=model)
    assert worklist(workspace.catalog, UIDS, "uncertain", model=model)[0] == UIDS[3]
    assert worklist(workspace.catalog, UIDS, "first", model=model) == UIDS

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from spixgraph.errors import InputError
from spixgraph.evaluate.counts import scores
from spixgraph.registry.gate import GateRules, judge, pooled_iou
from tests.unit.registry.exams import PASSED, exam

PROOF = {"bundle_sha256": "b1", **PASSED}


def verdict(new, old=None, proof=PROOF, **rules):
    return judge(
        new, old, champion_number=None if old is None else 1, proof=proof, bundle_sha256="b1",
        rules=GateRules(**rules),
    )  # fmt: skip


def test_first_model_passes():
    found = verdict(exam(0.5, 0.6))
    assert found.passed
    assert found.as_tags()["gate.verdict"] == "passed"
    assert found.as_tags()["gate.champion"] == "none"
    assert list(found.as_tags())[-1] == "gate.verdict"


@pytest.mark.parametrize(
    ("new", "old", "passed"),
    [(0.90, 0.90, True), (0.89, 0.90, False), (0.899, 0.90, True), (0.95, 0.90, True)],
)
def test_a_clear_loss_beyond_the_tolerance_is_refused(new, old, passed):
    found = verdict(exam(*[new] * 8), exam(*[old] * 8), tolerance=0.01)
    assert found.passed is passed


def test_noise_on_few_images_does_not_decide():
    new = exam(0.80, 0.97, 0.96)  # much worse on one image, better on the others
    old = exam(0.95, 0.94, 0.94)
    found = verdict(new, old)
    (check,) = [c for c in found.checks if c.name == "macro_iou"]
    assert check.figures["difference"] < -0.01
    assert check.figures["undecided"]
    assert found.passed
    assert "may be chance" in check.says
    many = verdict(exam(*[0.80] * 30), exam(*[0.95] * 30))
    assert not many.passed


def test_one_class_alone_can_refuse():
    new, old = exam(*[0.9] * 10), exam(*[0.9] * 10)
    new.confusions[:] = [[1000, 0], [200, 800]]
    old.confusions[:] = [[850, 150], [50, 950]]
    faults = {c.name for c in verdict(new, old).checks if not c.passed}
    assert "iou_cell" in faults
    assert "iou_background" not in faults


def test_fault_names_the_figures():
    (fault, *_) = verdict(exam(*[0.8] * 9), exam(*[0.9] * 9)).faults
    assert fault.startswith("0.6667, the champion has 0.8182: -0.1515 [-0.1515, -0.1515], -0.01")


@pytest.mark.parametrize(
    ("proof", "says"),
    [
        (None, "not proven"),
        ({}, "of another bundle"),
        ({"bundle_sha256": "b2", **PASSED}, "of another bundle"),
        ({"bundle_sha256": "b1"}, "holds no parity_max_difference"),
        ({"bundle_sha256": "b1", "parity_max_difference": 0.1}, "0.1, 0.001 is the limit"),
        ({"bundle_sha256": "b1", "parity_max_difference": float("nan")}, "limit"),
    ],
)
def test_parity_must_be_proven(proof, says):
    (fault,) = verdict(exam(0.9), proof=proof).faults
    assert says in fault


def test_memory_above_the_contract_is_refused():
    assert verdict(exam(0.9, measured=120)).passed
    (fault,) = verdict(exam(0.9, measured=121)).faults
    assert "measured" in fault


@pytest.mark.parametrize(
    ("seconds", "rules", "passed"),
    [
        (1.4, {}, True),
        (1.6, {}, False),
        (1.6, {"max_latency_factor": 2.0}, True),
        (1.2, {"max_seconds_per_megapixel": 1.1}, False),
    ],
)
def test_latency(seconds, rules, passed):
    assert verdict(exam(0.9, seconds=seconds), exam(0.9), **rules).passed is passed


def test_no_test_split_no_promotion():
    (fault,) = verdict(None).faults
    assert "no test split" in fault
    assert verdict(None).as_tags()["gate.test_sha256"] == "none"


def test_other_test_split_or_classes_cannot_be_compared():
    assert "another test split" in verdict(exam(0.9, test="t2"), exam(0.9)).faults[0]
    other = verdict(exam(0.9, classes=("background", "wall")), exam(0.9))
    assert "are not the champion's background, cell" in other.faults[0]


def test_negative_tolerance():
    with pytest.raises(InputError, match="tolerance must be >= 0"):
        GateRules(tolerance=-0.1)


@given(arrays(np.int64, (3, 4, 4), elements=st.integers(0, 50)))
def test_pooled_iou_is_that_of_the_evaluation(confusions):
    wanted = scores(confusions.sum(0))
    found = pooled_iou(confusions)
    np.testing.assert_allclose(found[1:], wanted.iou_per_class)
    if not np.isnan(wanted.macro_iou):
        np.testing.assert_allclose(found[0], wanted.macro_iou)


def test_report_is_a_table():
    text = verdict(exam(0.8, 0.8), exam(0.9, 0.9)).as_markdown()
    assert text.count("FAULT") == 3
    assert text.startswith("| figure |")

import pytest

from spixgraph.errors import GateError
from spixgraph.registry.gate import judge

OTHER_BUNDLE = "the verification is of another bundle"
TAGS = {"data_sha256": "d1", "bundle_sha256": "b1"}


def champion(score, data="d1"):
    return {"data_sha256": data}, {"macro_iou": score}


def test_first_model_passes():
    verdict = judge(TAGS, {"macro_iou": 0.3}, None, tolerance=0.0)
    assert verdict.passed
    assert verdict.as_tags()["gate.verdict"] == "passed"
    assert verdict.as_tags()["gate.champion_macro_iou"] == "none"


@pytest.mark.parametrize(
    ("score", "tolerance", "passed"),
    [(0.70, 0.0, True), (0.69, 0.0, False), (0.69, 0.02, True), (0.67, 0.02, False)],
)
def test_tolerance(score, tolerance, passed):
    verdict = judge(TAGS, {"macro_iou": score}, champion(0.70), tolerance=tolerance)
    assert verdict.passed is passed


def test_fault_names_the_figures():
    verdict = judge(TAGS, {"macro_iou": 0.61}, champion(0.70), tolerance=0.01)
    assert verdict.faults == (
        "macro IoU 0.6100 is 0.0900 below the champion's 0.7000, 0.01 is allowed",
    )
    assert verdict.as_tags()["gate.verdict"] == "refused"


def test_other_data_is_on_record():
    same = judge(TAGS, {"macro_iou": 0.7}, champion(0.7), tolerance=0.0)
    other = judge(TAGS, {"macro_iou": 0.7}, champion(0.7, "d2"), tolerance=0.0)
    assert (same.same_data, other.same_data) == (True, False)


def test_no_score_no_gate():
    with pytest.raises(GateError, match="candidate has no macro_iou"):
        judge(TAGS, {"accuracy": 0.9}, None, tolerance=0.0)
    with pytest.raises(GateError, match="champion has no macro_iou"):
        judge(TAGS, {"macro_iou": 0.7}, (TAGS, {}), tolerance=0.0)


@pytest.mark.parametrize(
    ("proof", "faults"),
    [
        ({"bundle_sha256": "b1", "max_difference": 1e-5}, ()),
        ({"bundle_sha256": "b2", "max_difference": 1e-5}, (OTHER_BUNDLE,)),
        ({}, (OTHER_BUNDLE,)),
    ],
)
def test_verification(proof, faults):
    verdict = judge(TAGS, {"macro_iou": 0.7}, None, tolerance=0.0, proof=proof)
    assert verdict.faults == faults
    if "max_difference" in proof:
        assert verdict.as_tags()["gate.proof.max_difference"] == "1e-05"

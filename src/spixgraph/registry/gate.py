"""Whether a model may replace the champion, with the figures that say so."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from spixgraph.arrays import Float64, Int64
from spixgraph.errors import InputError
from spixgraph.registry.exam import Exam

_RESAMPLES = 2000
_PERCENTILES = (5.0, 95.0)
_MEMORY_LEEWAY = 1.2
_LATENCY_LEEWAY_S = 0.1  # per image; below it a factor says nothing


@dataclass(frozen=True, slots=True)
class GateRules:
    """What a promotion must keep.

    Attributes
    ----------
    tolerance : float
        IoU, of the mean over classes and of each class, that may be lost against the champion.
    max_logit_difference : float
        Between the ONNX model and the trained one, as the verify stage measured it.
    max_latency_factor : float
        Seconds per megapixel against the champion's, measured in the same run.
    max_seconds_per_megapixel : float, optional
    """

    tolerance: float = 0.01
    max_logit_difference: float = 1e-3
    max_latency_factor: float = 1.5
    max_seconds_per_megapixel: float | None = None

    def __post_init__(self) -> None:
        if not self.tolerance >= 0:
            raise InputError(f"tolerance must be >= 0, got {self.tolerance}")


@dataclass(frozen=True, slots=True)
class Check:
    """One figure of the gate.

    Attributes
    ----------
    name : str
    passed : bool
    says : str
        In words, with value and limit.
    figures : mapping
        The numbers behind it.
    """

    name: str
    passed: bool
    says: str
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Outcome of the gate.

    Attributes
    ----------
    checks : tuple of Check
    rules : GateRules
    test_sha256 : str or None
        Of the test split that both models sat.
    champion : int or None
        Version that the model was compared with.
    """

    checks: tuple[Check, ...]
    rules: GateRules
    test_sha256: str | None
    champion: int | None

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against the promotion."""
        return all(check.passed for check in self.checks)

    @property
    def faults(self) -> tuple[str, ...]:
        """What speaks against it."""
        return tuple(check.says for check in self.checks if not check.passed)

    def as_json(self) -> dict[str, Any]:
        """Return all figures as plain values."""
        return {
            "verdict": "passed" if self.passed else "refused",
            "champion": self.champion,
            "test_sha256": self.test_sha256,
            "rules": asdict(self.rules),
            "checks": [asdict(check) for check in self.checks],
        }

    def as_tags(self) -> dict[str, str]:
        """Return the figures as tags of a model version, the verdict last."""
        return {
            "gate.champion": str(self.champion or "none"),
            "gate.test_sha256": self.test_sha256 or "none",
            "gate.figures": "\n".join(f"{check.name}: {check.says}" for check in self.checks),
            "gate.verdict": "passed" if self.passed else "refused",
        }

    def as_markdown(self) -> str:
        """Return a table for people."""
        lines = ["| figure | | |", "|---|---|---|"]
        for check in self.checks:
            lines.append(f"| {check.name} | {'ok' if check.passed else 'FAULT'} | {check.says} |")
        return "\n".join(lines) + "\n"


def judge(
    exam: Exam | None,
    champion: Exam | None,
    *,
    champion_number: int | None,
    proof: Mapping[str, Any] | None,
    bundle_sha256: str,
    rules: GateRules,
) -> Verdict:
    """Compare a model with the champion.

    Parameters
    ----------
    exam, champion : Exam
        What both did on the same test images; None where there are none, for the champion where
        there is none.
    champion_number : int, optional
    proof : mapping, optional
        What the verify stage wrote: `bundle_sha256` and `parity_max_difference`.
    bundle_sha256 : str
        Of the candidate.
    rules : GateRules
    """
    checks = [_parity(proof, bundle_sha256, rules)]
    if exam is None:
        checks.append(
            Check("test_split", False, "there is no test split to compare on; name one by --data")
        )
        return Verdict(tuple(checks), rules, None, champion_number)
    checks += [_memory(exam), _latency(exam, champion, rules)]
    if champion is not None:
        checks += _accuracy(exam, champion, rules)
    return Verdict(tuple(checks), rules, exam.test_sha256, champion_number)


def _parity(proof: Mapping[str, Any] | None, sha256: str, rules: GateRules) -> Check:
    if proof is None:
        return Check("parity", False, "ONNX parity is not proven: register with --verification")
    if proof.get("bundle_sha256") != sha256:
        return Check("parity", False, "the verification is of another bundle")
    found, limit = proof.get("parity_max_difference"), rules.max_logit_difference
    if not isinstance(found, int | float):
        return Check("parity", False, "the verification holds no parity_max_difference")
    return Check(
        "parity",
        bool(found <= limit),
        f"ONNX differs from the trained model by {found:.2g}, {limit:g} is the limit",
        {"max_difference": found, "limit": limit},
    )


def _memory(exam: Exam) -> Check:
    limit = _MEMORY_LEEWAY * exam.predicted_bytes
    return Check(
        "memory",
        exam.measured_bytes <= limit,
        f"{exam.measured_bytes / 2**20:.0f} MiB measured, {exam.predicted_bytes / 2**20:.0f} MiB "
        f"predicted; {limit / 2**20:.0f} MiB is the limit",
        {"predicted_bytes": exam.predicted_bytes, "measured_bytes": exam.measured_bytes},
    )


def _latency(exam: Exam, champion: Exam | None, rules: GateRules) -> Check:
    """Compare seconds per megapixel with what is absolutely and relatively allowed."""
    found = exam.seconds / exam.megapixels
    limits = []
    if rules.max_seconds_per_megapixel is not None:
        limits.append(rules.max_seconds_per_megapixel)
    if champion is not None:
        leeway = _LATENCY_LEEWAY_S * len(exam.ids) / exam.megapixels
        best = champion.seconds / champion.megapixels
        limits.append(max(rules.max_latency_factor * best, best + leeway))
    figures = {"seconds_per_megapixel": found, "limit": min(limits, default=None)}
    if not limits:
        return Check("latency", True, f"{found:.2f} s per megapixel", figures)
    says = f"{found:.2f} s per megapixel, {min(limits):.2f} is the limit"
    return Check("latency", found <= min(limits), says, figures)


def _accuracy(exam: Exam, champion: Exam, rules: GateRules) -> list[Check]:
    """Compare the mean IoU and that of each class, with an interval over images."""
    if exam.test_sha256 != champion.test_sha256:
        return [Check("test_split", False, "the champion was examined on another test split")]
    if exam.classes != champion.classes:
        return [
            Check(
                "classes",
                False,
                f"classes {', '.join(exam.classes)} are not the champion's "
                f"{', '.join(champion.classes)}",
            )
        ]
    new, old = pooled_iou(exam.confusions), pooled_iou(champion.confusions)
    low, high = _interval(exam.confusions, champion.confusions)
    names = ["macro_iou", *(f"iou_{name}" for name in exam.classes)]
    rows = zip(names, new.tolist(), old.tolist(), low.tolist(), high.tolist(), strict=True)
    return [_not_worse(*row, rules.tolerance) for row in rows]


def _not_worse(
    name: str, new: float, old: float, low: float, high: float, tolerance: float
) -> Check:
    """Refuse what is beyond the tolerance, unless another draw of images may say the opposite."""
    difference = new - old
    beyond = difference < -tolerance
    undecided = beyond and high >= 0
    says = (
        f"{new:.4f}, the champion has {old:.4f}: {difference:+.4f} "
        f"[{low:+.4f}, {high:+.4f}], {-tolerance:g} is allowed"
    )
    if undecided:
        says += "; on so few images this may be chance"
    figures = {
        "candidate": new, "champion": old, "difference": difference, "low": low, "high": high,
        "tolerance": tolerance, "undecided": undecided,
    }  # fmt: skip
    return Check(name, not beyond or undecided, says, figures)


def pooled_iou(confusions: Int64) -> Float64:
    """IoU of counts pooled over images: the mean over classes, then each class.

    Parameters
    ----------
    confusions : (..., n, K, K) int64
        Rows truth, columns prediction.

    Returns
    -------
    iou : (..., 1 + K) float64
        NaN for a class that is neither in the truth nor predicted; the mean leaves it out.
    """
    pooled = confusions.sum(axis=-3)
    hits = np.diagonal(pooled, axis1=-2, axis2=-1).astype(np.float64)
    marked = pooled.sum(axis=-1) + pooled.sum(axis=-2) - hits
    iou = np.divide(hits, marked, out=np.full(hits.shape, np.nan), where=marked > 0)
    known = ~np.isnan(iou)
    mean = np.where(known, iou, 0).sum(-1) / np.maximum(known.sum(-1), 1)
    return np.concatenate([mean[..., None], iou], axis=-1)


def _interval(new: Int64, old: Int64) -> tuple[Float64, Float64]:
    """Bootstrap over images: 5th and 95th percentile of the differences, both models on one draw.

    Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    n = len(new)
    draws = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=_RESAMPLES)
    pooled = [np.tensordot(draws, counts, axes=1)[:, None] for counts in (new, old)]
    difference = pooled_iou(pooled[0]) - pooled_iou(pooled[1])
    known = np.where(np.isnan(difference), 0, difference)
    low, high = np.percentile(known, _PERCENTILES, axis=0)
    return low, high

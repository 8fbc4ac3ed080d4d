"""The reliability figure: accuracy against confidence, as a drawing inside an HTML page."""

from html import escape
from typing import Any

_SIZE, _MARGIN = 220, 34


def reliability_figure(calibration: dict[str, Any], label: str) -> str:
    """Draw the bins of `Calibration.summary` as SVG.

    A bar is as high as the accuracy of its bin and as dense as its share of the pixels; the line is
    where a model is right as often as it believes.
    """
    bins = calibration["bins"]
    total = sum(b["n"] for b in bins)
    width = _SIZE / len(bins)
    bars = [
        f'<rect x="{_MARGIN + k * width:.1f}" y="{_MARGIN + _SIZE * (1 - b["accuracy"]):.1f}" '
        f'width="{width - 1:.1f}" height="{_SIZE * b["accuracy"]:.1f}" fill="#0072b2" '
        f'fill-opacity="{0.25 + 0.75 * b["n"] / total:.2f}"/>'
        for k, b in enumerate(bins)
        if b["n"]
    ]
    low, high, side = _MARGIN, _MARGIN + _SIZE, _SIZE + 2 * _MARGIN
    text = f"Reliability of {label}, expected calibration error {calibration['ece']:.3f}"
    return (
        f'<figure><svg width="{side}" height="{side}" viewBox="0 0 {side} {side}" role="img" '
        f'aria-label="{escape(text)}" stroke="none" fill="currentColor" font-size="12">'
        f"{''.join(bars)}"
        f'<rect x="{low}" y="{low}" width="{_SIZE}" height="{_SIZE}" fill="none" '
        'stroke="currentColor"/>'
        f'<line x1="{low}" y1="{high}" x2="{high}" y2="{low}" stroke="currentColor" '
        'stroke-dasharray="4 3"/>'
        f'<text x="{low}" y="{high + 16}">0</text>'
        f'<text x="{side / 2}" y="{high + 16}" text-anchor="middle">confidence</text>'
        f'<text x="{high}" y="{high + 16}" text-anchor="end">1</text>'
        f'<text x="{low}" y="{low - 8}">accuracy (0 to 1)</text>'
        f"</svg><figcaption>{escape(text)}</figcaption></figure>"
    )

"""Worst images and classes are named."""

import pytest

from spixgraph.evaluate.worst import extremes, worst_classes, worst_images


def entry(**iou):
    return {"per_image": [{"id": name, "macro_iou": value} for name, value in iou.items()]}


def test_images_by_macro_iou():
    model = entry(a=0.5, b=None, c=0.9, d=0.1, e=0.5, f=0.7)
    assert worst_images(model) == ["d", "a", "e"]
    assert extremes(model) == [
        ("Best", "c"), ("Worst", "d"), ("Second worst", "a"), ("Third worst", "e"),
    ]  # fmt: skip
    assert extremes(entry(a=0.5, b=0.5)) == [("Best", "a"), ("Worst", "b")]
    assert extremes(entry(a=0.5)) == [("Best and worst", "a")]
    assert extremes(entry(a=None)) == []


def test_classes_by_iou_and_what_they_are_taken_for():
    confusion = [[90, 10, 0, 0], [5, 15, 80, 0], [0, 0, 50, 0], [0, 0, 0, 0]]
    worst, second, third = worst_classes({"confusion": confusion}, ("a", "b", "c", "d"))
    assert worst["name"] == "b"
    assert worst["iou"] == pytest.approx(15 / 110)
    assert (worst["missed"], worst["taken_for"]) == (0.85, "c")
    assert (second["name"], second["missed"], second["taken_for"]) == ("c", 0.0, None)
    assert third["name"] == "a"  # d is nowhere

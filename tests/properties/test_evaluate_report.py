"""Laws of the report: pooling does not depend on the order or the cut of the images."""

from dataclasses import replace

import hypothesis.extra.numpy as npst
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spixgraph.evaluate.boundary import BoundaryCounts
from spixgraph.evaluate.report import build_report, pooled_metrics
from spixgraph.evaluate.results import ImageResult, ModelResult

K = 3
COUNTS = npst.arrays(np.int64, (K, K), elements=st.integers(0, 10**6))


@st.composite
def boundaries(draw):
    n_truth, n_predicted = draw(st.integers(0, 99)), draw(st.integers(0, 99))
    return BoundaryCounts(
        2, n_truth, draw(st.integers(0, n_truth)), n_predicted, draw(st.integers(0, n_predicted))
    )


IMAGES = st.lists(st.builds(ImageResult, st.just(""), COUNTS, boundaries()), min_size=1, max_size=6)


def _model(images):
    named = tuple(replace(image, id=f"i{number}") for number, image in enumerate(images))
    return ModelResult("gnn", 0, 1, named)


def _entry(model):
    report = build_report(dataset="d", split="test", class_names="abc", models=[model])
    return report["models"][0]


@given(images=IMAGES, data=st.data())
def test_order_of_images_does_not_change_the_scores(images, data):
    model = _model(images)
    shuffled = replace(model, per_image=tuple(data.draw(st.permutations(model.per_image))))
    first, second = _entry(model), _entry(shuffled)
    assert first["metrics"] == second["metrics"]
    assert first["mean_over_images"] == second["mean_over_images"]


@given(images=IMAGES)
def test_pooled_scores_are_those_of_one_image_with_all_counts(images):
    first, *rest = (image.boundary for image in images)
    boundary = sum(rest, start=first)
    whole = ImageResult("all", sum(image.confusion for image in images), boundary)
    assert pooled_metrics(images) == pooled_metrics([whole])


@given(image=IMAGES.map(lambda images: images[0]), n=st.integers(1, 7))
def test_repeated_image_has_its_own_scores(image, n):
    entry = _entry(_model([image] * n))
    alone = pooled_metrics([image])
    assert entry["metrics"] == alone


@given(images=IMAGES)
def test_all_scores_lie_between_zero_and_one(images):
    entry = _entry(_model(images))
    values = [*entry["mean_over_images"].values(), *entry["metrics"]["iou_per_class"]]
    assert all(value is None or 0 <= value <= 1 for value in values)

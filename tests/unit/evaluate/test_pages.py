"""The HTML page and the Markdown table: well formed, escaped, self-contained."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from spixgraph.evaluate.calibration import Calibration
from spixgraph.evaluate.html import PictureKey, html_page
from spixgraph.evaluate.markdown import report_markdown
from spixgraph.evaluate.report import build_report, with_selection
from spixgraph.evaluate.tables import memory, model_table, number, score, worst_image_table

VOID = {"meta", "img", "br", "hr", "link", "input"}


class _Page(HTMLParser):
    """Checks that each tag is closed in turn; keeps tags, attributes and text."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def _read(text: str) -> _Page:
    page = _Page()
    page.feed(text)
    page.close()
    assert page.open == []
    return page


@pytest.fixture
def page(report):
    chosen = with_selection(report, name="gnn", seed=0, reason="Best & <small>.")
    pictures: dict[PictureKey, bytes | str] = {
        ("gnn", 0, "i3"): b"\x89PNG best",
        ("gnn", 0, 'i"<1>'): 'pictures/"worst" 1.png',
        ("gnn", 0, "i2"): "middle.png",
    }
    return html_page(chosen, pictures)


def test_names_are_escaped(page):
    text = "".join(_read(page).text)
    for name in ("<b>&", "toy <set>", 'i"<1>', "Best & <small>.", "Run on <one> core."):
        assert name in text
    assert not [tag for tag, _ in _read(page).tags if tag in ("b", "set", "one", "small")]


def test_page_needs_nothing_else(page):
    found = _read(page)
    assert not found.all("script")
    assert not found.all("link")
    assert not re.findall(r"https?://|@import|url\(", page)


def test_tables_are_marked_up_for_readers(page):
    found = _read(page)
    tables = len(found.all("table"))
    assert tables == 8  # classes, models, mean, ceiling, worst images, worst classes, two of images
    assert len(found.all("caption")) == tables
    assert {attrs.get("scope") for attrs in found.all("th")} == {"col", "row"}
    assert all(attrs.get("tabindex") == "0" for attrs in found.all("div"))
    assert found.all("html") == [{"lang": "en"}]
    assert "width=device-width" in str(found.all("meta"))
    assert "prefers-color-scheme: dark" in page


def test_best_and_worst_pictures_are_shown(page):
    images = _read(page).all("img")
    assert [image["src"] for image in images] == [
        "data:image/png;base64,iVBORyBiZXN0",
        "pictures/%22worst%22%201.png",
        "middle.png",
    ]
    assert images[0]["alt"].startswith("Best image of gnn, i3")
    assert images[1]["alt"].startswith('Worst image of gnn, i"<1>')


def test_calibration_is_shown_where_there_is_one(report):
    half = Calibration(*(np.full(15, n) for n in (100, 50, 100 * 128)))
    known = {**report["models"][0], "calibration": half.summary()}
    budget = {"annotated": 200, "superpixels": 20, "won_back": 4, "classifier": 10}
    known["per_image"] = [{**image, "error_budget": budget} for image in known["per_image"]]
    page = html_page({**report, "models": [known, *report["models"][1:]]})
    (figure,) = _read(page).all("svg")
    assert figure["aria-label"] == "Reliability of gnn, expected calibration error 0.002"
    rows = worst_image_table({**report, "models": [known]}).rows
    assert rows[0][3:] == ("+10.00 %", "-2.00 %", "+5.00 %", "+13.00 %")
    assert "Calibration" not in html_page(report)


def test_one_image_is_shown_once(models):
    short = [replace(models[0], per_image=models[0].per_image[:1])]
    report = build_report(dataset="d", split="test", class_names="abc", models=short)
    (image,) = _read(html_page(report, {("gnn", 0, 'i"<1>'): "a.png"})).all("img")
    assert image["alt"].startswith("Best and worst image of gnn")


def test_page_without_pictures_ceiling_or_selection(models):
    report = build_report(dataset="d", split="test", class_names="abc", models=models)
    text = "".join(_read(html_page(report)).text)
    assert "No model has been selected yet." in text
    assert "Pictures" not in text
    assert "Ceiling" not in text


def test_page_is_deterministic(report):
    assert html_page(report) == html_page(report)


def test_baseline_is_said(page):
    assert "interpreter and imports take 300 MiB to 310 MiB" in page


def test_main_table_gives_scores_and_costs(report):
    table = model_table(report)
    gnn, cnn = (dict(zip(table.head, row, strict=True)) for row in table.rows)
    assert gnn["inference MP/s"] == "2.5"  # 10 MP in 4 s, superpixels included
    assert gnn["train s"] == "61.2"
    assert gnn["train peak memory"] == "800 MiB"
    assert cnn["train peak memory"] == "n/a + 3.00 GiB GPU"
    assert cnn["inference MP/s"] == "n/a"
    assert cnn["parameters"] == "1,900,000"
    assert gnn["accuracy"] == f"{report['models'][0]['metrics']['accuracy']:.3f}"
    assert gnn["IoU a|b"] == "n/a"  # in no image


def test_seeds_are_named_where_needed(models):
    several = [models[0], replace(models[0], seed=1), models[1]]
    report = build_report(dataset="d", split="test", class_names="abc", models=several)
    assert [row[0] for row in model_table(report).rows] == ["gnn, seed 0", "gnn, seed 1", "cnn"]


def test_markdown_table_has_even_rows(report):
    text = report_markdown(with_selection(report, name="gnn", seed=0, reason="It\nis best."))
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(blocks) == 2  # models, ceiling
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block}) == 1
        assert set(block[1]) <= set("|-: ")
    assert r"IoU \<b>&" in text
    assert r"IoU a\|b" in text
    assert "Selected: gnn, seed 0. It is best." in text
    assert text.endswith(r"- Run on \<one> core." + "\n")


def test_figures_are_short():
    assert [number(v) for v in (None, 0.01234, 9.876, 99.96, 1234.5)] == [
        *("n/a", "0.0123", "9.88", "100", "1,234"),
    ]
    assert [memory(v) for v in (2**20, 1023 * 2**20, 3 * 2**29)] == [
        "1 MiB",
        "1,023 MiB",
        "1.50 GiB",
    ]
    assert [score(v) for v in (None, 0.12345)] == ["n/a", "0.123"]

"""The page in a real browser, against a real server."""

import io
import json

import numpy as np
import pytest
import tifffile
from PIL import Image
from playwright.sync_api import FilePayload, Page, expect

from tests.serving.bad_images import png
from tests.serving.server import grey_pixels

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
WAIT_MS = 60_000


def upload(page: Page, name: str, data: bytes, kind="image/png") -> None:
    page.set_input_files("#file", FilePayload(name=name, mimeType=kind, buffer=data))


def ready(page: Page) -> None:
    page.wait_for_selector("#view[data-ready=true]", timeout=WAIT_MS)


def shown(page: Page, job: str) -> None:
    expect(page.locator("#about")).to_contain_text(job, timeout=WAIT_MS)
    ready(page)


def picture(page: Page) -> np.ndarray:
    """What is on the canvas, (Y, X, 3)."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    ready(page)
    shot = page.locator("#view").screenshot()
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)


def set_opacity(page: Page, value: int) -> None:
    page.locator("#opacity").fill(str(value))


def test_upload_shows_the_mask_over_the_image(page, served):
    upload(page, "cells.png", png(grey_pixels(200)))
    shown(page, "cells.png")
    set_opacity(page, 100)
    full = picture(page)
    set_opacity(page, 0)
    plain = picture(page)
    set_opacity(page, 50)
    half = picture(page)
    orange = (full == (255, 176, 0)).all(-1)
    assert orange.sum() > 500
    assert not (plain == (255, 176, 0)).all(-1).any()
    np.testing.assert_allclose(half[orange], (full[orange] + plain[orange]) / 2, atol=2)
    spread = np.ptp(plain[orange], axis=1)
    assert spread.max() == 0  # a grey image


def test_overlay_has_the_area_that_the_table_tells(page, served):
    upload(page, "area.png", png(grey_pixels(200)))
    shown(page, "area.png")
    set_opacity(page, 100)
    full = picture(page)
    (job,) = [j for j in served.get("/jobs").json()["jobs"] if j["name"] == "area.png"]
    fraction = job["result"]["classes"][1]["fraction"]
    side = min(full.shape[:2])  # the image is square and fits the height
    orange = (full == (255, 176, 0)).all(-1).sum() / side**2
    assert orange == pytest.approx(fraction, rel=0.1)
    row = page.locator("#classes tr").nth(1)
    expect(row).to_contain_text("cell")
    expect(row).to_contain_text(f"{100 * fraction:.2f} %")


def test_classes_outlines_and_uncertainty_change_the_picture(page):
    upload(page, "layers.png", png(grey_pixels(200)))
    shown(page, "layers.png")
    set_opacity(page, 100)
    before = picture(page)
    page.get_by_label("Superpixel outlines").check()
    outlined = picture(page)
    assert (outlined != before).any()
    page.get_by_label("Superpixel outlines").uncheck()
    np.testing.assert_array_equal(picture(page), before)
    page.get_by_label("Show cell").uncheck()
    assert not (picture(page) == (255, 176, 0)).all(-1).any()
    page.get_by_label("Show cell").check()
    page.get_by_label("Overlay").select_option("uncertainty")
    doubt = picture(page)
    assert not (doubt == (255, 176, 0)).all(-1).any()
    page.get_by_label("Overlay").select_option("none")
    assert (picture(page) != doubt).any()


def test_text_file_is_an_error_that_is_read_out(page):
    upload(page, "notes.txt", b"no image\n", "text/plain")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("neither PNG nor TIFF", timeout=WAIT_MS)
    upload(page, "after.png", png(grey_pixels(100)))
    shown(page, "after.png")
    expect(alert).to_have_text("")


def test_an_image_that_does_not_suit_fails_with_the_reason(page):
    upload(page, "rgb.png", png(np.zeros((30, 30, 3), np.uint8)))
    expect(page.get_by_role("alert")).to_contain_text("3 channel(s)", timeout=WAIT_MS)
    expect(page.locator("#jobs li", has_text="rgb.png").first).to_contain_text("failed")


def test_job_list_shows_progress_and_ends_jobs(page):
    steps: list[str] = []
    page.expose_function("noteStep", lambda step: steps.append(step))
    page.evaluate(
        "new MutationObserver(() => document.querySelectorAll('#jobs progress:not([hidden])')"
        ".forEach((p) => noteStep(`${p.value}`))).observe(document.getElementById('jobs'),"
        "{subtree: true, childList: true, attributes: true, characterData: true})"
    )
    data = io.BytesIO()
    tifffile.imwrite(data, np.tile(grey_pixels(256), (16, 16)), compression="zlib")
    upload(page, "slow.tif", data.getvalue(), "image/tiff")
    expect(page.locator("#status")).to_contain_text("done", timeout=WAIT_MS)
    shown(page, "slow.tif")
    values = [float(step) for step in steps]
    assert values == sorted(values)
    assert len(set(values)) >= 2
    item = page.locator("#jobs li", has_text="slow.tif").first
    count = page.locator("#jobs li").count()
    item.get_by_role("button", name="Remove").click()
    expect(page.locator("#jobs li")).to_have_count(count - 1)
    expect(page.locator("#figures")).to_be_hidden()


def test_large_image_is_looked_at_by_tiles(page, served):
    rng = np.random.default_rng(0)
    pixels = np.kron(rng.integers(30, 220, (22, 26), np.uint8), np.ones((64, 64), np.uint8))
    data = io.BytesIO()
    tifffile.imwrite(data, pixels, compression="zlib")
    asked: list[str] = []
    page.on("request", lambda r: asked.extend(r.url.split("/tiles/")[1:]))
    upload(page, "large.tif", data.getvalue(), "image/tiff")
    shown(page, "large.tif")
    assert {place.split("/")[1] for place in asked} == {"1"}  # the whole at half size
    box = page.locator("#view").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 10)
    page.mouse.wheel(0, -1200)
    near = picture(page)
    fine = {place for place in asked if place.startswith("image/0/")}
    assert 0 < len(fine) <= 4  # of 12
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 400, box["y"] + 300)
    page.mouse.up()
    assert (picture(page) != near).any()
    page.get_by_role("button", name="Fit").click()
    ready(page)


def test_everything_by_keyboard_alone(page):
    page.keyboard.press("Tab")
    seen = []
    for _ in range(70):
        seen.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
        page.keyboard.press("Tab")
    for name in ("file", "sample", "opacity", "overlay", "outlines", "view"):
        assert name in seen
    page.focus("#sample")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    shown(page, "synthetic")
    page.focus("#view")
    start = picture(page)
    page.keyboard.press("+")
    zoomed = picture(page)
    assert (zoomed != start).any()
    page.keyboard.press("ArrowRight")
    assert (picture(page) != zoomed).any()
    page.keyboard.press("0")
    assert (picture(page) != start).mean() < 1e-4  # the ring of the focus is drawn anew


def test_names_for_screen_readers(page):
    upload(page, "named.png", png(grey_pixels(100)))
    shown(page, "named.png")
    label = page.locator("#view").get_attribute("aria-label")
    assert "named.png" in label
    assert "cell" in label
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, input, select')].filter((e) => !e.hidden && "
        "!(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length))"
        ".map((e) => e.outerHTML)"
    )
    assert unnamed == []


@pytest.mark.parametrize("form", ["TIFF", "PNG", "GeoJSON", "JSON"])
def test_mask_is_downloaded(page, served, form):
    data = png(grey_pixels(100))
    upload(page, f"{form}.png", data)
    shown(page, f"{form}.png")
    with page.expect_download() as download:
        page.get_by_role("button", name=form, exact=True).click()
    body = download.value.path().read_bytes()
    direct = served.segment(data, format=form.lower())
    if form in ("TIFF", "PNG"):
        assert body == direct.content
    else:
        assert json.loads(body) == direct.json()


def test_api_page(page, served):
    page.goto(f"{served.url}/docs")
    expect(page.get_by_role("heading", name="POST /segment")).to_be_visible()
    expect(page.get_by_role("heading", name="DELETE /jobs/{job_id}")).to_be_visible()

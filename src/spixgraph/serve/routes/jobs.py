"""Jobs: made of a URI, an upload or a sample; listed, looked at, fetched, canceled."""

import math
import shutil
import time
import uuid
from functools import partial
from pathlib import Path
from typing import Any, get_args

from anyio import to_thread
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from spixgraph.io.masks import read_mask
from spixgraph.serve.answers import (
    FILE_SUFFIX,
    LAYERS,
    MIME,
    Form,
    feature_collection,
    mask_file,
    mask_json,
)
from spixgraph.serve.headers import read_header
from spixgraph.serve.jobs.places import resolve_uri
from spixgraph.serve.jobs.table import Job
from spixgraph.serve.jobs.tiles import Layer, png_tile
from spixgraph.serve.jobs.worker import job_folder
from spixgraph.serve.middleware import json_response
from spixgraph.serve.routes.asked import (
    axes_said,
    class_ids,
    form_wanted,
    json_body,
    pixel_size_said,
    running,
    yes_or_no,
)
from spixgraph.serve.routes.segment import upload_of
from spixgraph.serve.running import Running
from spixgraph.serve.samples import sample_image, sample_names
from spixgraph.serve.segmenter import SUFFIX

_KEYS = {"uri", "sample", "axes", "pixel_size_um", "probabilities"}
_FIELDS = {"image", "axes", "pixel_size_um", "probabilities"}
_TILES: tuple[Layer, ...] = get_args(Layer)
_LARGEST_ENCODED_PX = 1 << 28
_DAY_S = 86_400


async def _create(request: Request) -> Response:
    """Make a job of a JSON body, or of an uploaded file."""
    service = running(request)
    _require_room(service)
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        job = await _of_upload(service, request)
    else:
        job = await _of_json(service, request)
    return json_response(_shown(job), 202, {"Location": f"/jobs/{job.id}"})


def _require_room(service: Running) -> None:
    waiting = service.table.counts()["queued"]
    if waiting >= service.settings.max_jobs:
        raise HTTPException(
            429,
            f"{waiting} jobs wait, {service.settings.max_jobs} is the limit; try again later",
            headers={"Retry-After": "60"},
        )


async def _of_json(service: Running, request: Request) -> Job:
    value = await json_body(request)
    if unknown := sorted(set(value) - _KEYS):
        raise HTTPException(400, f"unknown key {unknown[0][:50]!r}; known are {sorted(_KEYS)}")
    if ("uri" in value) == ("sample" in value):
        raise HTTPException(400, "name the image by either 'uri' or 'sample'")
    asked = {
        "axes": axes_said(value.get("axes")),
        "pixel_size_um": pixel_size_said(value.get("pixel_size_um")),
        "probabilities": yes_or_no(value.get("probabilities"), "probabilities"),
    }
    owner = request.scope.get("key_name")
    return await to_thread.run_sync(partial(_add_named, service, value, asked, owner))


def _add_named(
    service: Running, value: dict[str, Any], asked: dict[str, Any], owner: str | None
) -> Job:
    job_id = uuid.uuid4().hex
    if "uri" in value:
        uri = _text(value, "uri")
        path = resolve_uri(uri, service.settings.roots, service.settings.remote_roots)
        name = path.rpartition("/")[2] if isinstance(path, str) else path.name
        return service.table.add({"name": name, "uri": uri, **asked}, owner=owner, job_id=job_id)
    folder = job_folder(service.state, job_id)
    folder.mkdir(parents=True)
    name = _text(value, "sample")
    try:
        card = service.segmenter.bundle.card
        path = sample_image(name, card, service.settings.samples, folder / "image.tif")
        return service.table.add(
            {"name": name, "path": str(path), **asked}, owner=owner, job_id=job_id
        )
    except BaseException:  # a canceled request too: no folder without its job
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _text(value: dict[str, Any], key: str) -> str:
    if not isinstance(value[key], str) or len(value[key]) > 4096:
        raise HTTPException(400, f"{key} must be a text of at most 4096 characters")
    return str(value[key])


async def _of_upload(service: Running, request: Request) -> Job:
    async with (
        service.admission.place(),
        request.form(max_files=1, max_fields=4) as form,
    ):
        upload = upload_of(form, _FIELDS)
        asked = {
            "axes": axes_said(form.get("axes")),
            "pixel_size_um": pixel_size_said(form.get("pixel_size_um")),
            "probabilities": yes_or_no(form.get("probabilities"), "probabilities"),
        }
        owner = request.scope.get("key_name")
        return await to_thread.run_sync(partial(_add_upload, service, upload, asked, owner))


def _add_upload(
    service: Running, upload: UploadFile, asked: dict[str, Any], owner: str | None
) -> Job:
    """Keep the file in the folder of the job, once its header is sound."""
    header = read_header(upload.file)
    service.segmenter.require_job_fits(header, service.settings.max_job_pixels)
    job_id = uuid.uuid4().hex
    folder = job_folder(service.state, job_id)
    folder.mkdir(parents=True)
    path = folder / f"image{SUFFIX[header.kind]}"
    try:
        with path.open("wb") as handle:
            shutil.copyfileobj(upload.file, handle)
        name = Path(upload.filename or "image").name[:200]
        return service.table.add(
            {"name": name, "path": str(path), **asked}, owner=owner, job_id=job_id
        )
    except BaseException:  # a canceled request too: no folder without its job
        shutil.rmtree(folder, ignore_errors=True)
        raise


async def _list(request: Request) -> Response:
    service, owner = running(request), request.scope.get("key_name")
    mine = [job for job in service.table.all() if service.keys is None or job.owner == owner]
    return json_response({"jobs": [_shown(job) for job in mine]})


async def _look(request: Request) -> Response:
    return json_response(_shown(_job(request)))


async def _delete(request: Request) -> Response:
    """Forget an ended job; stop one that waits or runs."""
    service, before = running(request), _job(request)
    service.table.ask_to_cancel(before.id)
    job = _job(request)
    if job.state == "running":
        return json_response(_shown(job), 202)
    shutil.rmtree(job_folder(service.state, job.id), ignore_errors=True)
    if before.state == job.state:  # it had ended before
        service.table.delete(job.id)
        return Response(status_code=204)
    return json_response(_shown(job))


async def _result(request: Request) -> Response:
    service, folder = running(request), _done_folder(request)
    layer = request.query_params.get("layer", "mask")
    if layer not in LAYERS:
        raise HTTPException(400, f"layer must be {', '.join(LAYERS)}, got {layer[:50]!r}")
    if layer != "mask":
        return _layer(request, folder, layer)
    form = form_wanted(
        request.query_params.get("format"), request.headers.get("accept", ""), "tiff"
    )
    if form in (None, "tiff"):
        return FileResponse(folder / "mask.tif", media_type=MIME["tiff"], filename="mask.tif")
    if form == "zip":
        raise HTTPException(400, "a job gives png, tiff, json or geojson")
    ids = class_ids(request.query_params.get("classes"))
    job = _job(request)
    _require_encodable(job)
    size = None if job.summary is None else job.summary["pixel_size_um"]
    body = await to_thread.run_sync(partial(_encoded, service, folder, form, size, ids))
    return Response(
        body,
        media_type=MIME[form],
        headers={"Content-Disposition": f'attachment; filename="mask{FILE_SUFFIX[form]}"'},
    )


def _layer(request: Request, folder: Path, layer: str) -> Response:
    """Send another layer than the mask, which is a TIFF."""
    if request.query_params.get("format", "tiff") not in ("tif", "tiff"):
        raise HTTPException(400, f"{layer} is given as format=tiff only")
    path = folder / f"{layer}.tif"
    if not path.is_file():
        raise HTTPException(404, f"the job has no {layer}; ask for it when you send the job")
    return FileResponse(path, media_type=MIME["tiff"], filename=path.name)


def _require_encodable(job: Job) -> None:
    """Refuse to hold the whole of a large mask, as all forms but the TIFF need."""
    n_pixels = math.prod(_shape_of(job))
    if n_pixels > _LARGEST_ENCODED_PX:
        raise HTTPException(
            413,
            f"the mask has {n_pixels / 1e6:,.0f} megapixels, {_LARGEST_ENCODED_PX / 1e6:,.0f} are "
            "the limit of this format; ask for format=tiff",
        )


def _encoded(service: Running, folder: Path, form: Form, size: Any, ids: frozenset[int]) -> bytes:
    mask, card = read_mask(folder / "mask.tif"), service.segmenter.bundle.card
    if form == "png":
        return mask_file(mask, card, size, "png")
    if form == "geojson":
        return bytes(json_response(feature_collection(mask, card, ids)).body)
    return bytes(json_response(mask_json(mask, card, size)).body)


async def _tile(request: Request) -> Response:
    folder, asked = _done_folder(request), request.path_params
    layer = next((name for name in _TILES if name == asked["layer"]), None)
    if layer is None:
        raise HTTPException(404, "layers are image and data")
    place = asked["level"], asked["z"], asked["y"], asked["x"]
    n_z = _shape_of(_job(request))[0]
    tile = await to_thread.run_sync(partial(png_tile, folder, layer, place, n_z=n_z))
    if tile is None:
        raise HTTPException(404, "there is no such tile")
    cached = {"Cache-Control": f"private, max-age={_DAY_S}, immutable"}
    return Response(tile, media_type="image/png", headers=cached)


async def _samples(request: Request) -> Response:
    service = running(request)
    names = sample_names(service.segmenter.bundle.card, service.settings.samples)
    return json_response({"samples": names})


def _job(request: Request) -> Job:
    """Return the job of the path; one of another key is as if there were none."""
    service, owner = running(request), request.scope.get("key_name")
    job_id = request.path_params["job_id"]
    found = service.table.get(job_id)
    if found is None or (service.keys is not None and found.owner != owner):
        raise HTTPException(404, f"there is no job {job_id[:50]!r}; GET /jobs lists them")
    return found


def _shape_of(job: Job) -> list[int]:
    return [0, 0, 0] if job.summary is None else list(job.summary["shape_zyx"])


def _done_folder(request: Request) -> Path:
    job = _job(request)
    if job.state != "done" or job.summary is None:
        raise HTTPException(409, f"the job is {job.state}, it has no result; {job.error or ''}")
    folder = job_folder(running(request).state, job.id) / job.summary["folder"]
    if not (folder / "mask.tif").is_file():
        raise HTTPException(410, "the result is gone; send the job again")
    return folder


def _shown(job: Job) -> dict[str, Any]:
    """Return what a client may see: no path of this machine."""
    state = "canceling" if job.state == "running" and job.cancel else job.state
    summary = {k: v for k, v in (job.summary or {}).items() if k != "folder"} or None
    waited = (job.started or time.time()) - job.created
    return {
        "id": job.id,
        "name": job.request["name"],
        "state": state,
        "step": job.step,
        "progress": round(job.progress, 3),
        "error": job.error,
        "created": job.created,
        "started": job.started,
        "finished": job.finished,
        "waited_s": round(waited, 3),
        "attempt": job.attempt,
        "result": summary,
    }


ROUTES = [
    Route("/jobs", _create, methods=["POST"]),
    Route("/jobs", _list, methods=["GET"]),
    Route("/jobs/{job_id}", _look, methods=["GET"]),
    Route("/jobs/{job_id}", _delete, methods=["DELETE"]),
    Route("/jobs/{job_id}/result", _result, methods=["GET"]),
    Route("/jobs/{job_id}/tiles/{layer}/{level:int}/{z:int}/{y:int}/{x:int}", _tile),
    Route("/samples", _samples, methods=["GET"]),
]

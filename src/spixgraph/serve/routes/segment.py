"""POST /segment and GET /model."""

import json
import time
from collections.abc import Callable
from functools import partial

import anyio
from anyio import to_thread
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from spixgraph.arrays import PixelSizeUm
from spixgraph.serve.answers import FILE_SUFFIX, MIME, SHARES, Form, areas_of, encode
from spixgraph.serve.middleware import json_response
from spixgraph.serve.routes.asked import (
    axes_said,
    class_ids,
    extras_wanted,
    form_wanted,
    pixel_size_said,
    running,
)
from spixgraph.serve.running import Running

_FIELDS = {"image", "format", "axes", "pixel_size_um", "classes", "extras"}


async def _model(request: Request) -> Response:
    return json_response(running(request).segmenter.describe())


async def _segment(request: Request) -> Response:
    service = running(request)
    async with service.admission.place():
        deadline = time.monotonic() + service.settings.timeout_s
        async with request.form(max_files=1, max_fields=8) as form:
            upload = upload_of(form, _FIELDS)
            work = partial(
                _answer,
                service,
                upload,
                form_wanted(form.get("format"), request.headers.get("accept", "")),
                axes_said(form.get("axes")),
                pixel_size_said(form.get("pixel_size_um")),
                deadline,
                ids=class_ids(form.get("classes")),
                extras=extras_wanted(form.get("extras")),
            )
            return await _in_slot(service, request, work, deadline)


async def _in_slot(
    service: Running, request: Request, work: Callable[[], Response], deadline: float
) -> Response:
    """Wait for the slot and work in a thread; give up at the deadline or if nobody listens.

    A thread cannot be stopped: it looks at the deadline between its steps, and holds the slot
    until then.
    """
    try:
        with anyio.fail_after(deadline - time.monotonic()):
            async with service.admission.slot():
                if await request.is_disconnected():
                    raise HTTPException(499, "the client has gone")
                return await to_thread.run_sync(work)
    except TimeoutError as error:
        raise HTTPException(
            504, f"not done after {service.settings.timeout_s:g} s; send it as a job"
        ) from error


def _answer(
    service: Running,
    upload: UploadFile,
    wanted: Form | None,
    axes: str | None,
    pixel_size_um: PixelSizeUm | None,
    deadline: float,
    *,
    ids: frozenset[int],
    extras: frozenset[str],
) -> Response:
    """Segment and encode, in a thread."""
    segmenter = service.segmenter
    segmented, kind = segmenter.segment_upload(
        upload.file,
        axes=axes,
        pixel_size_um=pixel_size_um,
        shares=not extras.isdisjoint(SHARES),
        deadline=deadline,
    )
    mask, card = segmented.found.mask, segmenter.bundle.card
    service.metrics.count_image(mask.size, segmented.predicted_bytes, segmented.used_bytes)
    form = wanted or kind
    areas = areas_of(mask, card, segmented.info.pixel_size_um)
    return Response(
        encode(segmented, card, form, class_ids=ids, extras=extras),
        media_type=MIME[form],
        headers={
            "Content-Disposition": f'attachment; filename="mask{FILE_SUFFIX[form]}"',
            "X-Class-Areas": json.dumps(areas),
            "X-Bundle-Sha256": segmenter.sha256,
        },
    )


def upload_of(form: FormData, fields: set[str]) -> UploadFile:
    """Return the file of a form, or refuse the form."""
    upload = form.get("image")
    if not isinstance(upload, UploadFile):
        raise HTTPException(400, "send the image as the file field 'image' of a multipart form")
    if unknown := sorted(set(form) - fields):
        known = ", ".join(sorted(fields))
        raise HTTPException(400, f"unknown field {unknown[0][:50]!r}; known are {known}")
    return upload


ROUTES = [
    Route("/segment", _segment, methods=["POST"]),
    Route("/model", _model, methods=["GET"]),
]

"""Read what a request asks for; every wrong field is a 4xx that names it."""

import json
import math
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request

from spixgraph.arrays import PixelSizeUm
from spixgraph.serve.answers import FORMS, MIME, SHARES, Form
from spixgraph.serve.running import Running

EXTRAS = (*SHARES, "outlines")
_MAX_JSON = 100_000
_ALIASES = {"tif": "tiff"}


def running(request: Request) -> Running:
    """Return the started service, or answer 503."""
    found: Running | None = request.app.state.running
    if found is None:
        raise HTTPException(503, "the model is not open yet", headers={"Retry-After": "5"})
    return found


def form_wanted(field: Any, accept: str, otherwise: Form | None = None) -> Form | None:
    """Settle the form of the answer: by the field, else by the Accept header."""
    if field is not None:
        name = _ALIASES.get(str(field).lower(), str(field).lower())
        if name not in FORMS:
            raise HTTPException(400, f"format must be {', '.join(FORMS)}, got {str(field)[:50]!r}")
        return next(form for form in FORMS if form == name)
    types = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    return next((form for t in types for form, mime in MIME.items() if t == mime), otherwise)


def class_ids(field: Any) -> frozenset[int]:
    """Read "1,2"; none is all."""
    if field in (None, ""):
        return frozenset()
    parts = str(field).split(",")
    if not all(part.strip().isascii() and part.strip().isdigit() for part in parts):
        raise HTTPException(400, f"classes must be ids as in 1,2, got {str(field)[:50]!r}")
    return frozenset(int(part) for part in parts)


def extras_wanted(field: Any) -> frozenset[str]:
    """Read "probabilities,uncertainty,outlines"."""
    names = frozenset(name.strip() for name in str(field or "").split(",") if name.strip())
    if unknown := sorted(names - set(EXTRAS)):
        raise HTTPException(400, f"extras must be of {', '.join(EXTRAS)}, got {unknown[0][:50]!r}")
    return names


def axes_said(field: Any) -> str | None:
    """Read the axes of the file, as in ZYX."""
    if field in (None, ""):
        return None
    text = str(field).upper()
    if not (text.isascii() and text.isalpha() and len(text) <= 8):
        raise HTTPException(400, f"axes must be letters as in ZYX, got {str(field)[:50]!r}")
    return text


def pixel_size_said(field: Any) -> PixelSizeUm | None:
    """Read "0.5,0.1,0.1" or a list of z, y, x in micrometres."""
    if field in (None, ""):
        return None
    parts = field.split(",") if isinstance(field, str) else field
    try:
        z, y, x = (float(part) for part in parts)
    except (TypeError, ValueError):
        z = y = x = math.nan
    if not all(math.isfinite(size) and size > 0 for size in (z, y, x)):
        raise HTTPException(
            400, f"pixel_size_um must be three numbers z,y,x > 0, got {str(field)[:50]!r}"
        )
    return z, y, x


def yes_or_no(field: Any, name: str) -> bool:
    """Read true or false, as JSON or as text; none is false."""
    said = {None: False, "": False, "false": False, "true": True, False: False, True: True}
    if not isinstance(field, str | bool | None) or field not in said:
        raise HTTPException(400, f"{name} must be true or false, got {str(field)[:50]!r}")
    return said[field]


async def json_body(request: Request) -> dict[str, Any]:
    """Read a JSON object of moderate size."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _MAX_JSON:
            raise HTTPException(413, f"the JSON is larger than {_MAX_JSON:,} bytes")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "the body is not JSON") from error
    if not isinstance(value, dict):
        raise HTTPException(400, 'the body must be a JSON object, as {"uri": "file:///..."}')
    return value

"""The OpenAPI document: what each route takes and gives."""

from importlib import metadata
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from spixgraph.serve.answers import FORMS, LAYERS, MIME, Form
from spixgraph.serve.jobs.table import STATES
from spixgraph.serve.middleware import json_response

_ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
_WHY = {
    400: "A field is wrong, or the image cannot be read",
    401: "No valid API key",
    403: "The place may not be read",
    404: "There is no such thing",
    408: "Head or body stalled",
    409: "The job has no result yet",
    410: "The result is gone; send the job again",
    413: "The body is too large, or the image needs more memory than there is; says the figures",
    415: "A TIFF that is not taken over HTTP",
    422: "The image does not suit the model",
    429: "Too many requests; Retry-After says when to come again",
    503: "The model is not open yet",
    504: "It took longer than allowed",
}
_JSON = {"application/json": {"schema": {"type": "object"}}}
_IMAGE = {
    "type": "string",
    "format": "binary",
    "description": "PNG, TIFF or OME-TIFF; 8 or 16 bit, grey or RGB, 2D or stack",
}
_AXES = {"type": "string", "description": "Axes of the file, as in ZYX, where it does not say"}
_SIZE = {"type": "string", "description": "z,y,x in micrometres, where the file does not say"}
_CLASSES = {"type": "string", "description": "Class ids to outline in GeoJSON, as in 1,2"}
_JOB_ID = {"name": "job_id", "in": "path", "required": True, "schema": {"type": "string"}}


async def openapi_json(request: Request) -> Response:
    """Answer with the document."""
    return json_response(openapi(with_keys=_has_keys(request)))


def openapi(*, with_keys: bool) -> dict[str, Any]:
    """Return the document; `with_keys` says that API keys are asked for."""
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "spixgraph", "version": metadata.version("spixgraph")},
        "paths": _segment_paths() | _job_paths() | _other_paths(),
        "components": {"schemas": {"Error": _ERROR, "Job": _job_schema()}},
    }
    if with_keys:
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"key": []}]
    return document


def _has_keys(request: Request) -> bool:
    running = request.app.state.running
    return running is not None and running.keys is not None


def _segment_paths() -> dict[str, Any]:
    fields = {
        "image": _IMAGE,
        "format": {"enum": [*FORMS, "tif"], "description": "Of the answer; else as the image"},
        "axes": _AXES,
        "pixel_size_um": _SIZE,
        "classes": _CLASSES,
        "extras": {
            "type": "string",
            "description": "probabilities,uncertainty,outlines: in zip; outlines in json, too",
        },
    }
    return {
        "/segment": {
            "post": {
                "summary": "Segment one image",
                "requestBody": _form(fields),
                "responses": {
                    "200": {
                        "description": "The mask; the header X-Class-Areas has areas as JSON",
                        "content": _masks(*FORMS),
                    },
                    **_refusals(400, 401, 408, 413, 415, 422, 429, 503, 504),
                },
            }
        },
        "/model": _get("What is served: name, version, hash, classes", 401, 503, content=_JSON),
    }


def _job_paths() -> dict[str, Any]:
    by_json = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "uri": {"type": "string", "description": "Of a file or OME-Zarr below a root"},
            "sample": {"type": "string", "description": "A name of GET /samples"},
            "axes": _AXES,
            "pixel_size_um": {"type": "array", "items": {"type": "number"}, "minItems": 3},
            "probabilities": {"type": "boolean"},
        },
    }
    fields = {"image": _IMAGE, "axes": _AXES, "pixel_size_um": _SIZE}
    body = _form({**fields, "probabilities": {"enum": ["true", "false"]}})
    body["content"]["application/json"] = {"schema": by_json}
    job = {"application/json": {"schema": {"$ref": "#/components/schemas/Job"}}}
    schema = {"type": "array", "items": {"$ref": "#/components/schemas/Job"}}
    jobs = {"application/json": {"schema": _object(jobs=schema)}}
    samples = {"type": "array", "items": {"type": "string"}}
    one = {"parameters": [_JOB_ID]}
    asked = [
        {"name": "format", "in": "query", "schema": {"enum": ["png", "tiff", "json", "geojson"]}},
        {"name": "classes", "in": "query", "schema": _CLASSES},
        {"name": "layer", "in": "query", "schema": {"enum": list(LAYERS)}},
    ]
    tile = [
        {"name": name, "in": "path", "required": True, "schema": {"type": kind}}
        for name, kind in (
            ("layer", "string"), ("level", "integer"), ("z", "integer"), ("y", "integer"),
            ("x", "integer"),
        )
    ]  # fmt: skip
    return {
        "/jobs": {
            "post": {
                "summary": "Make a job of a URI, a sample or an upload",
                "requestBody": body,
                "responses": {
                    "202": {
                        "description": "Made; Location says where it is",
                        "content": job,
                        "links": _links("get", "delete", result="get"),
                    },
                    **_refusals(400, 401, 403, 404, 408, 413, 415, 422, 429, 503),
                },
            },
            **_get("All jobs of this key, the newest first", 401, 503, content=jobs),
        },
        "/jobs/{job_id}": one
        | _get("State and progress", 401, 404, 503, content=job)
        | {
            "delete": {
                "summary": "Cancel a job that waits or runs; forget one that has ended",
                "responses": {
                    "200": {"description": "Canceled", "content": job},
                    "202": {"description": "Its worker is being stopped", "content": job},
                    "204": {"description": "Forgotten"},
                    **_refusals(401, 404, 503),
                },
            }
        },
        "/jobs/{job_id}/result": {"parameters": [_JOB_ID, *asked]}
        | _get(
            "The mask, or with layer another layer as TIFF",
            400,
            401,
            404,
            409,
            410,
            413,
            422,
            503,
            content=_masks("png", "tiff", "json", "geojson"),
        ),
        "/jobs/{job_id}/tiles/{layer}/{level}/{z}/{y}/{x}": {"parameters": [_JOB_ID, *tile]}
        | _get(
            "A PNG tile of 512 px; layers are image and data",
            401,
            404,
            409,
            410,
            503,
            content=_masks("png"),
        ),
        "/samples": _get(
            "Names of images to try",
            401,
            503,
            content={"application/json": {"schema": _object(samples=samples)}},
        ),
    }


def _other_paths() -> dict[str, Any]:
    healthy = _get("Whether the process lives", content=_JSON)
    ready = _get("Whether the model is open", 503, content=_JSON)
    for open_to_all in (healthy, ready):
        open_to_all["get"]["security"] = []
    return {
        "/healthz": healthy,
        "/readyz": ready,
        "/metrics": _get("Figures for Prometheus", 401, content={"text/plain": {}}),
    }


def _masks(*forms: Form) -> dict[str, Any]:
    """Describe the contents of a mask in each form."""
    file, value = {"type": "string", "format": "binary"}, {"type": "object"}
    return {MIME[f]: {"schema": value if f in ("json", "geojson") else file} for f in forms}


def _links(*methods: str, **below: str) -> dict[str, Any]:
    """Say that the id of a job is what the other routes ask for."""
    routes = [(method, "") for method in methods] + [(m, f"~1{name}") for name, m in below.items()]
    return {
        f"{method}{end.replace('~1', '_')}": {
            "operationRef": f"#/paths/~1jobs~1{{job_id}}{end}/{method}",
            "parameters": {"job_id": "$response.body#/id"},
        }
        for method, end in routes
    }


def _form(fields: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "required": ["image"], "properties": fields}
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}


def _object(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "required": sorted(fields), "properties": fields}


def _get(summary: str, *refusals: int, content: dict[str, Any]) -> dict[str, Any]:
    found = {"description": summary, "content": content}
    return {"get": {"summary": summary, "responses": {"200": found, **_refusals(*refusals)}}}


def _refusals(*statuses: int) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {str(s): {"description": _WHY[s], "content": content} for s in statuses}


def _job_schema() -> dict[str, Any]:
    number, text = {"type": ["number", "null"]}, {"type": ["string", "null"]}
    return {
        "type": "object",
        "required": ["id", "name", "state", "progress"],
        "properties": {
            "id": {"type": "string"},
            "name": {"type": "string"},
            "state": {"enum": [*STATES, "canceling"]},
            "step": text,
            "progress": {"type": "number", "minimum": 0, "maximum": 1},
            "error": text,
            "created": number,
            "started": number,
            "finished": number,
            "result": {"type": ["object", "null"]},
        },
    }

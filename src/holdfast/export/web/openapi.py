"""The API's description, OpenAPI 3.1: made from the very structs that requests are read by."""

from typing import Any

import msgspec

from holdfast import __version__
from holdfast.export.web.commands import BODIES, Check

_PROBLEMS = "#/components/schemas/Problems"
_PLACES = {"line": {"type": "integer"}, "column": {"type": "integer"}}
_PROBLEM_WORDS = ("file", "grade", "what", "cure", "meanwhile")
_PROBLEM_LIST = {
    "type": "array",
    "items": {"type": "object", "required": [*_PROBLEM_WORDS, *_PLACES],
              "properties": {**{word: {"type": "string"} for word in _PROBLEM_WORDS}, **_PLACES}},
}  # fmt: skip
_CHECKED = {
    "type": "object",
    "required": ["file", "verdict", "problems", "would_run"],
    "properties": {"file": {"type": "string"}, "verdict": {"enum": ["ok", "runs", "refused"]},
                   "problems": {"$ref": _PROBLEMS}, "would_run": {"type": "object"}},
}  # fmt: skip
_FAILURE = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string"}, "cure": {"type": "string"}, "problems": {"$ref": _PROBLEMS}},
}
_OBJECT = {"type": "object"}
_ROWS = {"type": "array", "items": {"type": "object", "required": ["time", "kind", "name", "what"]}}
_LIMIT = {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 2000}}
_INSTANCE = {"name": "instance", "in": "query", "schema": {"type": "string", "minLength": 1, "maxLength": 200}}
_NAME = {**_INSTANCE, "name": "name", "required": True}
_SERVER = {**_INSTANCE, "name": "server"}

REFUSALS = {
    "400": "Not what is described here.",
    "401": "No token, or a wrong one.",
    "403": "No token file is configured.",
    "409": "The daemon refuses; the reason.",
    "413": "Longer than 64 KiB; a configuration longer than 16 MiB.",
    "415": "No application/json.",
    "422": "The configuration can't be used: `problems` as `holdfast check --json` has them.",
    "429": "Too many wrong tokens.",
    "503": "The daemon does not answer, or the token file cannot be used.",
}


def _answer(words: str, schema: object) -> dict[str, Any]:
    return {"description": words, "content": {"application/json": {"schema": schema}}}


def _failed(*codes: str) -> dict[str, Any]:
    return {code: _answer(REFUSALS[code], {"$ref": "#/components/schemas/Failure"}) for code in codes}


def _get(words: str, schema: object, *parameters: object, failures: tuple[str, ...] = ("503",)) -> dict[str, Any]:
    found = {"summary": words, "responses": {"200": _answer("So it is.", schema), **_failed(*failures)}}
    return {"get": {**found, "parameters": list(parameters)} if parameters else found}


def _post(body: type[msgspec.Struct], done: dict[str, Any]) -> dict[str, Any]:
    reference = {"$ref": f"#/components/schemas/{body.__name__}"}
    return {
        "post": {
            "summary": (body.__doc__ or "").strip(),
            "security": [{"token": []}],
            "requestBody": {"required": True, "content": {"application/json": {"schema": reference}}},
            "responses": {"200": done, **_failed(*REFUSALS)},
        }
    }


def document() -> dict[str, Any]:
    """The whole description."""
    bodies = [*BODIES.values(), Check]
    _, components = msgspec.json.schema_components(bodies, ref_template="#/components/schemas/{name}")
    paths: dict[str, Any] = {
        "/api/status": _get("What `holdfast status --json` prints", _OBJECT),
        "/api/events": _get("What `holdfast events --json` prints, the youngest last", _ROWS, _LIMIT, _INSTANCE,
                            failures=("400", "503")),
        "/api/adverts": _get("Adverts a second, by instance: [time, counted, expected]", _OBJECT),
        "/api/why": _get("What `holdfast why --json` prints", _OBJECT, _NAME, _SERVER, failures=("400", "503")),
        "/api/who": _get("What `holdfast who --json` prints", _OBJECT, failures=("400", "409", "503")),
        "/api/plan": _get("What `holdfast plan --json` prints, of the daemon's own file", _OBJECT,
                          failures=("400", "409", "422", "503")),
        "/healthz": _get("Whether every loop turns", _OBJECT),
    }  # fmt: skip
    ready = _get("Whether an instance is MASTER: any, or the one named", _OBJECT, _INSTANCE, failures=("400", "503"))
    paths["/readyz"] = ready
    for path in ("/readyz", "/api/why"):
        nobody = _answer("There is none of that name.", {"$ref": "#/components/schemas/Failure"})
        paths[path]["get"]["responses"]["404"] = nobody
    for command, body in BODIES.items():
        paths[f"/api/{command}"] = _post(body, _answer("Done, or begun.", _OBJECT))
    paths["/api/check"] = _post(Check, _answer("Read to its end.", _CHECKED))
    return {
        "openapi": "3.1.0",
        "info": {"title": "holdfast", "version": __version__, "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {
            "schemas": {"Failure": _FAILURE, "Problems": _PROBLEM_LIST, **components},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }

"""What a service takes and gives, as OpenAPI 3.1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from mmkit.serving.schema import Schema
from mmkit.serving.service import Served

_ERROR = {"type": "object", "properties": {"error": {"$ref": "#/components/schemas/Reason"}}, "required": ["error"]}
_COMPONENTS = {
    "Reason": {
        "type": "object",
        "properties": {
            "reason": {"type": "string"},
            "input": {"type": ["string", "null"], "description": "that is to blame, where one is"},
        },
        "required": ["reason"],
    },
    "Error": _ERROR,
    "Explanation": {
        "type": "object",
        "description": "what each input gave: the output with all inputs, less the output with this one missing",
        "properties": {
            "output": {"type": "string", "description": "the class, label or number that is explained"},
            "value": {"type": "number"},
            "without": {"type": "object", "additionalProperties": {"type": "number"}},
            "contributions": {"type": "object", "additionalProperties": {"type": "number"}},
        },
    },
}
_STATUSES = {
    "408": "the body did not arrive in time",
    "413": "the body is too large",
    "415": "the body is neither JSON nor a form",
    "422": "no sample can be answered, or the body cannot be read",
    "503": "no room; Retry-After says when to try again",
    "504": "no answer in time",
}


def document_of(models: Mapping[str, Served]) -> dict[str, Any]:
    """The whole document.

    Args:
        models: in service; the first answers where none is named.
    """
    paths: dict[str, Any] = {}
    for place, (name, one) in enumerate(models.items()):
        operation = _predict(name, one.loaded.schema)
        paths |= {} if place else {"/predict": {"post": operation | {"operationId": "predict"}}}
        paths[f"/models/{quote(name)}/predict"] = {"post": operation | {"operationId": f"predict_by_{name}"}}
    about = {
        "/models": "what each model asks and answers, and which of its inputs can be streamed, in which unit",
        "/healthz": "whether the process is alive",
        "/readyz": "whether it answers requests",
        "/metrics": "counts, for Prometheus",
    }
    paths |= {path: {"get": {"summary": told, "responses": _ok()}} for path, told in about.items()}
    reloaded = _ok() | {"403": _failed("the service has no token"), "409": _failed("a folder holds no sound model")}
    paths["/-/reload"] = {"post": {"summary": "load the folders anew that have changed", "responses": reloaded}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "mmkit", "version": "1", "description": "Answers of trained multimodal models."},
        "paths": paths,
        "components": {
            "schemas": _COMPONENTS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}, {}],
    }


def _predict(name: str, schema: Schema) -> dict[str, Any]:
    answer = schema.answer()
    answer["properties"] = answer["properties"] | {"explanation": {"$ref": "#/components/schemas/Explanation"}}
    answers = {"type": "array", "items": {"anyOf": [answer, {"$ref": "#/components/schemas/Error"}]}}
    found = {
        "type": "object",
        "properties": {"model": {"type": "string"}, "digest": {"type": "string"}, "answers": answers},
    }
    explain = {
        "name": "explain",
        "in": "query",
        "required": False,
        "schema": {"type": "boolean", "default": False},
        "description": "say what each input gave",
    }
    return {
        "summary": f"the answers of {name}: {schema.label}",
        "parameters": [explain] if schema.explains else [],
        "requestBody": schema.request(),
        "responses": {
            "200": {
                "description": "an answer a sample, in order; in the place of one that cannot be read its error",
                "content": {"application/json": {"schema": found}},
            },
            **{status: _failed(told) for status, told in _STATUSES.items()},
        },
    }


def _ok() -> dict[str, Any]:
    return {"200": {"description": "as it says"}}


def _failed(told: str) -> dict[str, Any]:
    return {
        "description": told,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }

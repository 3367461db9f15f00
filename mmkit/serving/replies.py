"""Replies: documents as JSON, and why there is no answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response


def text_of(document: Mapping[str, Any]) -> str:
    """A document as JSON; a lone surrogate, which an answer may hold, becomes a question mark."""
    return json.dumps(document, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace").decode()


def answered(document: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A response of JSON."""
    body = text_of(document).encode()
    kept = {"cache-control": "no-store", **(headers or {})}
    return Response(body, status, kept, "application/json")


def failed(status: int, reason: str, headers: Mapping[str, str] | None = None) -> Response:
    """A response that says why there is no answer."""
    return answered({"error": {"reason": reason}}, status, headers)

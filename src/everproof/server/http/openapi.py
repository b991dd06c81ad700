"""The OpenAPI 3.1 document, from the same declarations that the routes are served by."""

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec

from everproof.server.http.call import FORM, JSON
from everproof.server.http.problem import PROBLEM_JSON, Problem
from everproof.server.http.route import Declaration

_TEMPLATE: Final = "#/components/schemas/{name}"
_ALWAYS: Final = (400, 500, 503)
_SECURITY: Final = {
    "accessToken": {
        "type": "http",
        "scheme": "DPoP",
        "description": "An access token of this server, bound to the caller's key (RFC 9449).",
    },
    "certificate": {
        "type": "mutualTLS",
        "description": "A client certificate that a trust file knows; it also shows the key of a token bound to it.",
    },
}


def document(declarations: Sequence[Declaration], *, title: str, version: str) -> bytes:
    """The document as JSON."""
    types = [kind for one in declarations for kind in (one.body, one.query, *one.answers) if kind is not None]
    unique = list({id(kind): kind for kind in (Problem, *types)}.values())
    schemas, components = msgspec.json.schema_components(unique, ref_template=_TEMPLATE)
    by_type = {id(kind): schema for kind, schema in zip(unique, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for one in declarations:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one, by_type, components)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": title, "version": version},
            "paths": paths,
            "components": {"schemas": components, "securitySchemes": _SECURITY},
        }
    )


def _operation(one: Declaration, by_type: dict[int, Any], components: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _operation_id(one),
        "summary": one.summary,
        "tags": [one.door],
        "responses": _responses(one, by_type),
    }
    if one.description:
        operation["description"] = one.description
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in one.parameters
    ]
    if one.query is not None:
        schema = components[by_type[id(one.query)]["$ref"].rpartition("/")[2]]
        parameters += [
            {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": field}
            for name, field in schema["properties"].items()
        ]
    if parameters:
        operation["parameters"] = parameters
    if one.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {one.body_media: {"schema": by_type[id(one.body)]}},
        }
    if one.needs_proof:
        operation["security"] = [] if one.needs_certificate else [{"accessToken": []}]
        operation["security"].append({"certificate": []})
    return operation


def _responses(one: Declaration, by_type: dict[int, Any]) -> dict[str, Any]:
    success: dict[str, Any] = {"description": HTTPStatus(one.status).phrase}
    if one.answers:
        schemas = [by_type[id(kind)] for kind in one.answers]
        success["content"] = {one.answer_media: {"schema": schemas[0] if len(schemas) == 1 else {"anyOf": schemas}}}
    elif one.answer_media != JSON:
        success["content"] = {one.answer_media: {}}
    problems = {*_ALWAYS, *one.problems}
    if one.body is not None:
        problems |= {413, 415}
    if one.needs_proof:
        problems |= {401, 403}
    content = {PROBLEM_JSON: {"schema": by_type[id(Problem)]}, **({JSON: {}} if one.body_media == FORM else {})}
    return {
        str(one.status): success,
        **{str(code): {"description": HTTPStatus(code).phrase, "content": content} for code in sorted(problems)},
    }


def _operation_id(one: Declaration) -> str:
    words = re.findall(r"[a-z0-9]+", one.path.lower())
    return "_".join([one.method.lower(), *words])

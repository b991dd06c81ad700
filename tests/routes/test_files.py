import json
from typing import Any

import pytest

from everproof.kernel.words import MAIN_SPACE, Ref
from everproof.policy.errors import BundleError
from everproof.policy.schema import schema_of
from everproof.routes import AmbiguousPathError, Match, NoRouteError, RouteMap, load_routes

SCHEMA = b"""
entity Project in [Space] = { name?: String, stars?: Long };
action "project:read" in [read] appliesTo {
  principal: [User, Job, Service, Machine, Device], resource: [Project], context: Facts
};
"""

WIKI = """
origins = ["https://wiki.example", "http://127.0.0.1:8081"]

[[route]]
path = "/"
methods = ["GET", "HEAD"]

[[route]]
path = "/projects/{project}/pages/{page...}"
methods = ["GET"]
action = "project:read"
resource = 'Project::"{project}"'
attributes = { name = "{project}" }

[[route]]
name = "edit"
path = "/projects/{project}/pages/{page}/edit"
methods = ["POST", "PUT"]
"""

API = {
    "openapi": "3.1.0",
    "info": {"title": "Shop", "version": "1"},
    "paths": {
        "/orders": {"get": {"operationId": "listOrders", "tags": ["orders"]}, "post": {"operationId": "placeOrder"}},
        "/orders/{id}": {
            "parameters": [{"$ref": "#/components/parameters/id"}],
            "get": {"operationId": "getOrder"},
            "delete": {},
        },
        "/reports/{kind}": {
            "get": {
                "operationId": "report",
                "parameters": [{"name": "kind", "in": "path", "schema": {"enum": ["daily", "monthly"]}}],
            }
        },
    },
    "components": {"parameters": {"id": {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}}},
}

SHOP = """
origins = ["https://api.example"]
openapi = "shop.json"
base = "/v1"

[operation.getOrder]
action = "project:read"
resource = 'Project::"orders/{id}"'
"""


def loaded(**files: str) -> RouteMap:
    named = {f"routes/{name}.toml": text.encode() for name, text in files.items()}
    named["schema/shop.cedarschema"] = SCHEMA
    named["routes/shop.json"] = json.dumps(API).encode()
    return load_routes(named, schema_of(named))


def asked(routes: RouteMap, method: str, host: str, target: str) -> Match:
    known = routes.service(host)
    assert known is not None
    return known[0].find(method, target, host)


def test_a_route_is_an_action_on_a_resource_from_the_path() -> None:
    match = asked(loaded(wiki=WIKI), "GET", "wiki.example", "/projects/everproof/pages/a/b?x=1")
    assert match.refusal is None
    assert match.action.name == "project:read"
    assert match.resource.ref == Ref("Project", "everproof")
    assert match.resource.attributes == {"name": "everproof"}
    assert match.resource.parents == (MAIN_SPACE,)


def test_a_route_without_a_resource_is_a_route() -> None:
    match = asked(loaded(wiki=WIKI), "POST", "wiki.example", "/projects/x/pages/home/edit")
    assert match.action.name == "api:call"
    assert match.resource.ref == Ref("Route", "wiki/edit")
    assert match.resource.attributes == {
        "service": "wiki",
        "method": "POST",
        "host": "wiki.example",
        "path": "/projects/x/pages/home/edit",
        "operation": "edit",
    }


@pytest.mark.parametrize(
    ("method", "target", "kind"),
    [
        ("POST", "/", NoRouteError),
        ("get", "/", NoRouteError),
        ("GET", "/else", NoRouteError),
        ("PROPFIND", "/", NoRouteError),
        ("DELETE", "/projects/x/pages/home/edit", NoRouteError),
        ("GET", "/projects/x/pages/home/edit", NoRouteError),
        ("GET", "/projects/../", AmbiguousPathError),
    ],
)
def test_what_is_not_in_the_map_is_refused_and_told_apart(method: str, target: str, kind: type) -> None:
    match = asked(loaded(wiki=WIKI), method, "wiki.example", target)
    assert isinstance(match.refusal, kind)
    assert match.is_ambiguous is (kind is AmbiguousPathError)
    assert match.resource.ref == Ref("Route", "wiki/none")


@pytest.mark.parametrize(
    "host",
    ["WIKI.example", "wiki.example.", "wiki.example:443", "wiki.example:80", "evil.example", "", "wiki.example/x"],
)
def test_a_host_is_known_by_one_spelling(host: str) -> None:
    assert loaded(wiki=WIKI).service(host) is None


def test_an_operation_of_a_document_is_a_route() -> None:
    routes = loaded(shop=SHOP)
    match = asked(routes, "GET", "api.example", "/v1/orders")
    assert match.resource.ref == Ref("Route", "shop/listOrders")
    assert match.resource.attributes["tags"] == ["orders"]
    assert asked(routes, "DELETE", "api.example", "/v1/orders/7").resource.ref.id == "shop/DELETE /orders/{id}"
    assert asked(routes, "GET", "api.example", "/v1/orders/7").resource.ref == Ref("Project", "orders/7")


@pytest.mark.parametrize(
    "target",
    ["/orders", "/v1/orders/", "/v1/orders/x", "/v1/orders/-", "/v1/orders/7x", "/v1/orders/07", "/v1/reports/yearly"],
)  # fmt: skip
def test_a_request_that_is_not_in_the_document_is_refused(target: str) -> None:
    assert asked(loaded(shop=SHOP), "GET", "api.example", target).refusal is not None


WRONG = {
    "origins": ('origins = ["wiki.example"]', "no origin"),
    "capitals": ('origins = ["https://Wiki.example"]', "no origin"),
    "a path in an origin": ('origins = ["https://wiki.example/"]', "no origin"),
    "a dot at the end": ('origins = ["https://wiki.example."]', "no origin"),
    "the scheme's own port": ('origins = ["https://wiki.example:443"]', "own port"),
    "twice": ('origins = ["https://wiki.example", "http://wiki.example"]', "already"),
    "nothing": ('origins = ["https://wiki.example"]', "no route"),
}

ROUTE = 'origins = ["https://wiki.example"]\n[[route]]\n'

WRONG_ROUTES = {
    "action": ('path = "/a"\nmethods = ["GET"]\naction = "api:cal"', "did you mean api:call"),
    "kind": ('path = "/a"\nmethods = ["GET"]\naction = "git:push"', "is not done to a Route"),
    "type": ('path = "/a"\nmethods = ["GET"]\nresource = \'Shop::"a"\'', "is not done to a Shop"),
    "resource": ('path = "/a"\nmethods = ["GET"]\nresource = "shop"', "names no entity"),
    "parameter": (
        'path = "/{project}"\nmethods = ["GET"]\naction = "project:read"\nresource = \'Project::"{projekt}"\'',
        "did you mean project",
    ),
    "attribute": ('path = "/a"\nmethods = ["GET"]\nattributes = { hots = "a" }', "did you mean host"),
    "attribute's type": (
        (
            'path = "/{a}"\nmethods = ["GET"]\naction = "project:read"\nresource = \'Project::"{a}"\'\n'
            'attributes = { stars = "{a}" }'
        ),
        "no String",
    ),
    "parents": ('path = "/a"\nmethods = ["GET"]\nin = [\'Group::"a"\']', "may be in"),
    "method": ('path = "/a"\nmethods = ["get"]', "no method"),
    "trace": ('path = "/a"\nmethods = ["TRACE"]', "no method"),
    "path": ('path = "/a/../b"\nmethods = ["GET"]', "dots alone"),
    "joined": (
        'path = "/{a}/{b}"\nmethods = ["GET"]\naction = "project:read"\nresource = \'Project::"{a}-{b}"\'',
        "where one parameter ends",
    ),
    "the reserved name": ('path = "/a"\nmethods = ["GET"]\nname = "none"', "fits no route"),
    "twice": ('path = "/a"\nmethods = ["GET"]\n[[route]]\npath = "/a"\nmethods = ["GET"]', "there twice"),
    "the same path": ('path = "/{a}"\nmethods = ["GET"]\n[[route]]\npath = "/{b}"\nmethods = ["GET"]', "same path"),
    "one name for two": (
        'path = "/a"\nname = "x"\nmethods = ["GET"]\n[[route]]\npath = "/b"\nname = "x"\nmethods = ["GET"]',
        "both called",
    ),
    "unknown field": ('path = "/a"\nmethods = ["GET"]\nactoin = "x"', "actoin"),
    "no document": ('path = "/a"\nmethods = ["GET"]\n[operation.x]\naction = "api:call"', "OpenAPI document"),
}


@pytest.mark.parametrize(
    ("text", "said"), [*WRONG.values(), *((ROUTE + text, said) for text, said in WRONG_ROUTES.values())]
)
def test_what_is_wrong_is_named_with_its_place(text: str, said: str) -> None:
    with pytest.raises(BundleError) as caught:
        loaded(wiki=text)
    assert any(said in error.message for error in (caught.value, *caught.value.further)), caught.value
    assert str(caught.value.place).startswith("routes/wiki.toml:")


WRONG_DOCUMENTS: dict[str, tuple[Any, str]] = {
    "version": ({"openapi": "2.0", "paths": {}}, "version"),
    "no paths": ({"openapi": "3.0.3"}, "no paths"),
    "a reference": ({"openapi": "3.0.3", "paths": {"/a": {"$ref": "#/x"}}}, "stand here"),
    "part of a segment": ({"openapi": "3.0.3", "paths": {"/a/{b}.json": {"get": {}}}}, "whole segment"),
    "one id twice": (
        {"openapi": "3.0.3", "paths": {"/a": {"get": {"operationId": "x"}}, "/b": {"get": {"operationId": "x"}}}},
        "both called",
    ),
    "a dangling parameter": (
        {"openapi": "3.0.3", "paths": {"/a": {"get": {"parameters": [{"$ref": "#/components/parameters/no"}]}}}},
        "cannot be read",
    ),
    "a list": ([], "not an OpenAPI"),
}


@pytest.mark.parametrize("case", WRONG_DOCUMENTS)
def test_what_is_wrong_with_a_document_is_named(case: str) -> None:
    document, said = WRONG_DOCUMENTS[case]
    files = {"routes/a.toml": b'origins = ["https://a.example"]\nopenapi = "a.json"'}
    files["routes/a.json"] = json.dumps(document).encode()
    with pytest.raises(BundleError) as caught:
        load_routes(files, schema_of(files))
    assert said in caught.value.message
    assert str(caught.value.place).startswith("routes/a.")


@pytest.mark.parametrize(
    "content", [b"{", b"\xff", b'{"openapi": "3.0.0", "openapi": "3.1.0"}', b"[" * 100_000, b"null"]
)
def test_what_is_no_document_is_refused(content: bytes) -> None:
    files = {"routes/a.toml": b'origins = ["https://a.example"]\nopenapi = "a.json"', "routes/a.json": content}
    with pytest.raises(BundleError):
        load_routes(files, schema_of(files))


def test_one_host_belongs_to_one_service() -> None:
    with pytest.raises(BundleError, match="already"):
        loaded(wiki=WIKI, other=WIKI)

import random
import time

import pytest

from everproof.kernel.errors import InputError
from everproof.routes import AmbiguousRouteError, NoRouteError, read_target
from everproof.routes.tree import Tree, read_template


def tree(*templates: str) -> Tree[str]:
    made: Tree[str] = Tree()
    for text in templates:
        made.add(read_template(text), text)
    return made


def found(made: Tree[str], path: str) -> tuple[str, dict[str, str]]:
    segments = read_target(path).segments
    template, value = made.find(segments)
    return value, template.values(segments)


SHOP = ("/", "/users/me", "/users/{id}", "/users/{id}/orders/{order}", "/files/{path...}", "/a/{x}/c", "/a/b/{y}")


@pytest.mark.parametrize(
    ("path", "template", "values"),
    [
        ("/", "/", {}),
        ("/users/me", "/users/me", {}),
        ("/users/7", "/users/{id}", {"id": "7"}),
        ("/users/7/orders/a%20b", "/users/{id}/orders/{order}", {"id": "7", "order": "a b"}),
        ("/files/x", "/files/{path...}", {"path": "x"}),
        ("/files/x/y/", "/files/{path...}", {"path": "x/y/"}),
        ("/a/x/c", "/a/{x}/c", {"x": "x"}),
        ("/a/b/d", "/a/b/{y}", {"y": "d"}),
    ],
)
def test_the_most_particular_template_counts(path: str, template: str, values: dict[str, str]) -> None:
    assert found(tree(*SHOP), path) == (template, values)


@pytest.mark.parametrize("path", ["/users", "/users/", "/users/7/", "/users/7/orders", "/files", "/b", "/users/7/8/9"])
def test_what_is_in_no_template_is_refused(path: str) -> None:
    with pytest.raises(NoRouteError):
        found(tree(*SHOP), path)


def test_a_path_that_servers_route_differently_is_refused() -> None:
    with pytest.raises(AmbiguousRouteError):
        found(tree(*SHOP), "/a/b/c")


@pytest.mark.parametrize("path", ["/users/ME", "/users/Me", "/users/me.", "/users/me%20", "/users/me%20."])
def test_a_lax_server_would_take_it_for_another_route(path: str) -> None:
    with pytest.raises(AmbiguousRouteError):
        found(tree(*SHOP), path)


@pytest.mark.parametrize("path", ["/admin/", "/ADMIN", "/Admin/", "/admin./"])
def test_a_route_for_all_the_rest_does_not_stand_for_a_stricter_one(path: str) -> None:
    with pytest.raises(AmbiguousRouteError):
        found(tree("/admin", "/{any...}"), path)


def test_paths_that_the_map_itself_tells_apart_are_told_apart() -> None:
    made = tree("/docs", "/docs/", "/Docs", "/{any...}")
    assert [found(made, path)[0] for path in ("/docs", "/docs/", "/Docs", "/else")] == [
        "/docs",
        "/docs/",
        "/Docs",
        "/{any...}",
    ]


@pytest.mark.parametrize(
    "template",
    [
        "", "a", "/{a}/{a}", "/x{a}", "/{a}.json", "/{a...}/b", "/a/../b", "/a//b", "/a%2fb", "/{}", "/{a b}", "/a;b",
        "/a?b", "/" + "a" * 2000,
    ],
)  # fmt: skip
def test_a_template_that_no_request_could_have_is_refused(template: str) -> None:
    with pytest.raises(InputError):
        read_template(template)


def test_the_same_path_twice_is_refused() -> None:
    with pytest.raises(InputError):
        tree("/users/{id}", "/users/{name}")


def test_a_path_among_many_templates_is_found_in_time_linear_in_its_length() -> None:
    random.seed(4)
    made: Tree[str] = Tree()
    texts = {"/" + "/".join(random.choice(["a", "b", "{p}"]) for _ in range(9)) for _ in range(3000)}
    for text in sorted({text.replace("{p}", "{%s}") for text in texts}):
        names = tuple(f"p{at}" for at in range(text.count("%s")))
        made.add(read_template(text % names), text)
    started = time.perf_counter()
    for _ in range(50):
        try:
            found(made, "/" + "/".join("ab"[at % 2] for at in range(60)))
        except (NoRouteError, AmbiguousRouteError):
            continue
    assert time.perf_counter() - started < 2

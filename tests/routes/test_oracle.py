"""The tree against the plainest reading of templates: each as a pattern, and all compared with all."""

import re

from hypothesis import assume, given
from hypothesis import strategies as st

from everproof.kernel.errors import InputError
from everproof.routes import AmbiguousRouteError, NoRouteError, read_target
from everproof.routes.tree import Template, Tree, read_template

PARTS = st.sampled_from(["a", "b", "A", "{p}", "{p...}"])
TEMPLATES = st.lists(st.lists(PARTS, min_size=1, max_size=4), min_size=1, max_size=8)
PATHS = st.lists(st.sampled_from(["a", "b", "c", "A", "a.", ""]), min_size=1, max_size=5)


def named(parts: list[str]) -> str:
    return "/" + "/".join(
        part.replace("p", f"p{at}") if part.startswith("{") else part for at, part in enumerate(parts)
    )


def fits(template: Template, path: str, *, lax: bool = False) -> bool:
    """Whether a server that compiles templates to patterns has this path on this template."""
    pattern = ""
    for part in template.parts:
        if part.rest:
            pattern += "(?:/.*)?" if lax else "/.*"
        else:
            pattern += "/[^/]+" if part.parameter else "/" + re.escape(part.text)
    if lax:
        path = "/" + "/".join(segment.rstrip(".") for segment in path[1:].removesuffix("/").split("/"))
        return re.fullmatch(pattern, path.rstrip("/") if path != "/" else path, re.IGNORECASE) is not None
    return re.fullmatch(pattern, path) is not None


def kinds(template: Template) -> str:
    return "".join("2" if part.rest else "1" if part.parameter else "0" for part in template.parts)


def beats(one: Template, other: Template) -> bool:
    length = max(len(one.parts), len(other.parts))
    a, b = (kinds(each).ljust(length, kinds(each)[-1]) for each in (one, other))
    return all(x <= y for x, y in zip(a, b, strict=True))


@given(TEMPLATES, PATHS)
def test_a_path_is_what_the_one_template_says_that_beats_all_others(written: list[list[str]], parts: list[str]) -> None:
    tree: Tree[str] = Tree()
    templates = []
    for one in written:
        try:
            template = read_template(named(one))
            tree.add(template, template.text)
        except InputError:
            continue
        templates.append(template)
    path = "/" + "/".join(parts)
    assume("//" not in path)
    segments = read_target(path).segments
    fitting = [template for template in templates if fits(template, path)]
    winners = [one for one in fitting if all(beats(one, other) for other in fitting)]
    try:
        found, _ = tree.find(segments)
    except NoRouteError:
        assert not fitting
        return
    except AmbiguousRouteError:
        lax = [template for template in templates if fits(template, path, lax=True)]
        assert not winners or len(lax) > 1
        return
    assert [found] == winners

import re
from fnmatch import translate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everproof.identity.conditions import Pattern, condition
from everproof.identity.jose import JoseError
from everproof.identity.templates import template
from everproof.kernel.errors import InputError

VALUES = st.text(alphabet="ab/%:@{}*é", min_size=1, max_size=6)


@given(st.text(alphabet="ab*?[].\\+^$|()", min_size=1, max_size=8), st.text(alphabet="ab*?[].\\+^$|()/\n", max_size=8))
def test_nothing_but_a_star_is_special_in_a_pattern(glob: str, text: str) -> None:
    try:
        wanted = condition(Pattern(glob=glob), place="x")
    except InputError:
        return
    escaped = re.sub(r"[?\[\]]", lambda match: f"[{match[0]}]", glob).replace("[]]", "]")
    oracle = re.fullmatch(translate(escaped), text) is not None
    crosses = "**" not in glob and "/" in text
    assert wanted.fits(text) == (oracle and not crosses)


def test_one_star_stays_within_a_segment_and_two_do_not() -> None:
    one, two = (condition(Pattern(glob=glob), place="x") for glob in ("refs/heads/*", "refs/heads/**"))
    assert one.fits("refs/heads/a")
    assert not one.fits("refs/heads/a/b")
    assert two.fits("refs/heads/a/b")
    assert not two.fits("refs/tags/a")


def test_a_missing_claim_fits_nothing_but_its_absence() -> None:
    assert not condition("x", place="x").fits(None)
    assert not condition(Pattern(glob="x**"), place="x").fits(None)
    assert condition(Pattern(absent=True), place="x").fits(None)
    assert not condition(Pattern(absent=True), place="x").fits("")


@pytest.mark.parametrize("claim", [1.0, {}, {"x": 1}, [["x"]], [{}], [], b"x"])
def test_a_claim_that_is_no_plain_value_fits_nothing(claim: object) -> None:
    assert not condition(("x", "1", "1.0", "{}"), place="x").fits(claim)


def test_a_list_fits_by_any_member() -> None:
    wanted = condition(("admins", "ops"), place="x")
    assert wanted.fits(["users", "ops"])
    assert not wanted.fits(["users"])


@given(st.lists(VALUES, min_size=3, max_size=3), st.lists(VALUES, min_size=3, max_size=3))
def test_two_tokens_never_fill_a_template_with_the_same_name(one: list[str], other: list[str]) -> None:
    filled = [
        template("x/{a}:{b}@{c}", place="x").fill(dict(zip("abc", values, strict=True))) for values in (one, other)
    ]
    assert (filled[0] == filled[1]) == (one == other)


@given(st.lists(VALUES, min_size=2, max_size=2), st.lists(VALUES, min_size=2, max_size=2))
def test_a_template_that_ends_in_text_tells_tokens_apart_too(one: list[str], other: list[str]) -> None:
    filled = [template("{a}/{b}/end", place="x").fill(dict(zip("ab", values, strict=True))) for values in (one, other)]
    assert (filled[0] == filled[1]) == (one == other)


@pytest.mark.parametrize("value", [None, "", {}, [], 1.5, "a\nb", "a\0", "x" * 600])
def test_a_name_is_not_made_of_what_is_no_name(value: object) -> None:
    with pytest.raises(JoseError):
        template("x/{a}", place="x").fill({"a": value})

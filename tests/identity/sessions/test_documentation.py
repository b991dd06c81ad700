"""docs/sessions.md says what the code does."""

import re
import tomllib
from pathlib import Path

import msgspec

from everproof.identity.sessions import Limits, SessionFacts
from everproof.policy import load_bundle

PAGE = (Path(__file__).parents[3] / "docs" / "sessions.md").read_text()


def test_every_fact_of_a_session_is_on_the_page_and_in_the_schema() -> None:
    schema = load_bundle({"policies/one.cedar": b'@id("one") permit(principal, action, resource);'}).schema
    for name in SessionFacts.says:
        assert f"`{name}`" in PAGE, name
        assert name in schema.facts, name


def test_the_limits_of_the_page_are_read_and_stricter_than_the_defaults() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    given = msgspec.convert(tomllib.loads(example)["sessions"], Limits, strict=True)
    for field in Limits.__struct_fields__:
        assert getattr(given, field) < getattr(Limits(), field)


def test_the_policy_of_the_page_is_one() -> None:
    (example,) = re.findall(r"```cedar\n(.*?)```", PAGE, re.DOTALL)
    assert load_bundle({"policies/page.cedar": f'@id("page")\n{example}'.encode()}).policies

"""What docs/factors.md shows is what holds."""

import re
from pathlib import Path

from everproof.identity.factors import Rules, rules_of
from everproof.policy import load_bundle
from everproof.policy.starter import starter_files

PAGE = (Path(__file__).parents[2] / "docs" / "factors.md").read_text()


def _blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)


def test_the_rules_of_the_page_are_the_defaults() -> None:
    (text,) = _blocks("toml")
    assert rules_of({"factors.toml": text.encode()}) == Rules()


def test_the_policy_of_the_page_is_one() -> None:
    (text,) = _blocks("cedar")
    bundle = load_bundle({**starter_files(), "policies/page.cedar": text.encode()})
    assert bundle.policy("deploy/with-a-passkey") is not None

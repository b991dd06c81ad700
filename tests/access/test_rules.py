import pytest

from everproof.access.rules import access_rules
from everproof.kernel.errors import InputError
from everproof.kernel.words import MAIN_SPACE, Principal, Ref
from tests.access.house import files, read_once

RULE = "[[rule]]\nactions = ['deployment:*']\nresources = ['Environment::\"prod-*\"']\n"
DEV = Principal(ref=Ref("User", "dev"), parents=(Ref("Group", "developers"), MAIN_SPACE))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("nonsense", "access.toml"),
        ("[[rule]]\nactions = ['deployment:start']\n", "access.toml: rule"),
        (RULE + "peple = 2\n", "access.toml: rule[0]"),
        (RULE + "people = 0\n", "rule[0].people"),
        (RULE + "longest = 'forever'\n", "rule[0].longest"),
        (RULE + "longest = '30d'\n", "rule[0].longest"),
        (RULE + "owners = ['Service::\"x\"']\n", "rule[0].owners"),
        (RULE + "requesters = ['A B']\n", "rule[0].requesters"),
        (RULE.replace("deployment:*", "deploy:all"), "rule[0].actions"),
        (RULE.replace("Environment", "Enviroment"), "rule[0].resources"),
        ("on_call = ['User::\"oli\"']", "on_call"),
        (RULE + "notify = ['ops']\n", "rule[0].notify"),
    ],
)
def test_bad_rules_are_refused_with_their_place(text: str, place: str) -> None:
    with pytest.raises(InputError) as caught:
        access_rules(read_once(files(text)))
    assert place in str(caught.value)


def test_first_rule_that_fits_counts() -> None:
    rules = access_rules(read_once(files(RULE + "people = 3\n" + RULE.replace("prod-*", "*"))))
    found = rules.rule(DEV, "deployment:start", Ref("Environment", "prod-eu"))
    assert found is not None
    assert found.people == 3
    other = rules.rule(DEV, "deployment:start", Ref("Environment", "staging"))
    assert other is not None
    assert other.people == 1
    assert rules.rule(DEV, "host:login", Ref("Environment", "staging")) is None
    assert rules.rule(DEV, "deployment:start", Ref("Host", "prod-eu")) is None


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("prod-*", "prod-", True),
        ("*-eu", "prod-eu", True),
        ("a*a", "a", False),
        ("a*b*c", "a-b-c", True),
        ("a*b*c", "acb", False),
        ("[ab]", "a", False),
        ("[ab]", "[ab]", True),
        ("p?od", "prod", False),
        ("*" * 50, "x" * 200, True),
    ],
)
def test_star_stands_for_anything_and_nothing_else_does(pattern: str, name: str, fits: bool) -> None:
    rules = access_rules(read_once(files(RULE.replace("prod-*", pattern))))
    assert (rules.rule(DEV, "deployment:start", Ref("Environment", name)) is not None) == fits


def test_without_the_file_one_administrator_approves_for_four_hours() -> None:
    bundle = {path: text for path, text in files().items() if path != "access.toml"}
    found = access_rules(read_once(bundle)).rule(DEV, "deployment:start", Ref("Environment", "production"))
    assert found is not None
    assert (found.people, found.longest.total_seconds()) == (1, 4 * 3600)

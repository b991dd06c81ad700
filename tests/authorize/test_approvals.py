import pytest

from everproof.authorize.doors import approvals_of, doors_of
from everproof.kernel.errors import InputError
from everproof.work import Rule


def test_bundle_says_how_many_people_approve_which_verb() -> None:
    files = {"everproof.toml": b'[doors]\ngit = "observe"\n[approvals]\n"token.revoke" = { people = 2, above = 10 }\n'}
    assert approvals_of(files) == {"token.revoke": Rule(people=2, above=10)}
    assert doors_of(files) == {"git": "observe"}
    assert approvals_of({}) == {}


@pytest.mark.parametrize("said", ["{ people = 0 }", "{ people = 99 }", "{ above = 1 }", "{ people = 1, n = 1 }", "2"])
def test_rule_that_makes_no_sense_is_refused_with_its_place(said: str) -> None:
    with pytest.raises(InputError, match=r"everproof\.toml"):
        approvals_of({"everproof.toml": f'[approvals]\n"token.revoke" = {said}\n'.encode()})

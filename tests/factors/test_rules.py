"""What ``factors.toml`` may say, and where it says what it may not."""

import pytest

from everproof.identity.factors import Rules, rules_of
from everproof.kernel.errors import InputError
from tests.fakes.authenticator import Maker

AAGUID = "2fc0579f-8113-47ea-b116-bb5a8db9202a"


def test_nothing_said_is_a_rule_too() -> None:
    assert rules_of({}) == Rules()
    assert rules_of({}).passkeys.synced
    assert rules_of({}).recovery.people == 2


def test_what_is_said() -> None:
    text = f'''
    [passkeys]
    user_verification = "required"
    synced = false
    roots = ["""{Maker().pem}"""]
    aaguids = ["{AAGUID}"]
    [totp]
    accepted = false
    [recovery]
    wait_hours = 96
    people = 3
    '''
    rules = rules_of({"factors.toml": text.encode()})
    assert rules.passkeys.aaguids == (AAGUID,)
    assert not rules.totp.accepted
    assert (rules.recovery.wait_hours, rules.recovery.people) == (96, 3)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[passkeys]\nsynched = false", "factors.toml: passkeys"),
        ('[passkeys]\nuser_verification = "discouraged"', "factors.toml: passkeys.user_verification"),
        ('[passkeys]\nroots = ["nothing"]', "factors.toml: passkeys.roots[0]"),
        (f'[passkeys]\naaguids = ["{AAGUID}"]', "factors.toml: passkeys.aaguids"),
        ('[passkeys]\naaguids = ["yubikey"]', "factors.toml: passkeys.aaguids[0]"),
        ("[recovery]\nwait_hours = 0", "factors.toml: recovery.wait_hours"),
        ("[recovery]\npeople = 1", "factors.toml: recovery.people"),
        ("[passkeys", "factors.toml"),
        ("[sms]\naccepted = true", "factors.toml"),
    ],
)
def test_what_cannot_be_said(text: str, place: str) -> None:
    with pytest.raises(InputError) as refused:
        rules_of({"factors.toml": text.encode()})
    assert refused.value.place == place


def test_a_leaf_or_a_chain_is_no_root() -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    maker = Maker()
    leaf = x509.load_der_x509_certificate(maker.certify()[1][0]).public_bytes(Encoding.PEM).decode()
    for pem in (leaf, maker.pem + leaf):
        with pytest.raises(InputError, match="authority"):
            rules_of({"factors.toml": f'[passkeys]\nroots = ["""{pem}"""]'.encode()})


def test_not_text() -> None:
    with pytest.raises(InputError, match="UTF-8"):
        rules_of({"factors.toml": b"\xff"})

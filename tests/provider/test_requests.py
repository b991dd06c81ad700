"""Requests as nobody should send them: an error in the protocol's own form, and never an address of somebody else."""

from urllib.parse import parse_qsl, urlsplit

from hypothesis import given, settings
from hypothesis import strategies as st

from everproof.identity.provider import clients_of
from everproof.identity.provider.clients import Clients
from everproof.identity.provider.errors import AuthorizationError, UnknownClientError
from everproof.identity.provider.redirects import with_query
from everproof.identity.provider.requests import address, read_request, single
from everproof.identity.provider.resuming import Resuming
from tests.conftest import SettableClock
from tests.provider.site import CALLBACKS, asks

CLIENTS = Clients()
CLIENTS.follow(
    clients_of(
        {
            "clients.toml": f"""
[clients.grafana]
redirect_uris = ["{CALLBACKS["grafana"]}"]
authentication = "none"
""".encode()
        }
    )
)

names = st.sampled_from([*asks(), "request", "request_uri", "response_mode", "prompt", "max_age", "dpop_jkt", "x"])
values = st.one_of(
    st.text(max_size=40),
    st.sampled_from([*asks().values(), "S256", "plain", "none", "everproof-cli", "http://127.0.0.1:1/callback"]),
)


@given(st.lists(st.tuples(names, values), max_size=14))
@settings(max_examples=150, deadline=None)
def test_whatever_is_sent_is_answered_at_an_address_of_the_client_or_nowhere(pairs: list[tuple[str, str]]) -> None:
    fields, doubled = single([*asks().items(), *pairs])
    try:
        to = address(CLIENTS, fields, doubled)
    except UnknownClientError:
        return
    location = with_query(to.redirect_uri, error="x", state=to.state)
    assert urlsplit(location).hostname in {"grafana.example", "127.0.0.1"}
    assert location.startswith(to.redirect_uri)
    assert location.isprintable()
    try:
        request = read_request(to, fields, doubled)
    except AuthorizationError:
        return
    # What comes back to us after a sign-in is the same request.
    again, none = single(parse_qsl(request.query(), keep_blank_values=True))
    assert read_request(address(CLIENTS, again), again, none) == request


@given(st.text(max_size=60), st.text(max_size=60))
@settings(max_examples=80, deadline=None)
def test_nobody_makes_up_when_a_request_was_seen(query: str, mark: str) -> None:
    resuming = Resuming(SettableClock(), b"k" * 32)
    assert resuming.seen(query, mark) is None
    made = resuming.mark("a=b").rpartition("=")[2]
    assert resuming.seen("a=b", made) is not None
    assert resuming.seen("a=b" + query + "c", made) is None
    assert resuming.seen("a=b", f"1{made}") is None

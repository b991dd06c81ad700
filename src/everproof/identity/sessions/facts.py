"""What a session says about a request that is made in it: how old it is, and which factors its person has shown."""

from collections.abc import Iterable
from datetime import datetime

from everproof.identity.sessions.sessions import Sessions
from everproof.kernel.words import Action, Fact, Proof, Resource


class SessionFacts:
    """A source of facts. It says nothing of whoever asks without a session."""

    name = "session"
    says = frozenset({
        "session_kind", "session_age", "provider", "auth_age", "acr", "amr", "factors_shown", "mfa_age", "mfa_method",
        "mfa_user_verified",
    })  # fmt: skip

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def facts(self, proof: Proof, _action: Action, _resource: Resource, at: datetime) -> Iterable[Fact]:
        """What the session of ``proof`` says; what is not known of it is absent."""
        id_ = proof.claims.get("session")
        if id_ is None or (session := self._sessions.find(id_)) is None or session.principal != proof.principal.ref:
            return ()
        source = self.name
        facts = [
            Fact("session_kind", session.kind, session.created, source),
            Fact("session_age", _age(session.created, at), at, source),
            Fact("provider", session.provider, session.created, source),
            Fact("auth_age", _age(session.authenticated, at), at, source),
        ]
        if session.acr:
            facts.append(Fact("acr", session.acr, session.created, source))
        if session.amr:
            facts.append(Fact("amr", list(session.amr), session.created, source))
        if session.factors:
            facts.append(Fact("factors_shown", sorted(session.factors), at, source))
        method = session.second_factor
        if method is not None:
            shown = session.factors[method]
            facts.append(Fact("mfa_age", _age(shown, at), at, source))
            facts.append(Fact("mfa_method", method, shown, source))
            if "user_verified" in (strength := session.strength.get(method, {})):
                facts.append(Fact("mfa_user_verified", strength["user_verified"] is True, shown, source))
        return facts


def _age(since: datetime, at: datetime) -> int:
    return max(0, int((at - since).total_seconds()))

"""All doors of one server as one application."""

from typing import Final

from everproof import __version__
from everproof.app import Everproof
from everproof.identity.vouching import vouched
from everproof.integrations.scim_dialects import scim_dialects
from everproof.server import authzen, handover, oauth, scim, sign_on
from everproof.server.access import AccessDoor
from everproof.server.authzen import AuthZEN
from everproof.server.authzen_candidates import Candidates
from everproof.server.authzen_pages import PageTokens
from everproof.server.authzen_search import SEARCHES, AuthZENSearch
from everproof.server.break_glass import BreakGlassDoor
from everproof.server.browser import Browser
from everproof.server.caller import Callers
from everproof.server.changes import ChangesDoor
from everproof.server.console.console import Console
from everproof.server.contain import ContainDoor
from everproof.server.entrance import Entrance
from everproof.server.factors import FactorsDoor
from everproof.server.gateway import GatewayDoor
from everproof.server.git.door import GitDoor
from everproof.server.git.routes import routes as git_routes
from everproof.server.handover import HandoverDoor
from everproof.server.health import Health
from everproof.server.http import Application, BareRoute, Route
from everproof.server.identity import IdentityDoor
from everproof.server.ledger import LedgerDoor
from everproof.server.memberships import MembershipsDoor
from everproof.server.oauth import OAuth
from everproof.server.people import PeopleDoor
from everproof.server.policy import PolicyDoor
from everproof.server.policy_apply import ApplyDoor
from everproof.server.provider.routes import ProviderDoors
from everproof.server.recoveries import RecoveriesDoor
from everproof.server.repositories import RepositoriesDoor
from everproof.server.runs import RunsDoor
from everproof.server.sessions import SessionsDoor
from everproof.server.sign_on import SignOnDoor
from everproof.server.step_up import StepUpDoor
from everproof.server.tlog import Tlog
from everproof.server.witness import WitnessDoor
from everproof.server.work import WorkDoor

TITLE: Final = "Everproof"


def application(app: Everproof) -> Application:
    """The application of ``app``, for every socket alike."""
    routes, console = _routes(app)
    return Application(
        routes,
        title=TITLE,
        version=__version__,
        pages=console.error,
        forms=[authzen.error_form, oauth.error_form, sign_on.error_form, scim.error_form],
        noted=app.attempts.note,
    )


def _routes(app: Everproof) -> tuple[list[Route | BareRoute], Console]:
    settings, identity, clock = app.settings, app.identity, app.storage.clock
    browser = Browser(
        identity.sessions, clock, issuer=settings.issuer, key=app.signing.derived("everproof/sessions/v1")
    )
    callers = Callers(
        identity.tokens,
        identity.dpop,
        issuer=settings.issuer,
        certificates=identity.certificates,
        proxies=settings.tls.proxies,
        browser=browser,
    )
    health = Health(
        {"ledger": app.ledger.trouble, "storage": app.storage.trouble},
        warnings={"witnesses": app.ledger.warning, "break-glass": app.access.break_glass.warning},
    )
    questions = AuthZEN(
        app.authorizer,
        prove=callers.prove,
        vouch=lambda caller, subject: vouched(identity.directory, caller, subject, clock.now()),
        mode=lambda: app.bundles.mode("authzen"),
        issuer=settings.issuer,
        searches=SEARCHES,
    )
    searches = AuthZENSearch(
        app.authorizer,
        Candidates(
            identity.directory,
            lambda: app.bundles.current,
            issuer=settings.issuer,
            repositories=settings.git.root if settings.git is not None else None,
        ),
        PageTokens.of(app.signing),
        prove=callers.prove,
        vouch=lambda caller, subject: vouched(identity.directory, caller, subject, clock.now()),
    )
    provider = ProviderDoors(app, callers, browser)
    tokens = OAuth(
        authorizer=app.authorizer,
        exchange=identity.exchange,
        tokens=identity.tokens,
        credentials=identity.credentials,
        dpop=identity.dpop,
        signing=app.signing,
        callers=callers,
        issuer=settings.issuer,
        grants=provider.grants,
    )
    stepping_up = StepUpDoor(
        app.authorizer,
        app.factors,
        sessions=identity.sessions,
        directory=identity.directory,
        login=identity.login,
        callers=callers,
        browser=browser,
        clock=clock,
        issuer=settings.issuer,
    )
    policy = PolicyDoor(authorizer=app.authorizer, bundles=app.bundles, identity=identity, callers=callers)
    applying = ApplyDoor(
        authorizer=app.authorizer,
        bundles=app.bundles,
        identity=identity,
        callers=callers,
        clock=clock,
        ledger=app.ledger,
        settings=settings,
    )
    gateway = GatewayDoor(
        app.authorizer,
        identity,
        callers,
        app.signing,
        clock,
        issuer=settings.issuer,
        mode=app.bundles.mode,
        noted=app.attempts.note,
    )
    app.bundles.follow(gateway.follow)
    console = Console(app, callers, browser, step_up=stepping_up, provider=provider)
    routes: list[Route | BareRoute] = [
        *provider.routes(),
        *health.routes(),
        *questions.routes(),
        *searches.routes(),
        *tokens.routes(),
        *IdentityDoor(app.authorizer, identity, callers, app.storage, leave=app.provisioning.lifecycle.leave).routes(),
        *Entrance(app.authorizer, identity, callers, issuer=settings.issuer, state=settings.state).routes(),
        *FactorsDoor(app.authorizer, app.factors, identity.sessions, callers).routes(),
        *RecoveriesDoor(app.authorizer, app.factors, callers).routes(),
        *stepping_up.routes(),
        *HandoverDoor(
            app.authorizer,
            identity,
            callers,
            browser,
            clock,
            issuer=settings.issuer,
            key=app.signing.derived(handover.KEY),
        ).routes(),
        *SignOnDoor(app.authorizer, identity, browser, app.ledger, app.storage, issuer=settings.issuer).routes(),
        *policy.routes(),
        *WorkDoor(app.work, app.authorizer, callers, app.storage).routes(),
        *PeopleDoor(app.provisioning, app.authorizer, identity, callers, clock=clock, bundle=settings.bundle).routes(),
        *scim.ScimDoor(
            authorizer=app.authorizer,
            identity=identity,
            provisioning=app.provisioning,
            callers=callers,
            storage=app.storage,
            signing=app.signing,
            clock=clock,
            issuer=settings.issuer,
            dialects=scim_dialects(),
        ).routes(),
        *ContainDoor(app.containment, app.authorizer, identity.directory, callers, app.storage).routes(),
        *applying.routes(),
        *gateway.routes(),
        *RunsDoor(app.authorizer, app.runs, callers, identity.dpop, issuer=settings.issuer).routes(),
        *RepositoriesDoor(app.authorizer, app.repository_tokens, callers, clock).routes(),
        *AccessDoor(app.access, callers).routes(),
        *BreakGlassDoor(app.access, callers).routes(),
        *ChangesDoor(app.changes, app.authorizer, callers, clock, identity.credentials.is_live).routes(),
        *SessionsDoor(app.authorizer, identity, callers, browser, app.storage).routes(),
        *MembershipsDoor(app.memberships, app.authorizer, callers, app.storage).routes(),
        *LedgerDoor(app.ledger, app.authorizer, callers, witness=app.witness).routes(),
        *Tlog(app.ledger).routes(),
        *console.routes(),
    ]
    if app.witness is not None:
        routes += WitnessDoor(app.witness).routes()
    if settings.git is not None:
        door = GitDoor(
            settings.git,
            storage=app.storage,
            authorizer=app.authorizer,
            identity=identity,
            mode=lambda: app.bundles.mode("git"),
        )
        routes += git_routes(door)
    return routes, console

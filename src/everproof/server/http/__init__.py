"""A thin typed layer over ASGI: routes declared once, strict in, problem+json and OpenAPI out."""

from everproof.server.http.application import Application
from everproof.server.http.call import Call, Reply
from everproof.server.http.route import BareRoute, Route

__all__ = ["Application", "BareRoute", "Call", "Reply", "Route"]

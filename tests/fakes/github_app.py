"""The part of GitHub's REST API that an App uses for its installations, refusing what GitHub refuses.

docs.github.com: "Generating a JSON Web Token (JWT) for a GitHub App", "REST API endpoints for GitHub Apps" (create an
installation access token), "REST API endpoints for GitHub App installations" (list repositories, revoke).
"""

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from tests.fakes.https import Asked, Said

LIFETIME: Final = timedelta(hours=1)
MOST_REPOSITORIES: Final = 500
MOST_SECONDS: Final = 600
_RANK: Final = {"read": 1, "write": 2, "admin": 3}


@dataclass
class Installation:
    """An App on an account: the repositories and the permissions that its owner has granted."""

    repositories: dict[int, str]
    permissions: dict[str, str]
    suspended: bool = False


@dataclass
class Token:
    """What was made."""

    repositories: list[int]
    permissions: dict[str, str]
    expires: datetime


@dataclass
class GitHubApp:
    """One App. ``generous`` and ``wide`` make it answer with more than was asked, ``down`` with nothing good."""

    client_id: str = "Iv23liEverproof"
    app_id: int = 4242
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    installations: dict[int, Installation] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)
    made: int = 0
    asked: list[Asked] = field(default_factory=list)
    down: bool = False
    generous: dict[str, str] = field(default_factory=dict)
    wide: list[int] = field(default_factory=list)
    before_answer: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @property
    def pem(self) -> bytes:
        """The App's private key, as GitHub hands it out."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())

    def answer(self, asked: Asked) -> Said:
        """What GitHub says."""
        if self.down:
            raise Said(502, {"message": "Server Error"})
        if not asked.headers.get("user-agent"):
            raise Said(403, {"message": "Request forbidden by administrative rules."})
        if asked.headers.get("x-github-api-version", "2022-11-28") not in {"2022-11-28", "2026-03-10"}:
            raise Said(400, {"message": "This version of the API is not supported."})
        if match := re.fullmatch(r"/app/installations/(\d+)/access_tokens", asked.path):
            if asked.method != "POST":
                raise Said(404, {"message": "Not Found"})
            return self._create(asked, int(match[1]))
        if (asked.method, asked.path) == ("DELETE", "/installation/token"):
            return self._revoke(asked)
        if (asked.method, asked.path) == ("GET", "/installation/repositories"):
            token = self._token(asked)
            return Said(200, {"total_count": len(token.repositories), "repositories": self._listed(token.repositories)})
        if match := re.fullmatch(r"/repositories/(\d+)/contents/\S+", asked.path):
            return self._contents(asked, int(match[1]))
        raise Said(404, {"message": "Not Found"})

    def _create(self, asked: Asked, id_: int) -> Said:
        self._require_app(asked)
        installation = self.installations.get(id_)
        if installation is None:
            raise Said(404, {"message": "Not Found"})
        if installation.suspended:
            raise Said(403, {"message": "This installation has been suspended"})
        body = asked.body if asked.body is not None else {}
        if not isinstance(body, dict):
            raise Said(400, {"message": "Problems parsing JSON"})
        ids = self._repositories(body, installation)
        permissions = self._permissions(body, installation)
        self.before_answer()
        self.made += 1
        value = f"ghs_{self.app_id}_{secrets.token_urlsafe(48)}"
        token = self.tokens[value] = Token(ids, permissions, self.clock() + LIFETIME)
        answer: dict[str, Any] = {
            "token": value,
            "expires_at": token.expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "permissions": permissions,
            "repository_selection": "selected" if "repository_ids" in body or "repositories" in body else "all",
        }
        if "repository_ids" in body or "repositories" in body:
            answer["repositories"] = self._listed(ids)
        return Said(201, answer)

    def _require_app(self, asked: Asked) -> None:
        """The App's JWT: RS256, ``iss`` the App's, at most ten minutes ahead."""
        scheme, _, token = asked.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Said(401, {"message": "Requires authentication"})
        public = RSAKey.import_key(self.key.public_key())
        try:
            claims = jwt.decode(token, public, algorithms=["RS256"]).claims
        except (JoseError, ValueError) as error:
            raise Said(401, {"message": "A JSON web token could not be decoded"}) from error
        now = int(self.clock().timestamp())
        issued, expires = claims.get("iat"), claims.get("exp")
        if type(issued) is not int or issued > now:
            message = "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
            raise Said(401, {"message": message})
        if type(expires) is not int or expires <= now:
            raise Said(401, {"message": "'Expiration time' claim ('exp') must be a numeric value in the future"})
        if expires > now + MOST_SECONDS:
            raise Said(401, {"message": "'Expiration time' claim ('exp') is too far in the future"})
        if claims.get("iss") not in {self.client_id, str(self.app_id), self.app_id}:
            raise Said(404, {"message": "Integration not found"})

    def _repositories(self, body: dict[str, Any], installation: Installation) -> list[int]:
        if "repository_ids" not in body:
            return list(installation.repositories)
        ids = body["repository_ids"]
        if not isinstance(ids, list) or not all(type(one) is int for one in ids) or len(ids) > MOST_REPOSITORIES:
            raise Said(422, {"message": "Invalid request.\n\nFor 'items', it is not an integer."})
        if not set(ids) <= installation.repositories.keys():
            message = (
                "There is at least one repository that does not exist or is not accessible to the parent installation."
            )
            raise Said(422, {"message": message})
        return [*ids, *self.wide]

    def _permissions(self, body: dict[str, Any], installation: Installation) -> dict[str, str]:
        asked = body.get("permissions") or dict(installation.permissions)
        if not isinstance(asked, dict) or not all(one in _RANK for one in asked.values()):
            raise Said(422, {"message": "Invalid request."})
        for name, level in asked.items():
            if _RANK[level] > _RANK.get(installation.permissions.get(name, ""), 0):
                raise Said(422, {"message": "The permissions requested are not granted to this installation."})
        return {**asked, "metadata": "read", **self.generous}

    def _token(self, asked: Asked) -> Token:
        scheme, _, value = asked.headers.get("authorization", "").partition(" ")
        token = self.tokens.get(value) if scheme.lower() in {"bearer", "token"} else None
        if token is None or token.expires <= self.clock():
            raise Said(401, {"message": "Bad credentials"})
        return token

    def _revoke(self, asked: Asked) -> Said:
        self._token(asked)
        del self.tokens[asked.headers["authorization"].partition(" ")[2]]
        return Said(204)

    def _contents(self, asked: Asked, repository: int) -> Said:
        token = self._token(asked)
        if repository not in token.repositories:
            raise Said(404, {"message": "Not Found"})
        wanted = "read" if asked.method == "GET" else "write"
        if _RANK[wanted] > _RANK.get(token.permissions.get("contents", ""), 0):
            raise Said(403, {"message": "Resource not accessible by integration"})
        return Said(200, {"type": "file"})

    def _listed(self, ids: list[int]) -> list[dict[str, Any]]:
        names = {id_: name for one in self.installations.values() for id_, name in one.repositories.items()}
        return [
            {"id": id_, "full_name": names.get(id_, "?"), "name": names.get(id_, "?").rpartition("/")[2]} for id_ in ids
        ]

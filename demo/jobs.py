"""A pipeline's job as it stands on a runner: a token of its platform, a key of its own, and nothing else."""

import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from everproof.cli.session import dpop_proof, sign_jwt

OK: Final = 200
UNAVAILABLE: Final = 503
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - a name, not a secret
JWT = "urn:ietf:params:oauth:token-type:jwt"


class Answer:
    """What the server said."""

    def __init__(self, asked: str, status: int, body: bytes, nonce: str | None) -> None:
        self.asked = asked
        self.status = status
        self.nonce = nonce
        try:
            self.json: dict[str, Any] = json.loads(body)
        except ValueError:
            self.json = {}

    @property
    def reason(self) -> str:
        """Why not, in one sentence."""
        said = self.json.get("error_description") or self.json.get("detail") or self.json.get("title")
        return str(said or f"status {self.status}")


class Job:
    """A key, and the requests made with it."""

    def __init__(self, server: str, ca: Path) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.token = ""
        self._server = server
        self._tls = ssl.create_default_context(cafile=str(ca))
        self.nonce: str | None = None

    def call(
        self,
        method: str,
        path: str,
        *,
        form: dict[str, str] | None = None,
        body: Any = None,
        token: str = "",
        proof: str | None = None,
    ) -> Answer:
        """One request with a proof of this job's key, made again once if the server wants its nonce in it."""
        content, kind = None, ""
        if form is not None:
            content, kind = urlencode(form).encode(), "application/x-www-form-urlencoded"
        if body is not None:
            content, kind = json.dumps(body).encode(), "application/json"
        request = urllib.request.Request(f"{self._server}{path}", data=content, method=method)  # noqa: S310 - our own server
        if kind:
            request.add_header("content-type", kind)
        if token:
            request.add_header("authorization", f"DPoP {token}")
        answer = self._send(request, token, proof)
        if answer.status in {400, 401} and answer.nonce and answer.nonce != self.nonce and proof is None:
            self.nonce = answer.nonce
            answer = self._send(request, token, proof)
        return answer

    def exchange(self, token: str, *, audience: str = "") -> Answer:
        """Exchange the platform's token for one of this server, bound to this job's key (RFC 8693)."""
        form = {"grant_type": TOKEN_EXCHANGE, "subject_token": token, "subject_token_type": JWT}
        answer = self.call("POST", "/oauth/token", form={**form, **({"audience": audience} if audience else {})})
        self.token = answer.json.get("access_token", "")
        return answer

    def ssh_key(self, file: Path) -> Path:
        """This job's key as a file that ssh reads: what its token is bound to is also what it fetches with."""
        form = serialization.PrivateFormat.OpenSSH
        none = serialization.NoEncryption()
        file.write_bytes(self.key.private_bytes(serialization.Encoding.PEM, form, none))
        file.chmod(0o600)
        return file

    def assertion(self, claims: dict[str, Any]) -> str:
        """A JWT signed with this job's key."""
        return sign_jwt(self.key, {"typ": "JWT"}, claims)

    def _send(self, request: urllib.request.Request, token: str, proof: str | None) -> Answer:
        made = proof or dpop_proof(
            self.key, request.get_method(), request.full_url, nonce=self.nonce, token=token or None
        )
        request.add_header("dpop", made)
        asked = f"{request.get_method()} {request.selector}"
        try:
            with urllib.request.urlopen(request, context=self._tls, timeout=20) as response:  # noqa: S310 - the same
                return Answer(asked, response.status, response.read(), response.headers.get("dpop-nonce"))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(asked, error.code, error.read(), error.headers.get("dpop-nonce"))

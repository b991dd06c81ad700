"""The engine by which scim2-client, and with it scim2-tester, talks to the doors of a site from a thread of its own."""

import asyncio
import json
from typing import Any
from urllib.parse import urlencode, urlsplit
from wsgiref.headers import Headers

from scim2_client import BaseSyncSCIMClient
from scim2_client.engines.inprocess import InProcessResponse

from tests.scim.conftest import BASE, Directory
from tests.server.asgi import call


class Engine(BaseSyncSCIMClient):
    """Sends what the library built, as it is, with a provisioner's secret."""

    def __init__(self, directory: Directory, **options: Any) -> None:
        super().__init__(**options)
        self._directory = directory
        self._loop = asyncio.get_running_loop()

    def request(self, method: str, url: str, **options: Any) -> InProcessResponse:
        headers = {"authorization": f"Bearer {self._directory.secret}", **(options.get("headers") or {})}
        body = b""
        if options.get("json") is not None:
            body = json.dumps(options["json"]).encode()
            headers["content-type"] = "application/scim+json"
        parts = urlsplit(url.removeprefix(BASE))
        query = "&".join(one for one in (parts.query, urlencode(options.get("params") or {}, doseq=True)) if one)
        sent = call(self._directory.doors, method, f"/scim/v2/{parts.path.lstrip('/')}", body, headers, query=query)
        answer = asyncio.run_coroutine_threadsafe(sent, self._loop).result(60)
        return InProcessResponse(answer.status, Headers(list(answer.headers.items())), answer.body)

    def _parse_json(self, response: Any) -> Any:
        return response.json()

    def _stays_under_base_url(self, endpoint: str) -> bool:
        return endpoint.startswith(("/", BASE))

"""Access for a while: requested, approved by people or by policy, and over by itself."""

from everproof.access.hints import request_command, request_page
from everproof.access.records import GrantRecord, RequestRecord, Wanted
from everproof.access.requests import Query
from everproof.access.room import Access
from everproof.access.rules import access_rules

__all__ = [
    "Access",
    "GrantRecord",
    "Query",
    "RequestRecord",
    "Wanted",
    "access_rules",
    "request_command",
    "request_page",
]

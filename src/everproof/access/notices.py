"""What people are told of requests and grants."""

from collections.abc import Callable
from datetime import datetime, timedelta

from everproof.access.kit_store import Kit
from everproof.access.records import GrantRecord, RequestRecord
from everproof.identity.records import ADMINISTRATORS
from everproof.kernel.words import Ref
from everproof.storage import Transaction
from everproof.work.notices import Notice

Tell = Callable[[Transaction, Notice], object]
"""Puts a notice on its way within a commit."""


def asked(request: RequestRecord, to: tuple[Ref, ...]) -> Notice:
    """To those who can answer: what is asked for, by whom, and why."""
    what = f"{request.action} on {request.resource}"
    people = f"{request.needs} people approve it" if request.needs > 1 else "one person approves it"
    return Notice(
        to=to,
        subject=f"{request.requester.id} asks for {what}",
        text=(
            f"{request.requester} asks for {what}, for {_lasting(request.seconds)}.\n"
            f"Reason: {request.reason or 'none given'}\n"
            f"Until {request.answer_by:%Y-%m-%d %H:%M} UTC {people}: everproof approve {request.id}"
        ),
        link=_link(request.id),
        key=f"{request.id}:asked",
    )


def granted(request: RequestRecord, grant: GrantRecord) -> Notice:
    """To whoever asked: it is granted."""
    by = ", ".join(one.id for one in grant.approvers) or "policy"
    return Notice(
        to=(request.requester,),
        subject=f"Granted: {request.action} on {request.resource}",
        text=f"Granted by {by}; it ends by itself at {grant.expires:%Y-%m-%d %H:%M:%S} UTC.",
        link=_link(request.id),
        key=f"{request.id}:granted",
    )


def answered(request: RequestRecord) -> Notice:
    """To whoever asked: it was refused, or nobody answered."""
    if request.state == "refused" and request.by is not None:
        text = f"{request.by.id} refused it: {request.message}"
    else:
        text = "Nobody answered it in time. Ask again if you still need it."
    return Notice(
        to=(request.requester,),
        subject=f"{request.state.capitalize()}: {request.action} on {request.resource}",
        text=text,
        link=_link(request.id),
        key=f"{request.id}:{request.state}",
    )


def given_back(grant: GrantRecord) -> Notice:
    """To whoever had it: a grant has ended."""
    by = f" by {grant.by.id}" if grant.by is not None else ""
    said = f": {grant.reason}" if grant.reason else ""
    text = f"It was taken back{by}{said}." if grant.how == "revoked" else "Its time is over."
    return Notice(
        to=(grant.principal,),
        subject=f"Ended: {' '.join(grant.actions)} on {grant.resource}",
        text=text,
        link=_link(grant.request) if grant.request.startswith("req_") else "",
        key=f"{grant.id}:ended",
    )


def broken(kit: Kit, ends: datetime) -> Notice:
    """To every administrator, and to both whose halves were used: break-glass is open."""
    people = " and ".join(one.id for one in kit.people)
    return Notice(
        to=(Ref("Group", ADMINISTRATORS), *kit.people),
        subject=f"Break-glass was opened by {people}",
        text=(
            f"With the halves of {people}, {kit.id} opened {', '.join(kit.actions)} on {kit.resource} until "
            f"{ends:%Y-%m-%d %H:%M:%S} UTC.\nReason: {kit.reason}\n"
            f"Not right? everproof contain {kit.grant}\nTo be reviewed: everproof break-glass review {kit.id}"
        ),
        link="/access",
        key=f"{kit.id}:opened",
    )


def _link(request: str) -> str:
    return f"/requests/{request}"


def _lasting(seconds: int) -> str:
    return str(timedelta(seconds=seconds))

"""Who is told, by what jobs, and what a hostile notice becomes."""

from collections.abc import Iterable

import msgspec
import pytest

from everproof.kernel.errors import InputError
from everproof.kernel.words import Ref
from everproof.storage import Transaction
from everproof.work import HopelessError
from everproof.work.notices import Message, Notice, Notices, Recipient
from tests.work.conftest import House, each_house, house

__all__ = ["each_house", "house"]

ALICE, BOB = (Recipient(ref=Ref("User", name), addresses=(f"{name}@example.com",)) for name in ("alice", "bob"))
TEAM = Ref("Group", "platform")


class Heard:
    """A channel that keeps what it is given."""

    def __init__(self, *, people: bool = False, groups: Iterable[str] = (), fails: Exception | None = None) -> None:
        self.people, self.groups, self.fails = people, frozenset(groups), fails
        self.messages: list[Message] = []

    async def deliver(self, message: Message) -> None:
        if self.fails is not None:
            raise self.fails
        self.messages.append(message)


def whose(ref: Ref) -> list[Recipient]:
    return {ALICE.ref: [ALICE], BOB.ref: [BOB], TEAM: [ALICE, BOB]}.get(ref, [])


def notice(*to: Ref, **more: str) -> Notice:
    return Notice(to=to, **{"subject": "Approve?", "text": "It waits.", "link": "/requests/req_1", **more})


async def test_each_person_and_channel_has_a_job_of_the_same_commit(each_house: House) -> None:
    mail, chat, ops = Heard(people=True), Heard(groups=["platform"]), Heard()
    channels = {"mail": mail, "chat": chat, "ops": ops}
    async with each_house.running() as work:
        notices = Notices(work, channels, base="https://everproof.example/", whose=whose)

        def change(tx: Transaction) -> tuple[str, ...]:
            return notices.send(tx, notice(TEAM, ALICE.ref, Ref("Channel", "ops"), Ref("Channel", "gone")))

        jobs = await each_house.storage.write(change)
        await work.idle()
    assert len(jobs) == len(set(jobs)) == 4
    assert sorted(one.to.ref.id for one in mail.messages) == ["alice", "bob"]
    assert [one.to.ref for one in chat.messages] == [TEAM]
    assert [one.to.ref for one in ops.messages] == [Ref("Channel", "ops")]
    assert mail.messages[0].link == "https://everproof.example/requests/req_1"


async def test_a_group_whose_channel_there_is_not_is_told_one_by_one(house: House) -> None:
    mail = Heard(people=True)
    async with house.running() as work:
        notices = Notices(work, {"mail": mail}, base="https://e.example", whose=whose)
        for _ in range(2):
            await house.storage.write(lambda tx: notices.send(tx, notice(TEAM, ALICE.ref, key="req_1 opened")))
        await work.idle()
    assert sorted(one.to.ref.id for one in mail.messages) == ["alice", "bob"]


async def test_what_cannot_be_delivered_is_shown_and_stops_nothing(house: House) -> None:
    async with house.running() as work:
        bad, good = Heard(people=True, fails=HopelessError("no address")), Heard(people=True)
        notices = Notices(work, {"bad": bad, "good": good}, base="https://e.example", whose=whose)
        await house.storage.write(lambda tx: notices.send(tx, notice(ALICE.ref)))
        await work.idle()
        stuck = work.jobs(states=("stuck",))
        assert [(one.verb, one.error) for one in stuck] == [("notify.bad", "no address")]
        nobody = await house.storage.write(lambda tx: notices.send(tx, notice(Ref("User", "nobody"))))
    assert len(good.messages) == 1
    assert nobody == ()


async def test_a_commit_that_fails_tells_nobody(house: House) -> None:
    mail = Heard(people=True)
    async with house.running() as work:
        notices = Notices(work, {"mail": mail}, base="https://e.example", whose=whose)

        def change(tx: Transaction) -> None:
            notices.send(tx, notice(ALICE.ref))
            raise InputError("no")

        with pytest.raises(InputError):
            await house.storage.write(change)
        await work.idle()
        assert not work.jobs(verb="notify.mail")
    assert not mail.messages


async def test_invisible_characters_and_line_breaks_in_a_subject_are_taken_out(house: House) -> None:
    mail = Heard(people=True)
    async with house.running() as work:
        notices = Notices(work, {"mail": mail}, base="https://e.example", whose=whose)
        subject = "Hi\r\nBcc: eve\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe\x00" + "x" * 500
        text = "one\ntwo\x1b[2J\N{RIGHT-TO-LEFT OVERRIDE}" + "y" * 5000
        await house.storage.write(lambda tx: notices.send(tx, notice(ALICE.ref, subject=subject, text=text)))
        await work.idle()
    said = mail.messages[0]
    assert said.subject.startswith("Hi Bcc: eve gpj.exe x")
    assert len(said.subject) == 150
    assert said.text.startswith("one\ntwo\ufffd[2J\ufffdy")
    assert len(said.text) == 3000


@pytest.mark.parametrize(
    "link", ["https://evil.example", "//evil.example", "/\\evil.example", "/x y", "/é", "/a<b>", "x"]
)
async def test_a_link_leads_nowhere_else(house: House, link: str) -> None:
    notices = Notices(house.work, {"mail": Heard(people=True)}, base="https://e.example", whose=whose)
    with pytest.raises(InputError):
        house.storage.write_now(lambda tx: notices.send(tx, notice(ALICE.ref, link=link)))


async def test_a_message_of_another_version_is_stuck_and_not_guessed(house: House) -> None:
    mail = Heard(people=True)
    async with house.running() as work:
        Notices(work, {"mail": mail}, base="https://e.example", whose=whose)
        await house.storage.write(lambda tx: work.enqueue(tx, "notify.mail", msgspec.to_builtins({"to": 1})))
        await work.idle()
        assert [one.state for one in work.jobs(verb="notify.mail")] == ["stuck"]
    assert not mail.messages


async def test_a_large_group_makes_no_long_commit(house: House) -> None:
    mail, many = Heard(people=True), [Recipient(ref=Ref("User", f"p{number}")) for number in range(250)]
    known = {one.ref: [one] for one in many} | {TEAM: many}
    async with house.running() as work:
        notices = Notices(work, {"mail": mail}, base="https://e.example", whose=lambda ref: known.get(ref, []))
        for _ in range(2):
            jobs = await house.storage.write(lambda tx: notices.send(tx, notice(TEAM, key="once")))
            assert len(jobs) == 3
        await work.idle()
    assert len(mail.messages) == len({one.to.ref for one in mail.messages}) == 250

from tests.git.conftest import Running


async def test_signed_push_by_the_ssh_command_is_taken(lab: Running) -> None:
    lab.repository()
    alice = await lab.enrol(lab.person("alice"))
    clone = await lab.clone(alice)
    oid = await clone.commit()
    ran = await clone.push()
    assert ran.ok, ran.said
    assert "everproof" not in ran.said
    assert (lab.bare("app") / "refs/heads/main").read_text().strip() == oid


async def test_signed_push_certificate_proves_the_pusher_without_ssh(lab: Running) -> None:
    lab.repository()
    clone = await lab.clone(await lab.enrol(lab.person("alice")))
    await clone.commit()
    ran = await clone.push_here("main", "--signed")
    assert ran.ok, ran.said
    assert lab.authorizer.asked[-1][2]["push_certificate"] is True


async def test_unsigned_commit_is_refused_with_the_commit_and_what_to_do(lab: Running) -> None:
    lab.repository()
    clone = await lab.clone(await lab.enrol(lab.person("alice")))
    oid = await clone.commit("quick fix", sign=False)
    ran = await clone.push()
    assert not ran.ok
    assert oid[:12] in ran.said
    assert "is not signed" in ran.said
    assert "--amend" in ran.said

"""Which bundle rules: the built-in one at first, then whatever the one before allowed to take its place."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from everproof.authorize.authorizer import Authorizer
from everproof.authorize.doors import doors_of
from everproof.authorize.outcome import Allowed, Denied
from everproof.authorize.store import TOPIC, StoredBundle, read_published, ruling_bundle, ruling_digest, save_bundle
from everproof.kernel.errors import RefusedError
from everproof.kernel.words import MAIN_SPACE, Action, Fact, Mode, Proof, Ref, Resource
from everproof.policy import Bundle, BundleError, Engine, load_bundle, run_trials, starter_bundle
from everproof.storage import Storage, Transaction

POLICY_CHANGE: Final = Action("policy:change")

BUNDLE: Final = Resource(ref=Ref("Bundle", "organisation"), parents=(MAIN_SPACE,))

Follower: TypeAlias = Callable[[Bundle], None]
Successor: TypeAlias = Callable[[Transaction, Bundle], object]


def ruling(storage: Storage) -> Bundle:
    """The bundle that rules, as the storage has it.

    Raises:
        BundleError: what is stored cannot be read; nothing rules, so nothing is allowed.
    """
    with storage.reading() as connection:
        stored = ruling_bundle(connection)
    return starter_bundle() if stored is None else load_bundle(stored.files, commit=stored.commit)


class Bundles:
    """Loads bundles, and gives each that comes to rule to the authorizer and to those who follow."""

    def __init__(
        self,
        storage: Storage,
        authorizer: Authorizer,
        bundle: Bundle,
        *,
        check: Follower,
        settle: Successor = lambda _tx, _bundle: None,
    ) -> None:
        """``check`` raises for what others must be able to read in a bundle, before it comes to rule.

        ``settle`` is what else changes in the commit in which it does.
        """
        self._settle = settle
        self._authorizer = authorizer
        self._check = check
        self._followers: list[Follower] = []
        self._examining = asyncio.Lock()
        self.current = bundle
        self._modes = doors_of(bundle.files)
        storage.subscribe(TOPIC, self._heard)

    def mode(self, door: str) -> Mode:
        """How the ruling bundle wants ``door`` to treat a denial; a door that it does not name enforces."""
        return self._modes.get(door, "enforce")

    def follow(self, follower: Follower) -> None:
        """Call ``follower`` with the bundle that rules, now and whenever another does."""
        self._followers.append(follower)
        follower(self.current)

    async def load(
        self,
        proof: Proof,
        files: dict[str, bytes],
        commit: str,
        *,
        replaces: Bundle | None = None,
        facts: Iterable[Fact] = (),
    ) -> Allowed[Action, Resource, None] | Denied:
        """Let the bundle of ``commit`` rule, if the one that rules now allows ``proof``, its signer, to change it.

        ``replaces`` is the one that ``facts`` were found against, if it was looked at before: should another have come
        to rule since, nothing changes.

        Raises:
            BundleError: the bundle is bad or fails its own tests, with the place; the one that rules goes on ruling.
        """
        before = replaces or self.current
        async with self._examining:
            # In a thread, since a large bundle takes a second to read and to test; one after the other, as they came.
            bundle = await asyncio.to_thread(self._examined, files, commit)
        stored = StoredBundle(bundle.digest, commit, dict(files))
        detail = {"commit": commit, "digest": bundle.digest, "replaces": before.digest}

        def change(tx: Transaction) -> None:
            # The one that came to rule meanwhile might not have let this signer change it.
            if ruling_digest(tx.connection) not in {None, before.digest}:
                raise RefusedError("another bundle has come to rule meanwhile", todo="apply this one again")
            save_bundle(tx, stored)
            self._settle(tx, bundle)

        return await self._authorizer.authorize(proof, POLICY_CHANGE, BUNDLE, facts=facts, detail=detail, within=change)

    def _examined(self, files: dict[str, bytes], commit: str) -> Bundle:
        bundle = load_bundle(files, commit=commit)
        self._check(bundle)
        require_tests(Engine(bundle))
        return bundle

    def _heard(self, _digest: str, body: bytes) -> None:
        stored = read_published(body)
        bundle = load_bundle(stored.files, commit=stored.commit)
        self._authorizer.engine = Engine(bundle)
        self.current = bundle
        self._modes = doors_of(bundle.files)
        for follower in self._followers:
            follower(bundle)


def require_tests(engine: Engine) -> None:
    """Run the tests of the engine's bundle.

    Raises:
        BundleError: one of them fails.
    """
    for run in run_trials(engine):
        if not run.passed:
            raise BundleError(
                f"the test {run.name!r} fails: {run.problem}",
                place=run.place,
                todo="see it with: everproof policy test",
            )

"""Steps of a pipeline: each gets a credential of its own, for one stage, which ends with it.

The credential is a child of the one that began the run, is bound to a key that was made for this run, and says its
stage in its token, so that every later decision about its holder knows the stage and policy can hold stages apart. A
stage begets no other: whatever descends from its credential has the same stage, or there is none.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import msgspec

from everproof.delivery import store
from everproof.delivery.records import LIFETIMES, Command, Result, Run, Stage
from everproof.identity import Identity
from everproof.identity.access_tokens import Grant, subject
from everproof.identity.credentials import TOPIC
from everproof.identity.records import MAIN, Credential
from everproof.kernel.errors import NotFoundError, RefusedError
from everproof.kernel.ids import new_id
from everproof.kernel.words import Proof, Ref
from everproof.storage import Storage, Transaction

KIND = "stage"
"""What the credential of a stage is called in its lineage."""


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """A step that may run, or go on, until ``expires_in`` seconds from now."""

    id: str
    stage: Stage
    credential: str
    access_token: str
    expires_in: int
    principal: Ref

    def __repr__(self) -> str:
        return f"Begun({self.id})"


class Runs:
    """The room of steps."""

    def __init__(self, storage: Storage, identity: Identity, *, issuer: str) -> None:
        self._storage = storage
        self._identity = identity
        self._issuer = issuer
        self._waiting: set[asyncio.Event] = set()
        self._stopped = False
        storage.subscribe(TOPIC, self._wake, decides=False)

    @staticmethod
    def lifetime(stage: Stage, asked: int | None) -> timedelta:
        """How long a credential for ``stage`` may live, where ``asked`` seconds were asked for."""
        bound = LIFETIMES[stage]
        return bound if asked is None else min(bound, timedelta(seconds=asked))

    def begin(
        self, tx: Transaction, run: str, stage: Stage, resource: Ref, command: Command, *, proof: Proof, key: str,
        lifetime: timedelta,
    ) -> Begun:  # fmt: skip
        """Put the run on record and issue its stage's credential, bound to ``key``.

        Raises:
            RefusedError: the caller is within a stage itself, has shown no key, or what it comes from is dead.
        """
        require_no_stage(proof)
        if proof.key is None or proof.credential is None or key == proof.key:
            raise RefusedError("a run is begun with a token bound to a key, and has a key of its own")
        issued = self._issue(tx, run, stage, proof, key=key, lifetime=lifetime)
        store.insert_run(
            tx,
            Run(
                id=run, stage=stage, principal=proof.principal.ref, resource=resource, program=command.program,
                digest=command.digest, credentials=(issued.id,), holder=proof.key, key=key, started=tx.now,
                expires=issued.expires,
            ),
        )  # fmt: skip
        return self._begun(tx, run, stage, issued, proof)

    def renew(self, tx: Transaction, id_: str, *, proof: Proof, lifetime: timedelta) -> Begun:
        """Issue the next credential of a run that goes on.

        Raises:
            RefusedError: it has ended, one of its credentials was revoked, or the caller did not begin it.
        """
        run = self._held(tx, id_, proof)
        if run.ended is not None:
            raise RefusedError("the run has ended")
        if not all(map(self._identity.credentials.is_live, run.credentials)):
            raise RefusedError("a credential of this run was revoked")
        issued = self._issue(tx, run.id, run.stage, proof, key=run.key, lifetime=lifetime)
        credentials = (*run.credentials, issued.id)
        later = msgspec.structs.replace(run, credentials=credentials, expires=issued.expires)
        store.set_credentials(tx, later)
        return self._begun(tx, run.id, run.stage, issued, proof)

    def end(self, tx: Transaction, id_: str, result: Result, *, proof: Proof) -> tuple[str, ...]:
        """Note how the run ended and end its credentials; the ids of all that ended with it.

        Raises:
            RefusedError: it has ended before, or the caller did not begin it.
        """
        run = self._held(tx, id_, proof)
        if not store.set_result(tx, run.id, result):
            raise RefusedError("the run has ended before")
        ended: list[str] = []
        for credential in run.credentials:
            ended += self._identity.credentials.revoke(tx, credential, f"{run.id} has ended")
        return tuple(ended)

    def find(self, id_: str) -> Run:
        """A run. A query.

        Raises:
            NotFoundError: there is none.
        """
        with self._storage.reading() as connection:
            run = store.find_run(connection, id_)
        if run is None:
            raise NotFoundError(f"there is no run {id_}")
        return run

    def list(self, *, before: str = "", stage: str = "", principal: str = "", limit: int) -> Sequence[Run]:
        """Runs, the newest first. A query."""
        with self._storage.reading() as connection:
            return store.list_runs(connection, before=before, stage=stage, principal=principal, limit=limit)

    async def until_revoked(self, run: Run, seconds: float) -> bool:
        """Wait until a credential of ``run`` is revoked, but no longer than ``seconds``; whether one is."""
        is_live: Callable[[str], bool] = self._identity.credentials.is_live
        until = asyncio.get_running_loop().time() + seconds
        while all(map(is_live, run.credentials)) and not self._stopped:
            woken = asyncio.Event()
            self._waiting.add(woken)
            try:
                async with asyncio.timeout_at(until):
                    await woken.wait()
            except TimeoutError:
                break
            finally:
                self._waiting.discard(woken)
        return not all(map(is_live, run.credentials))

    def stop(self) -> None:
        """Let nobody wait any more."""
        self._stopped = True
        self._wake("", b"")

    def forget(self, tx: Transaction, before: datetime) -> None:
        """Remove the runs that began before ``before``."""
        store.forget_runs(tx, before)

    def _held(self, tx: Transaction, id_: str, proof: Proof) -> Run:
        require_no_stage(proof)
        run = store.find_run(tx.connection, id_)
        if run is None or run.holder != proof.key or run.principal != proof.principal.ref:
            raise RefusedError("only who began a run goes on with it or ends it")
        return run

    def _issue(
        self, tx: Transaction, run: str, stage: Stage, proof: Proof, *, key: str, lifetime: timedelta
    ) -> Credential:
        wanted = Credential(
            id=new_id("cred"), parent=proof.credential, kind=KIND, principal=proof.principal.ref, key=key,
            issued=tx.now, expires=tx.now + lifetime, audience=self._issuer, scope=tuple(proof.claims.get("scope", ())),
            source={"stage": stage, "run": run}, proven=proof.principal,
        )  # fmt: skip
        return self._identity.credentials.issue(tx, wanted)

    def _begun(self, tx: Transaction, run: str, stage: Stage, issued: Credential, proof: Proof) -> Begun:
        principal = proof.principal
        grant = Grant(
            credential=issued.id, principal=principal, client=subject(principal.ref), audience=self._issuer,
            key=issued.key, proven=proof.at, issued=issued.issued, expires=issued.expires, scope=issued.scope,
            space=proof.claims.get("space", MAIN), stage=stage,
            recorded=self._identity.directory.principal(principal.ref) is not None,
        )  # fmt: skip
        return Begun(
            id=run, stage=stage, credential=issued.id, access_token=self._identity.tokens.mint(grant),
            expires_in=int((issued.expires - tx.now).total_seconds()), principal=principal.ref,
        )  # fmt: skip

    def _wake(self, _key: str, _body: bytes) -> None:
        for waiting in tuple(self._waiting):
            waiting.set()


def require_no_stage(proof: Proof) -> None:
    """Refuse whoever is within a stage: it neither gets into another, nor says how its own ended.

    Raises:
        RefusedError: it is.
    """
    if "stage" in proof.claims:
        raise RefusedError(f"this is the credential of a {proof.claims['stage']} stage, and no stage begets another")

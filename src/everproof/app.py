"""Puts the rooms together, and does nothing else."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from everproof.access import Access, access_rules
from everproof.access.leaving import WaitingRequests
from everproof.authorize import Authorizer
from everproof.authorize.attempts import Attempts
from everproof.authorize.bundles import Bundles, ruling
from everproof.authorize.changes import Changes
from everproof.authorize.doors import approvals_of, doors_of, sessions_of
from everproof.delivery import Runs
from everproof.identity import Identity, apply_people, people_of
from everproof.identity.bindings import load_bindings
from everproof.identity.factors import Factors, rules_of
from everproof.identity.outbound import Outbound
from everproof.identity.provider import Provider, clients_of
from everproof.identity.recipients import recipients
from everproof.identity.records import LEFT_FILE
from everproof.identity.sessions import SessionFacts
from everproof.identity.sign_on import read_sign_on
from everproof.integrations.issuers import issuer_kinds
from everproof.integrations.notice_channels import notice_channels
from everproof.integrations.organisations import organisations
from everproof.integrations.repository_hosts import repository_hosts
from everproof.integrations.sign_on import provider_kinds, sign_on_secrets
from everproof.kernel.clock import Clock
from everproof.kernel.settings import Settings
from everproof.kernel.words import Ref
from everproof.keys import Keyring, SigningKeys, open_root_key
from everproof.ledger import Ledger
from everproof.ledger.cosigning import MAX_ANSWER_BYTES, TIMEOUT_SECONDS, Witnesses, read_policy
from everproof.ledger.witness import WitnessService, make_witness
from everproof.policy import Bundle, Engine
from everproof.provisioning import Provisioning
from everproof.provisioning.memberships_reach import MembershipsReach
from everproof.provisioning.memberships_room import Memberships
from everproof.provisioning.rests import RestingFactors, RestingKeys
from everproof.response import Containment
from everproof.routes import load_routes
from everproof.secrets import RepositoryTokens
from everproof.storage import Storage, Transaction
from everproof.upkeep import Upkeep
from everproof.work import Work
from everproof.work.notices import Notice, Notices


class Everproof:
    """Every room of one server, opened in the order of its floors."""

    def __init__(self, settings: Settings, *, clock: Clock | None = None) -> None:
        """Open the rooms; nothing runs yet.

        Raises:
            Error: a room cannot be opened; what is wrong with it and what to do.
        """
        self.settings = settings
        self.storage = Storage.open(settings.database_url, state=settings.state, clock=clock)
        self.storage.max_stale_seconds = settings.max_stale_seconds
        try:
            self._open()
        except BaseException:
            self.storage.close()
            raise

    def _open(self) -> None:
        settings, storage = self.settings, self.storage
        self.keyring = Keyring(storage, open_root_key(settings.root_key, settings.state))
        self.signing = SigningKeys(storage, self.keyring)
        self.ledger = Ledger(
            storage,
            self.keyring,
            self.signing.current("Ed25519"),
            origin=settings.issuer.removeprefix("https://"),
            copy=settings.checkpoint_copy,
            witnesses=self._witnesses(),
        )
        self.witness = self._witness()
        self.work = Work(storage, self.keyring, self.ledger, alone=settings.database_url.startswith("sqlite"))
        kinds, providers = issuer_kinds(), provider_kinds()
        outbound = Outbound(ca_file=settings.outbound.ca_file, private_hosts=settings.outbound.private_hosts)
        self.notices = Notices(
            self.work,
            notice_channels(settings.notify, outbound, storage.clock.now, ca_file=settings.outbound.ca_file),
            base=settings.issuer,
            whose=lambda ref: recipients(self.identity.directory, ref),
        )
        self.identity = Identity(
            storage, self.signing, outbound, issuer=settings.issuer, token_endpoint=f"{settings.issuer}/oauth/token"
        )
        self.factors = Factors(
            storage,
            keyring=self.keyring,
            signing=self.signing,
            ledger=self.ledger,
            directory=self.identity.directory,
            sessions=self.identity.sessions,
            work=self.work,
            notices=self.notices,
            issuer=settings.issuer,
        )
        self.provider = Provider(
            storage,
            self.signing,
            self.identity,
            self.work,
            outbound,
            notices=self.notices,
            issuer=settings.issuer,
            token_endpoint=f"{settings.issuer}/oauth/token",
        )
        self.runs = Runs(storage, self.identity, issuer=settings.issuer)
        bundle = ruling(storage)
        self.authorizer = Authorizer(
            storage,
            self.ledger,
            Engine(bundle),
            is_live=self.identity.credentials.is_live,
            held=self.identity.credentials.held,
            known=lambda ref: self.identity.directory.principal(ref) or self.identity.certificates.principal(ref),
        )
        self.authorizer.register(SessionFacts(self.identity.sessions), self.factors)

        self.identity.sign_on.use_secrets(sign_on_secrets(settings.sign_on))

        def check(bundle: Bundle) -> None:
            load_bindings(bundle.files, kinds)
            read_sign_on(bundle.files, providers)
            doors_of(bundle.files)
            rules_of(bundle.files)
            people_of(bundle.files)
            self.memberships.check(bundle.files)
            clients_of(bundle.files)
            access_rules(bundle)
            load_routes(bundle.files, bundle.schema)

        def follow(bundle: Bundle) -> None:
            self.identity.trust(load_bindings(bundle.files, kinds))
            self.identity.sign_on.trust(read_sign_on(bundle.files, providers))
            self.work.effects.rules = approvals_of(bundle.files)
            self.identity.sessions.limits = sessions_of(bundle.files)
            self.factors.follow(bundle.files)
            self.provider.clients.follow(clients_of(bundle.files))

        def settle(tx: Transaction, bundle: Bundle) -> None:
            apply_people(tx, people_of(bundle.files), leave=self._leave_file)
            self.identity.sign_on.settle(tx, read_sign_on(bundle.files, providers))

        self.bundles = Bundles(storage, self.authorizer, bundle, check=check, settle=settle)
        self.bundles.follow(follow)
        self.changes = Changes(storage)
        self.access = Access(
            storage,
            authorizer=self.authorizer,
            identity=self.identity,
            ledger=self.ledger,
            work=self.work,
            bundle=bundle,
            issuer=settings.issuer,
            tell=self._tell,
        )
        self.bundles.follow(self.access.follow)
        self.attempts = Attempts(self.ledger, storage.clock)
        self.containment = Containment(storage, self.ledger, self.work, self.identity.credentials)
        self._open_provisioning()
        self._open_platforms(outbound)
        self._upkeep = Upkeep(storage, self.signing, self.identity, self.ledger)
        self._upkeep.let_forget(self.runs.forget)
        self._upkeep.let_forget(self.factors.forget)
        self._upkeep.let_forget(lambda tx, _before: self.provider.forget(tx))

    def _open_provisioning(self) -> None:
        """The people whom directories keep here, and what goes with anyone who leaves."""
        self.provisioning = Provisioning(self.storage, self.keyring, self.work)
        self.provisioning.lifecycle.end_at_once(WaitingRequests(self.access.grants), RestingFactors(), RestingKeys())
        self.identity.sign_on.use_provisioned(self.provisioning.known_as)

    def _leave_file(self, tx: Transaction, person: Ref, *, many: bool) -> tuple[str, ...]:
        """Let somebody leave whom people.toml names no more; of many at once, outside waits for a plan."""
        by = Ref("Server", "organisation")
        return self.provisioning.lifecycle.leave(tx, person, by, LEFT_FILE, outside=not many).ended

    def _open_platforms(self, outbound: Outbound) -> None:
        """What is kept at other platforms: tokens of their repositories, and members of their organisations."""
        settings, storage = self.settings, self.storage
        self.repository_tokens = RepositoryTokens(
            storage,
            keyring=self.keyring,
            ledger=self.ledger,
            work=self.work,
            credentials=self.identity.credentials,
            hosts=repository_hosts(settings.repositories, outbound, storage.clock.now),
        )
        self.containment.register(self.repository_tokens.reach)
        self.memberships = Memberships(
            storage,
            keyring=self.keyring,
            ledger=self.ledger,
            work=self.work,
            notices=self.notices,
            directory=self.identity.directory,
            hosts=organisations(settings.organisations, settings.outbound, storage.clock.now),
        )
        self.bundles.follow(lambda bundle: self.memberships.follow(bundle.files))
        self.provisioning.lifecycle.register(MembershipsReach(self.memberships))

    def _tell(self, tx: Transaction, notice: Notice) -> None:
        self.notices.send(tx, notice)

    def _witnesses(self) -> Witnesses | None:
        settings = self.settings
        if settings.witness_policy is None:
            return None
        outbound = Outbound(
            ca_file=settings.outbound.ca_file,
            private_hosts=settings.outbound.private_hosts,
            timeout_seconds=TIMEOUT_SECONDS,
            max_bytes=MAX_ANSWER_BYTES,
        )
        return Witnesses(read_policy(settings.witness_policy), outbound.post, self.storage.clock)

    def _witness(self) -> WitnessService | None:
        asked = self.settings.witness
        if asked is None:
            return None
        private = self.signing.current("Ed25519").private
        assert isinstance(private, Ed25519PrivateKey)
        return make_witness(self.storage, private, asked.name, asked.logs)

    async def start(self) -> None:
        """Begin to decide and to record."""
        await self.storage.start()
        await self.storage.write(self.provider.sign_ins.schedule)
        await self.ledger.start()
        await self._upkeep.start()
        await self.repository_tokens.start()
        await self.access.start()
        await self.memberships.start()
        await self.work.start()
        await self.identity.bundles.start()

    async def stop(self) -> None:
        """Record what waits, and close everything."""
        await self.identity.bundles.stop()
        await self.work.stop()
        await self.repository_tokens.stop()
        await self.access.stop()
        await self._upkeep.stop()
        await self.attempts.stop()
        await self.ledger.stop()
        await self.storage.stop()

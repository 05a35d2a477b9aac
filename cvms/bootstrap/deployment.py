"""The whole deployment: every step that `cvms bootstrap` takes, from keys to `.env`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.bootstrap.authority import AuthoritySetup, Limits, WantedAuthority
from cvms.bootstrap.cluster import OWN, Cluster
from cvms.bootstrap.env_file import Ask, EnvFile
from cvms.bootstrap.key_files import KeyFile, check_private, key_in
from cvms.bootstrap.mint import MintSetup
from cvms.bootstrap.programs.buffers import BufferUpload
from cvms.bootstrap.programs.program_steps import ProgramDeployment, deployed_program
from cvms.bootstrap.steps import Report, Step
from cvms.bootstrap.transactions import TransactionSender
from cvms.bootstrap.yield_pool import PoolSetup
from cvms.chain.program.accounts import read_vault_authority
from cvms.chain.program.addresses import vault_authority_address
from cvms.chain.program.bundled_programs import PROGRAM_NAMES, PROGRAM_SETTINGS, bundled_elf
from cvms.chain.types import Programs
from cvms.errors import ConfigurationError

OPERATOR, UPGRADE_AUTHORITY, MINT = "operator", "upgrade_authority", "mint"


@dataclass(frozen=True, slots=True)
class Request:
    """A deployment that is asked for. `environ` has the settings that are found before it.

    `rpc_given`: the endpoint was named for this run, and the settings have to name it too.
    """

    keys: Path
    env_file: Path
    environ: Mapping[str, str]
    rpc_url: str
    rpc_given: bool = False
    ws_url: str | None = None
    database_url: str | None = None
    payer: Path | None = None
    governance: Pubkey | None = None
    governance_key: Keypair | None = field(default=None, repr=False)
    limits: Limits | None = None
    unlimited: bool = False
    mint: Pubkey | None = None
    make_mint: bool = False
    yield_pool_rate: int | None = None


@dataclass(frozen=True, slots=True)
class Keys:
    """The key files of a deployment. The programs' ids may be known without their keys."""

    operator: KeyFile
    upgrade_authority: KeyFile
    payer: KeyFile
    ids: Mapping[str, KeyFile]
    addresses: Mapping[str, Pubkey]
    mint: KeyFile | None
    complete: bool
    """Every program is deployed, so no upgrade authority is made: the programs have theirs."""

    @property
    def files(self) -> list[KeyFile]:
        files = [self.operator, self.upgrade_authority, *self.ids.values()]
        files += [self.mint] if self.mint else []
        if self.complete and self.upgrade_authority.is_new:
            files.remove(self.upgrade_authority)
        return files

    def step(self, folder: Path) -> Step:
        """Return the step that writes the missing keys, before anything is paid for."""
        missing = [each for each in self.files if each.is_new]
        state = f"{len(self.files) - len(missing)} in {folder}"

        async def run() -> None:
            for each in missing:
                each.write()

        return Step("keys", state, tuple(f"make {each.path}" for each in missing), run=run)


async def read_keys(request: Request, cluster: Cluster) -> Keys:
    """Read the keys in the folder, and make the others in memory. Raises ConfigurationError."""
    folder = request.keys
    check_private(folder)
    operator = key_in(folder / f"{OPERATOR}.json")
    ids, addresses = {}, {}
    for name, setting in PROGRAM_SETTINGS.items():
        path, known = folder / f"{name}.json", request.environ.get(setting)
        if path.exists() or not known:
            ids[name] = key_in(path)
            addresses[name] = ids[name].address
        else:
            addresses[name] = _pubkey(setting, known)
    payer = operator if request.payer is None else key_in(request.payer)
    if payer.is_new and payer is not operator:
        raise ConfigurationError(f"{request.payer} is not there; name the payer's keypair file")
    mint = key_in(folder / f"{MINT}.json") if request.make_mint else None
    authority = key_in(folder / f"{UPGRADE_AUTHORITY}.json")
    deployed = [await deployed_program(cluster, each) for each in addresses.values()]
    return Keys(operator, authority, payer, ids, addresses, mint, complete=None not in deployed)


@dataclass(frozen=True, slots=True)
class DeploymentPlan:
    """The steps of a deployment, in order."""

    cluster: Cluster
    request: Request
    keys: Keys
    sender_of: Callable[[Programs], TransactionSender]
    report: Report
    ask: Ask

    def programs(self) -> Programs:
        """Return the ids, and the mint. Raises ConfigurationError if no mint is named."""
        known, request = self.keys.addresses, self.request
        mint = self.keys.mint.address if self.keys.mint else request.mint
        if mint is None and (text := request.environ.get("USDT_MINT")):
            mint = _pubkey("USDT_MINT", text)
        if mint is None:
            raise ConfigurationError(
                "no mint is named; pass --mint with the mint of USDT on this cluster, or "
                "--make-mint for one of your own on a test cluster"
            )
        return Programs(
            vault=known["collateral_vault"],
            position_manager=known["position_manager"],
            yield_pool=known["yield_pool"],
            mint=mint,
        )

    async def steps(self) -> list[Step]:
        """Read what exists, and return every step. Raises StepFailed and ConfigurationError."""
        programs = self.programs()
        sender = self.sender_of(programs)
        await self.cluster.check_features()
        deployments = self._deployments(sender)
        prices = await sender.prices(programs.vault)
        mint = MintSetup(
            self.cluster,
            sender,
            programs.mint,
            self.keys.mint.key if self.keys.mint else None,
            self.keys.operator.address,
        )
        authority = await self._authority(programs, sender)
        steps = [self.keys.step(self.request.keys)]
        steps += [await each.step(prices) for each in deployments]
        steps += [await mint.step(prices), await authority.step(prices)]
        sources = {}
        if (rate := self.request.yield_pool_rate) is not None:
            pool = PoolSetup(self.cluster, sender, programs, self.keys.operator.key, rate)
            steps.append(await pool.step(prices))
            sources = {"YIELD_SOURCES": f"yield_pool:{pool.address}"}
        return [*steps, self._env_file(programs, sources).step(ask=self.ask, report=self.report)]

    def _deployments(self, sender: TransactionSender) -> list[ProgramDeployment]:
        keys, folder = self.keys, self.request.keys
        return [
            ProgramDeployment(
                cluster=self.cluster,
                sender=sender,
                name=name,
                program=keys.addresses[name],
                id_key=keys.ids[name].key if name in keys.ids else None,
                authority=keys.upgrade_authority.key,
                upload=BufferUpload(
                    self.cluster,
                    sender,
                    buffer_path(folder, name),
                    bundled_elf(name),
                    name,
                ),
                report=self.report,
            )
            for name in PROGRAM_NAMES
        ]

    async def _authority(self, programs: Programs, sender: TransactionSender) -> AuthoritySetup:
        request, keys = self.request, self.keys
        account = await self.cluster.account(vault_authority_address(programs))
        present = read_vault_authority(account, programs)
        program = await deployed_program(self.cluster, programs.vault)
        first = program.authority if program else keys.upgrade_authority.address
        governance = request.governance
        if governance is None and (present is None or present.governance == first):
            if self.cluster.is_mainnet:
                raise ConfigurationError(
                    "no governance is named; pass --governance with the key, best of a multisig, "
                    "that is to govern the vaults"
                )
            governance = keys.operator.address
        limited = present is not None and present.transfers_limited
        if request.limits is None and not limited and not request.unlimited:
            raise ConfigurationError(
                "no transfer limits are named; pass --transfer-limit and --transfer-limit-total, "
                "or --no-transfer-limits: without limits, whoever has the governance key can list "
                "a program that moves all there is"
            )
        here = [keys.operator.key, keys.upgrade_authority.key, keys.payer.key]
        here += [request.governance_key] if request.governance_key else []
        return AuthoritySetup(
            cluster=self.cluster,
            sender=sender,
            programs=programs,
            keys={key.pubkey(): key for key in here},
            wanted=WantedAuthority(governance, request.limits, request.yield_pool_rate is not None),
            deployer=keys.upgrade_authority.address,
        )

    def _env_file(self, programs: Programs, sources: Mapping[str, str]) -> EnvFile:
        request = self.request
        values = {
            "PROGRAM_ID": str(programs.vault),
            "POSITION_MANAGER_PROGRAM_ID": str(programs.position_manager),
            "YIELD_POOL_PROGRAM_ID": str(programs.yield_pool),
            "USDT_MINT": str(programs.mint),
            "VAULT_AUTHORITY_PUBKEY": str(vault_authority_address(programs)),
        }
        given = {"DATABASE_URL": request.database_url, "SOLANA_WS_URL": request.ws_url}
        values |= {name: value for name, value in given.items() if value is not None}
        if request.rpc_given:
            values["SOLANA_RPC_URL"] = request.rpc_url
        if self.cluster.name != OWN:
            values["SIWS_CHAIN_ID"] = self.cluster.name
        defaults = {
            "SOLANA_RPC_URL": request.rpc_url,
            "SIWS_CHAIN_ID": self.cluster.name,
            "DEPLOYER_KEYPAIR_PATH": str(self.keys.operator.path.resolve()),
            **sources,
        }
        return EnvFile(request.env_file, values, defaults)


def buffer_path(folder: Path, name: str) -> Path:
    """Return the file of the key of the buffer in which a program is collected."""
    return folder / f"{name}.buffer.json"


def _pubkey(setting: str, text: str) -> Pubkey:
    try:
        return Pubkey.from_string(text)
    except ValueError:
        raise ConfigurationError(
            f"{setting} holds {text!r}; expected a base58 public key"
        ) from None

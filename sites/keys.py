"""Whose keys this site's releases are made with: its vault's, or in a simulation those that the seed gives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flwr.app import Context

from fedcxr.errors import Refused
from fedcxr.keys.custody import Custodian
from fedcxr.protocol import simulated
from fedcxr.scenario import Scenario
from sites.vault import Vault, passphrase


@contextmanager
def custodian(context: Context, scenario: Scenario, site: str) -> Iterator[Custodian]:
    """The key ring of this node, which is a hospital's if it was started with `--node-config 'vault="FOLDER"'`.

    Then the hospital's own grants count, and those of the scenario are no more than a wish.
    """
    folder = context.node_config.get("vault")
    if folder is None:
        yield simulated(scenario, site)
        return
    with passphrase() as words:
        vault = Vault.unlock(Path(str(folder)), words)
    with vault:
        own = vault.identity.public.name
        if own != site:
            raise Refused("this node's vault is another site's", given=own, allowed=site)
        yield vault

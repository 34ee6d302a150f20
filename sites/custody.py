"""What the keeper of a hospital's vault goes by: where it is, and which budget and journal count, as a profile says.

Run as a program it is the keeper's end of a connection, under a user whose vault, passphrase and journal the node's own
cannot touch: systemd starts it for each message (`fedcxr-vault@.service`). It reads these lines of the profile for
itself, and becomes the key agent.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import pydantic

from fedcxr.errors import FedcxrError
from sites import counter, passphrase
from sites.budget import Budget
from sites.journal import FILE

CONNECTION = 3  # the descriptor that systemd hands over
# What an agent needs to know of its surroundings. What else is there (a library to preload, a folder to import from)
# may have been put there for it.
SURROUNDINGS = ("HOME", "LANG", "LC_ALL", "PATH", "XDG_STATE_HOME", counter.VARIABLE, passphrase.VARIABLE)


class Custody(pydantic.BaseModel):
    """The lines of a profile that its vault's keeper goes by, whatever else is in it."""

    model_config = pydantic.ConfigDict(frozen=True)

    vault: str = pydantic.Field(description="the vault's folder")
    agent: str | None = pydantic.Field(
        None, description="the socket of another user who keeps the vault; null: the node's own user keeps it"
    )
    journal: str | None = pydantic.Field(
        None, description="the file in which all that leaves is entered; null: `journal` in the vault's folder"
    )
    budget: Budget = pydantic.Field(Budget(), description="how often any one film may be used")

    @property
    def vault_folder(self) -> Path:
        return Path(self.vault).expanduser()

    @property
    def agent_socket(self) -> Path | None:
        return None if self.agent is None else Path(self.agent).expanduser()

    @property
    def journal_file(self) -> Path | None:
        """Where all that leaves is entered, if it says so."""
        return None if self.journal is None else Path(self.journal).expanduser()

    @property
    def journal_path(self) -> Path:
        """The same, or where it is unless another place was named."""
        return self.journal_file or self.vault_folder / FILE


def agent_of(custody: Custody, connection: int, parent: int) -> tuple[list[str], Mapping[str, str]]:
    """The command and the environment of a key agent that answers at this descriptor, and ends with this parent.

    A fresh interpreter that imports from our own folder and from where it is installed, and from nowhere else.
    """
    kept = custody.model_dump_json(include=set(Custody.model_fields))
    surroundings = {name: os.environ[name] for name in SURROUNDINGS if name in os.environ}
    command = [sys.executable, "-P", "-m", "sites.agent", str(connection), str(parent), kept]
    return command, {**surroundings, "PYTHONPATH": str(Path(__file__).parents[1])}


def main(profile: Path) -> NoReturn:
    """Become the key agent of the vault that this profile names, for whoever is connected."""
    from fedcxr import plugins
    from fedcxr.scenario.document import read_yaml
    from sites.own_file import own_text

    try:
        custody = plugins.validate(Custody, read_yaml(own_text(profile, "profile")), "profile")
    except FedcxrError as error:  # of which whoever is connected hears no more than that nobody answers
        raise SystemExit(f"error: {error}") from None
    command, environment = agent_of(custody, CONNECTION, os.getppid())
    os.set_inheritable(CONNECTION, True)
    os.execve(sys.executable, command, environment)  # noqa: S606  this very program, without a shell


if __name__ == "__main__":
    main(Path(sys.argv[1]))

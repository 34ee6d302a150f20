"""What a hospital brings: its profile, films that can be used, and a vault that can be found."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedcxr.deployment.checks import machine
from fedcxr.deployment.checks.check import Outcome, fine, insecure, odd, unchecked, wrong
from fedcxr.deployment.kit import card as read_card

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Hospital:
    """A site's own, as its node will read it."""

    site: str
    profile: Path
    card: Path  # of its coordinator, as the kit has it
    workers: int = 1
    progress: Progress | None = None
    whole: bool = True  # whether every film is read

    def policy(self) -> Outcome:
        """Whether its profile can be read, and is this site's."""
        if not self.profile.is_file():
            return wrong(f"there is none at {self.profile}", "name it with --profile, or copy the kit's and adapt it")
        own = self._read()
        if own.site != self.site:
            return wrong(f"it is {own.site}'s, and the kit {self.site}'s", f"say site: {self.site} in {self.profile}")
        if read_card(self.card).public.fingerprint not in {one.fingerprint for one in own.coordinators}:
            return insecure(
                f"it answers another coordinator than {self.card.name} is of",
                f"compare {self.card}'s fingerprint over the telephone, then say coordinator: {self.card}",
            )
        methods = ", ".join(own.methods) or "nothing"
        return fine(f"{self.profile.name} allows {methods}")

    def films(self) -> Outcome:
        """Whether enough of its films can be used: `fedcxr data check`."""
        from fedcxr.data import _packed
        from fedcxr.data._guess import LacksColumns

        own = self._read()
        if not self.whole:
            own.cohort.required_files()
            return unchecked("they are where the profile says; --quick reads none", "leave --quick out")
        try:
            report = _packed.check(own.cohort, workers=self.workers, progress=self.progress)
        except LacksColumns as error:
            raise error.in_full from None  # for whoever has the table before them
        report.demand(named="fedcxr data check names them")
        told = f"{report.films} films of {report.patients} patients can be used"
        if report.films < own.smallest:
            return wrong(f"{told}: fewer than smallest, {own.smallest}", "bring more films, or lower smallest")
        if report.problems:
            return odd(f"{told}, {len(report.problems)} cannot", "fedcxr data check names them")
        return fine(told)

    def fence(self) -> Outcome:
        """Whether what answers can be fenced in here as the profile says, and the fence keeps keys from it."""
        own = self._read()
        importlib.import_module("sites.fence").Grounds.of(own, self.profile)
        return machine.fence("the profile takes a weaker fence" if own.fence.weaker else "")

    def vault(self) -> Outcome:
        """Whether its keys are there; unlocked only if the passphrase is, too, or another user has it."""
        if not self.profile.is_file():
            return unchecked("needs profile first")
        if self._line("agent"):
            with importlib.import_module("sites.agency").unlocked_elsewhere(self._read()) as keys:
                return self._of_this_site(keys.identity.public.name, "opens for another user, who keeps it")
        folder, passphrases = self._vault, importlib.import_module("sites.passphrase")
        file = importlib.import_module("sites.encrypted_file").FILE
        if not (folder / file).is_file():
            return wrong(f"there is no vault at {folder}", f"run fedcxr keys init --site {self.site} --vault {folder}")
        if not os.environ.get(passphrases.VARIABLE):
            return fine(f"{folder}; its passphrase will be asked for")
        with passphrases.passphrase() as words:
            opened = importlib.import_module("sites.vault").Vault.unlock(folder, words)
        with opened:
            site = opened.ring.site
        return self._of_this_site(site, "opens with the passphrase's file")

    def _of_this_site(self, site: str, how: str) -> Outcome:
        if site != self.site:
            given = f"the vault at {self._vault} is {site}'s, and the kit {self.site}'s"
            return insecure(given, "name this site's vault")
        return fine(f"{self._vault} {how}")

    def _read(self) -> Any:
        return importlib.import_module("sites.profile").Profile.read(self.profile)  # by name, see fedcxr.cli.keys

    @property
    def _vault(self) -> Path:
        return Path(self._line("vault")).expanduser()

    def _line(self, key: str) -> str:
        """What the profile says of this, of which no other line is read: films may not be in their place yet."""
        from fedcxr.scenario.document import LARGEST_FILE, read_yaml

        with self.profile.open("rb") as file:
            named = read_yaml(file.read(LARGEST_FILE).decode(errors="replace")).get(key)
        return named if isinstance(named, str) else ""

"""A hospital's app and what it is fenced in with: made ready outside, entered once, and then answering one message.

Whatever is wrong with the profile or the kernel is told as any refusal is: the app answers, says no more than that, and
its hospital finds the reason in the log.
"""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fedcxr.data import cache_folder
from fedcxr.errors import FedcxrError, FenceMissing, Refused
from fedcxr.fence.process import die_with_parent
from fedcxr.storage.disk import full, is_full
from sites.agency import WaitingAgent
from sites.fence import Grounds, confine
from sites.premises import Hospital, Node, Premises
from sites.profile import Profile

if TYPE_CHECKING:
    from flwr.clientapp import ClientApp

PROFILE = "FEDCXR_PROFILE"  # the hospital's own, named by whoever starts its node
_log = logging.getLogger("sites")


@dataclass(frozen=True)
class Enclosure:
    """What was found to be so outside: where the app may go, its agent, or what is wrong."""

    grounds: Grounds
    profile: Path | None = None
    agent: WaitingAgent | None = None
    weaker: bool = False
    wrong: FedcxrError | None = None

    @classmethod
    def of(cls, profile: str | None) -> Enclosure:
        """For the hospital with the profile in this file; its key agent is started, and waits."""
        try:
            if not profile:
                raise Refused(
                    "nobody said which profile counts here",
                    do=f"start the node by `fedcxr site start KIT`, or name its profile in {PROFILE}",
                )
            file = Path(profile).expanduser()
            own = Profile.read(file)
            grounds = Grounds.of(own, file)
            agent = WaitingAgent(own)
        except FedcxrError as error:
            return cls(Grounds(), wrong=error)
        return cls(grounds, file, agent, own.fence.weaker)

    def scratch(self) -> Path | None:
        """A new folder for what the app keeps for as long as it runs; None where there is no room for one.

        Then it answers all the same, and what it cannot write is told as any full disk is.
        """
        try:
            cache_folder().mkdir(mode=0o700, parents=True, exist_ok=True)
            return Path(tempfile.mkdtemp(prefix="app-", dir=cache_folder()))
        except OSError as error:
            if not is_full(error):
                raise
            _log.warning("%s", full(cache_folder()))
            return None

    def entered(self, way: int) -> Enclosure:
        """From here on this process is fenced in; `way` is the descriptor of its doorway."""
        die_with_parent()
        agent = () if self.agent is None else (self.agent.channel.fileno(),)
        try:
            said = confine(self.grounds, (way, *agent), weaker=self.weaker)
        except FenceMissing as error:
            return replace(self, wrong=self.wrong or error)
        _log.log(logging.WARNING if self.weaker else logging.INFO, "what answers is fenced in: %s", said)
        return self

    def left(self) -> None:
        """Whoever stays outside is not the one whom the agent answers."""
        if self.agent is not None:
            self.agent.channel.close()

    def client_app(self) -> ClientApp:
        """The app of this hospital, whatever the node says."""
        from sites.app import client_app  # not before the fence: it imports what talks

        return client_app(self._premises)

    def _premises(self, node: Node) -> Premises:
        if self.wrong is not None or self.profile is None:
            raise self.wrong or Refused("there is no profile")
        return Hospital({"profile": str(self.profile)}, self.agent)

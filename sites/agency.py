"""A vault that another process unlocked, as a site's app sees it: what to ask the key agent, and how it is reached."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from fedcxr import errors
from fedcxr.errors import FedcxrError, Refused
from fedcxr.keys import Origin, ReleaseKey
from fedcxr.keys.identity import PublicIdentity
from fedcxr.keys.provider import Job
from fedcxr.keys.stream import generator
from fedcxr.learning.spending import Spending
from sites import pipe
from sites.custody import Custody, agent_of

PATIENCE = 5.0  # seconds for an agent to end, and for another user's to begin


class AgentSigner:
    """The identity of this site: its public half, and signatures that another process makes."""

    def __init__(self, channel: socket.socket, public: PublicIdentity) -> None:
        self._channel = channel
        self.public = public

    def sign(self, purpose: str, message: bytes) -> bytes:
        """A signature that counts for this purpose and no other."""
        return bytes(_asked(self._channel, "sign", purpose, message))


class AgentKeys:
    """A `KeyProvider` for one job, whose keys are in another process but for what the job itself takes."""

    def __init__(self, channel: socket.socket, public: PublicIdentity) -> None:
        self._channel = channel
        self.identity = AgentSigner(channel, public)

    def begin(self, job: Job, images: Sequence[str], spending: Spending | None = None) -> ReleaseKey:
        cost = None if spending is None else spending.model_dump()
        key, site, release, epoch = _asked(self._channel, "begin", _plain(job), list(images), cost)
        return ReleaseKey(key, Origin(site, release, epoch))

    def stream(self, job: Job, *path: str | int, images: Sequence[str] = ()) -> np.random.Generator:
        return generator(_asked(self._channel, "stream", _plain(job), list(path), list(images)))

    def envelopes(self, job: Job) -> dict[str, bytes]:
        return dict(_asked(self._channel, "envelopes", _plain(job)))

    def say(self, what: str, value: str) -> None:
        """Something that is to be entered along with the answer: the `method`, the `coordinator`."""
        _asked(self._channel, "say", what, value)

    def refuse(self, code: str, line: str = "") -> None:
        """Enter that this was not done, and which line of ours is told; then that can be signed, too."""
        _asked(self._channel, "refuse", code, line)


class WaitingAgent:
    """A key agent that knows which vault and which budget count, and unlocks it once it is asked to.

    To be reached before this process fences itself in, and before any code is imported that is not to be trusted.
    """

    def __init__(self, custody: Custody) -> None:
        """Our own, which is started; or another user's, who goes by the profile as that user reads it."""
        self._process: subprocess.Popen[bytes] | None = None
        if custody.agent_socket is not None:
            self.channel = _connected(custody.agent_socket)
            return
        self.channel, theirs = socket.socketpair()
        with theirs:
            self._process = _started(custody, theirs)

    @contextmanager
    def unlocked(self) -> Iterator[AgentKeys]:
        """The vault, until the end of this block, with which the agent ends. It asks for the passphrase itself."""
        with self.channel:
            try:
                yield AgentKeys(self.channel, PublicIdentity(*_asked(self.channel, "unlock")))
            finally:
                with suppress(OSError):
                    # Closing is not enough where a child of ours was forked meanwhile.
                    self.channel.shutdown(socket.SHUT_RDWR)
                if self._process is not None:
                    _ended(self._process)


@contextmanager
def unlocked_elsewhere(custody: Custody) -> Iterator[AgentKeys]:
    """The vault, unlocked by a key agent that is reached now, until the end of this block."""
    with WaitingAgent(custody).unlocked() as keys:
        yield keys


def _connected(place: Path) -> socket.socket:
    channel = socket.socket(socket.AF_UNIX)
    try:
        channel.settimeout(PATIENCE)
        channel.connect(str(place))
        channel.settimeout(None)
    except OSError as error:
        channel.close()
        raise Refused(
            "the key agent of this vault cannot be reached",
            given=f"{place}: {error.strerror or error}",
            do="systemctl start fedcxr-vault.socket; it lets in the user of fedcxr-node.service alone",
        ) from None
    return channel


def _started(custody: Custody, theirs: socket.socket) -> subprocess.Popen[bytes]:
    command, environment = agent_of(custody, theirs.fileno(), os.getpid())
    return subprocess.Popen(
        command,
        env=environment,
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


def _ended(agent: subprocess.Popen[bytes]) -> None:
    try:
        agent.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        with suppress(PermissionError):  # from behind a fence nobody else is ended; it ends with whoever started it
            agent.kill()
            agent.wait()


def _asked(channel: socket.socket, *question: object) -> Any:
    """What the agent answers; its errors are raised here as if they had happened here."""
    try:
        pipe.send(channel, question)
        reply = pipe.receive(channel)
    except pipe.Ended:
        raise Refused("the key agent ended", do="see what it said last") from None
    match reply:
        case ["ok", answer]:
            return answer
        case [str(name), str(text)]:
            raise _error(name, text)
    raise Refused("the key agent said something else")


def _error(name: str, text: str) -> FedcxrError:
    found = getattr(errors, name, Refused)
    kind = found if isinstance(found, type) and issubclass(found, FedcxrError) else Refused
    error = kind.__new__(kind)
    FedcxrError.__init__(error, text)  # it is in words already, whatever this kind of error is made from
    return error


def _plain(job: Job) -> list[str]:
    return [job.kind, job.run, job.part, job.digest]

"""The key agent: a process of its own that holds the unlocked vault, for the app of a site to ask.

A hospital's app runs other people's code: libraries, and methods that a scenario names. So master keys, the identity's
private keys and the passphrase are not in its memory, but here, where nothing runs but this package and the libraries
it encrypts with. What can be asked is what one answer takes, and for one job only: its key, its random streams, its
envelopes, and signatures for what a site signs. Nobody can grant, revoke or rotate through it, or read the ring.

It keeps the journal of what has left: nothing is signed as an answer that is not entered, on the disk, before; but for
the one answer that the disk has no room for that, of which it knows every word.

It is a fresh process, never a copy of one that has run anything else; it leaves no core, cannot be traced by others of
its user, and ends with its parent. Which vault, budget and journal count it is told by whoever starts it, once, and by
nobody who asks: that is the app's own user, or systemd for another user (`sites.custody`).
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, get_args

import pydantic

from fedcxr.answer import Answer
from fedcxr.errors import DiskFull, FedcxrError, Refused
from fedcxr.keys.provider import Job, Work
from fedcxr.keys.signatures import ANSWER, HELLO, PURPOSE
from fedcxr.learning.spending import Spending
from sites import entries, pipe
from sites.codes import Code
from sites.custody import Custody
from sites.own_line import is_own_line
from sites.passphrase import passphrase
from sites.vault import Vault

SIGNS = (PURPOSE, HELLO, ANSWER)
KINDS = get_args(Work)
FULL = "dropped", Code.DISK.value  # the one thing that is signed and not entered: that there is no room to
TOLD = ("method", "coordinator")  # what an app may add to an entry: the hospital's own code says so, and nobody checks
LONGEST_TOLD = 200  # characters
DIGEST_BYTES = 32
LONGEST_MESSAGE = 1 << 16  # bytes to sign: digests, and who we are
PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4  # of prctl(2)


class Agent:
    """Answers what a site may ask about one job, and refuses everything else."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._job: Job | None = None
        self._images: list[str] | None = None
        self._signed = self._entered = self._no_room = False
        self._said: dict[str, str] = {}
        self._answers: Mapping[str, Callable[..., object]] = {
            "public": self._public,
            "begin": self._begin,
            "stream": self._stream,
            "envelopes": self._envelopes,
            "sign": self._sign,
            "say": self._say,
            "refuse": self._refuse,
        }

    def answer(self, request: object) -> list[object]:
        """`["ok", answer]`, or the name of an error and what it says; of what nobody foresaw only its name."""
        try:
            return ["ok", self._answer(request)]
        except FedcxrError as error:
            return [type(error).__name__, str(error)]
        except Exception as error:
            return [Refused.__name__, f"the key agent could not answer: {type(error).__name__}"]

    def _answer(self, request: object) -> object:
        if not isinstance(request, list) or not request or not isinstance(request[0], str):
            raise Refused("this is no question for a key agent")
        name, *said = request
        if name not in self._answers:
            raise Refused("a key agent does not do this", given=name[:40], allowed=", ".join(self._answers))
        return self._answers[name](*said)

    def _public(self) -> object:
        public = self._vault.identity.public
        return [public.name, public.verifying, public.sealing]

    def _begin(self, job: object, images: object, spending: object = None) -> object:
        films = _texts(images)
        key = self._vault.begin(self._only(job), films, _spending(spending))
        self._images = films
        return [key.reveal(), *key.origin.parts]

    def _stream(self, job: object, path: object, images: object) -> object:
        if not isinstance(path, list) or not all(type(part) in (str, int) for part in path):
            raise Refused("this is no path of a random stream")
        return self._vault.stream_key(self._only(job), *path, images=_texts(images))

    def _envelopes(self, job: object) -> object:
        return self._vault.envelopes(self._only(job))

    def _sign(self, purpose: object, message: object) -> object:
        if purpose not in SIGNS:
            raise Refused("a key agent does not sign this", given=purpose, allowed=", ".join(SIGNS))
        if not isinstance(message, bytes) or len(message) > LONGEST_MESSAGE:
            raise Refused("this cannot be signed", allowed=f"{LONGEST_MESSAGE} bytes")
        if purpose == PURPOSE:
            self._enter_release(message)
        if purpose == ANSWER:
            if not (self._entered or self._says_full(message)):
                raise Refused("a key agent signs no answer that is not entered in the journal")
            self._entered = self._no_room = False
        return self._vault.identity.sign(str(purpose), message)

    def _says_full(self, message: bytes) -> bool:
        """Whether it could not be entered for want of room, and is the one answer that says so and nothing else.

        What is signed of an answer ends in its digest, which is of no other answer's.
        """
        told = Answer(self._vault.identity.public.name, *FULL)
        return self._no_room and message.endswith(told.digest)

    def _enter_release(self, digest: bytes) -> None:
        if self._signed or self._images is None or self._job is None:
            raise Refused("a key agent signs one answer, to a job that was begun and so counted")
        if len(digest) != DIGEST_BYTES:
            raise Refused("a release is signed by its digest", given=f"{len(digest)} bytes", allowed=f"{DIGEST_BYTES}")
        self._signed = True  # whatever comes of it
        vault, job = self._vault, self._job
        left = entries.used(job, vault.tallies(self._images), vault.budget)
        privacy = entries.spent(vault.ledger, vault.budget)
        vault.enter("signed", {**entries.signed(job, digest, self._said), **left, "privacy": privacy})
        self._entered = True

    def _say(self, what: object, value: object) -> None:
        if what not in TOLD or not isinstance(value, str) or len(value) > LONGEST_TOLD or not value.isprintable():
            raise Refused("this is nothing to enter", given=what, allowed=", ".join(TOLD))
        self._said[str(what)] = value

    def _refuse(self, code: object, line: object = "") -> None:
        if code not in list(Code):
            raise Refused("this is no reason that a coordinator is told", given=code)
        if not isinstance(line, str) or (line and not is_own_line(line)):
            raise Refused("this is no line of our code", given=line)
        try:
            self._vault.enter("refused", entries.refused(self._job, str(code), line, self._said))
        except DiskFull:
            self._no_room = True
            raise
        self._entered = True

    def _only(self, said: object) -> Job:
        """The job, if it is the one that the app was asked for: whoever took the app over gets no other's keys."""
        job = _job(said)
        if self._job is None:
            self._job = job
        if job != self._job:
            raise Refused("a key agent serves one job", given=job.name, allowed=self._job.name)
        return job


def serve(channel: socket.socket, told: str) -> None:
    """Wait until the vault is to be unlocked, which is slow; then answer until the other side is gone."""
    with suppress(pipe.Ended):
        try:
            if pipe.receive(channel) != ["unlock"]:
                raise Refused("a key agent unlocks its vault first")
            with _unlocked(Custody.model_validate_json(told)) as vault:
                agent = Agent(vault)
                pipe.send(channel, agent.answer(["public"]))
                while True:
                    pipe.send(channel, agent.answer(pipe.receive(channel)))
        except FedcxrError as error:
            pipe.send(channel, [type(error).__name__, str(error)])


def hide(parent: int) -> None:
    """Before there is anything to hide: no core is dumped, no other process looks in, and none outlives its parent."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for option, value in ((PR_SET_DUMPABLE, 0), (PR_SET_PDEATHSIG, signal.SIGKILL)):
        if prctl(option, int(value), 0, 0, 0) != 0:
            raise Refused("the key agent cannot hide from other processes", do=os.strerror(ctypes.get_errno()))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # typed for the parent, with which we end
    if os.getppid() != parent:  # it ended before we could ask to be told
        raise SystemExit


def _unlocked(kept: Custody) -> Vault:
    with passphrase() as words:
        vault = Vault.unlock(kept.vault_folder, words, kept.budget, kept.journal_file)
    vault.read_journal()  # or else a film's budget is charged for what is refused at the end
    return vault


def _job(said: object) -> Job:
    match said:
        case [str(kind), str(run), str(part), str(digest)] if kind in KINDS:
            known: Any = kind
            return Job(known, run, part, digest)
    raise Refused("this is no job")


def _spending(said: object) -> Spending | None:
    try:
        return None if said is None else Spending.model_validate(said)
    except pydantic.ValidationError:
        raise Refused("this is nothing that learning can cost") from None


def _texts(said: object) -> list[str]:
    if not isinstance(said, list) or not all(isinstance(text, str) for text in said):
        raise Refused("these are no names of images")
    return said


if __name__ == "__main__":
    hide(int(sys.argv[2]))
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        serve(channel, sys.argv[3])

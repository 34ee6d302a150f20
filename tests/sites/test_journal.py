"""The journal of what has left: nothing is signed that is not entered, nothing that was entered is taken out."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgpack
import pytest
from asked import PEOPLE, SCENARIO, WORDS, Asked
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nodes import COORDINATOR, greeting, requested

from fedcxr import cli, wire
from fedcxr.errors import Refused
from fedcxr.keys.identity import Identity
from fedcxr.keys.keyring import Grant
from fedcxr.keys.provider import Job
from fedcxr.learning.spending import Spending
from fedcxr.release import Release
from sites.agency import unlocked_elsewhere
from sites.agent import Agent
from sites.budget import Budget, Privacy
from sites.chain import BEFORE_ALL, Entry
from sites.codes import Code
from sites.custody import Custody
from sites.journal import FILE, Head, Journal, read
from sites.passphrase import VARIABLE
from sites.vault import Cost, Vault

KEY = bytes(range(32))
FIRST = BEFORE_ALL.hex()
DIGEST = bytes(range(32))
IMAGES = ["patient-7-a", "patient-7-b"]
CODES = [Code.SCENARIO, Code.SOURCES, Code.METHOD, Code.FILE, Code.TASK]
FRIEND_KEYS = Identity.generate("charity")
FRIEND = FRIEND_KEYS.public
TURN = Spending(unit="patient", noise_multiplier=1.0, sample_rate=0.1, steps=20)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    words = tmp_path / "words"
    words.touch(mode=0o600)
    words.write_bytes(WORDS)
    monkeypatch.setenv(VARIABLE, str(words))
    Vault.create(tmp_path / "ring", "mercy", WORDS, Cost(log_n=4)).__exit__()
    return tmp_path / "ring"


@pytest.fixture
def vault(folder: Path) -> Iterator[Vault]:
    with Vault.unlock(folder, WORDS, Budget(releases=4, privacy=Privacy(epsilon=100.0, delta=1e-5))) as vault:
        yield vault


def entered(vault: Vault) -> list[Entry]:
    return list(vault.read_journal()[0].entries)


def told(vault: Vault) -> list[str]:
    return [entry.what for entry in entered(vault)]


# What is entered ------------------------------------------------------------------------------------------------------


def test_an_answer_is_entered_before_it_is_signed(vault: Vault) -> None:
    agent = Agent(vault)
    assert agent.answer(["say", "method", "noise"]) == ["ok", None]
    assert agent.answer(["begin", ["learn", "r", "3", "ab"], IMAGES, TURN.model_dump()])[0] == "ok"
    assert agent.answer(["sign", "answer", b"all of it"]) == [
        "Refused",
        "a key agent signs no answer that is not entered in the journal",
    ]
    assert agent.answer(["sign", "introduction", b"hello"])[0] == "ok"
    assert told(vault) == []
    assert agent.answer(["sign", "release", DIGEST])[0] == "ok"
    begun, signed = entered(vault)
    assert (begun.what, begun.facts["site"], len(begun.facts["journal"])) == ("begun", "mercy", 32)
    privacy = dict(signed.facts["privacy"])
    assert privacy.pop("epsilon") > 0
    assert privacy == {"unit": "patient", "delta": 1e-5}
    assert {**signed.facts, "privacy": None} == {
        "kind": "learn",
        "run": "r",
        "part": "3",
        "method": "noise",
        "digest": DIGEST.hex(),
        "films": 2,
        "most": 1,
        "allowed": 100,
        "privacy": None,
    }
    assert agent.answer(["sign", "answer", b"all of it"])[0] == "ok"
    assert agent.answer(["sign", "answer", b"more"])[0] == "Refused"


def test_what_cannot_be_entered_is_not_signed(vault: Vault, folder: Path) -> None:
    agent = Agent(vault)
    agent.answer(["refuse", Code.TASK])
    agent.answer(["begin", ["release", "r", "", "ab"], IMAGES])
    (folder / FILE).write_bytes((folder / FILE).read_bytes().replace(b"task", b"tusk"))
    kind, said = agent.answer(["sign", "release", DIGEST])
    assert (kind, str(said).split(";")[0]) == (
        "Refused",
        "the journal was altered at entry 2: this vault did not write it",
    )
    (folder / FILE).unlink()
    assert agent.answer(["sign", "release", DIGEST])[0] == "Refused"
    assert agent.answer(["refuse", Code.REFUSED])[0] == "Refused"
    assert agent.answer(["sign", "answer", b"x"])[0] == "ok"  # to the refusal that was entered in the beginning
    assert agent.answer(["sign", "answer", b"x"])[0] == "Refused"


@pytest.mark.parametrize(
    "question",
    [
        ["say", "patient", "Kowalczyk"],
        ["say", "method", "x" * 201],
        ["say", "method", "a\nb"],
        ["say", "method", 1],
        ["say", [], "x"],
        ["refuse", "because"],
        ["refuse", ["refused"]],
        ["refuse", "refused", "films/Kowalczyk.png:1"],
        ["sign", "release", b"short"],
    ],
    ids=str,
)
def test_an_app_writes_no_words_of_its_own(vault: Vault, question: list[object]) -> None:
    agent = Agent(vault)
    agent.answer(["begin", ["release", "r", "", "ab"], IMAGES])
    assert agent.answer(question)[0] == "Refused"
    assert told(vault) == []


def test_grants_and_revocations_are_entered_by_fingerprint(vault: Vault, folder: Path) -> None:
    vault.grant(Grant(FRIEND, images=tuple(IMAGES), releases=("spring",)))
    vault.grant(Grant(FRIEND))
    vault.revoke("charity")
    vault.revoke("charity")  # nothing happens
    vault.rotate()
    vault.grant(Grant(FRIEND))
    with pytest.raises(Refused, match="another fingerprint"):
        vault.grant(Grant(Identity.generate("charity").public))
    assert [(one.what, dict(one.facts)) for one in entered(vault)[1:4]] == [
        ("granted", {"recipient": FRIEND.fingerprint, "of": "list of 2", "runs": ["spring"]}),
        ("granted", {"recipient": FRIEND.fingerprint, "of": "all", "runs": []}),
        ("revoked", {"recipient": FRIEND.fingerprint}),
    ]
    assert told(vault)[4:] == ["granted"]
    assert b"patient-7" not in (folder / FILE).read_bytes()


def test_a_vault_of_before_begins_a_journal(vault: Vault, folder: Path) -> None:
    def earlier(packed: bytes) -> bytes:
        said = msgpack.unpackb(packed, use_list=False, strict_map_key=False)
        return bytes(msgpack.packb([3, *said[1:6]]))

    vault._box.change(earlier, lambda packed: None)
    with Vault.unlock(folder, WORDS) as opened:
        assert told(opened) == []
        opened.enter("refused", {"code": Code.TASK})
        assert told(opened) == ["begun", "refused"]


# What is found --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Head, bytes]:
    """A journal of six entries, what a vault knows of it, and its bytes."""
    path = tmp_path_factory.mktemp("journal") / "journal"
    head = None
    for code in CODES:
        head = Journal(path, KEY).append(head, "mercy", ("refused", {"code": code}))
    assert head is not None
    assert head.count == 6
    return path, head, path.read_bytes()


Written = tuple[Path, Head, bytes]


def found(written: Written, data: bytes) -> str:
    """What is said of these bytes in place of the journal."""
    path, head, whole = written
    path.write_bytes(data)
    try:
        Journal(path, KEY).check(head)
    except Refused as error:
        return str(error)
    finally:
        path.write_bytes(whole)
    return ""


def test_what_is_whole_is_not_refused(written: Written) -> None:
    assert found(written, written[2]) == ""


@given(place=st.integers(0, 1 << 20), bits=st.integers(1, 255))
def test_any_byte_that_is_changed_is_found(written: Written, place: int, bits: int) -> None:
    data = bytearray(written[2])
    place %= len(data)
    data[place] ^= bits
    number = written[2][:place].count(b"\n") + 1
    said = found(written, bytes(data))
    assert any(f"entry {n}" in said for n in (number, number + 1)), said  # a digest is held against the line before


@given(st.integers(0, 5), st.integers(0, 5))
def test_a_line_that_is_dropped_doubled_or_moved_is_found(written: Written, one: int, other: int) -> None:
    lines = written[2].splitlines(keepends=True)
    dropped = lines[:one] + lines[one + 1 :]
    assert f"entry {one + 1}" in found(written, b"".join(dropped))
    assert f"entry {one + 2}" in found(written, b"".join([*lines[: one + 1], *lines[one:]]))
    moved = [*dropped[:other], lines[one], *dropped[other:]]
    assert (f"entry {min(one, other) + 1}" in found(written, b"".join(moved))) == (one != other)


@given(st.integers(0, 1 << 20))
def test_an_end_that_is_cut_off_is_found(written: Written, place: int) -> None:
    kept = written[2][: place % len(written[2])]
    left = len(kept.splitlines()) - (not kept.endswith(b"\n")) if kept else 0
    assert f"too early: entry {left + 1} is missing" in found(written, kept)


LINES = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)
)
ALMOST = st.dictionaries(
    st.sampled_from(["number", "time", "what", "previous", "mac", "x"]), LINES | st.sampled_from([1, FIRST, ""])
).map(lambda some: json.dumps({"number": 1, "time": "", "what": "", "previous": FIRST, **some}).encode())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60) | st.lists(ALMOST | st.binary(max_size=9), max_size=3).map(b"\n".join))
def test_whatever_is_there_is_read_or_refused(written: Written, data: bytes) -> None:
    path, head, whole = written
    for checked in (data, data + b"\n", whole + data, whole + data + b"\n"):
        path.write_bytes(checked)
        with contextlib.suppress(Refused):
            Journal(path, KEY).check(head)
        with contextlib.suppress(Refused):
            read(path)
    path.write_bytes(whole)


@pytest.mark.parametrize("line", [b"[" * 9000, b'{"number":' + b"9" * 5000 + b"}", b"\xff", b"x" * 20_000])
def test_a_line_that_no_parser_likes_is_refused(written: Written, line: bytes) -> None:
    assert "entry 7: it is no entry" in found(written, written[2] + line + b"\n")


def forged(data: bytes, old: bytes, new: bytes) -> bytes:
    """The journal in which something else stands, with all digests as they should be: whoever reads it can do that."""
    lines, previous = [], FIRST
    for line in data.splitlines():
        said = json.loads(line.replace(old, new))
        text = json.dumps({**said, "previous": previous}, separators=(",", ":")).encode()
        previous = hashlib.sha256(text).hexdigest()
        lines.append(text + b"\n")
    return b"".join(lines)


def test_whoever_has_no_vault_writes_no_entry(written: Written) -> None:
    path, _, whole = written
    data = forged(whole, Code.METHOD.encode(), b"nothing much")
    path.write_bytes(data)
    assert len(read(path).entries) == 6  # the control: nobody without the vault's key can tell
    number = 2 + CODES.index(Code.METHOD)
    assert f"entry {number}: this vault did not write it" in found(written, data)
    one_more = whole + forged(whole, b"", b"").splitlines()[-1].replace(b'"number":6', b'"number":7') + b"\n"
    assert "entry 7" in found(written, one_more)
    other = path.with_name("other")
    Journal(other, KEY[::-1]).append(None, "mercy", ("refused", {"code": Code.TASK}))
    assert "entry 1: this vault did not write it" in found(written, other.read_bytes())
    again = path.with_name("again")  # of the same vault, as long as the right one
    begun = None
    for code in CODES:
        begun = Journal(again, KEY).append(begun, "mercy", ("refused", {"code": code}))
    assert "entry 6: it is not the entry that the vault knows" in found(written, again.read_bytes())


def test_neither_goes_back_alone_nor_together(vault: Vault, folder: Path, tmp_path: Path) -> None:
    vault.enter("refused", {"code": Code.TASK})
    shutil.copytree(folder, tmp_path / "copy")
    vault.enter("refused", {"code": Code.FILE})
    shutil.copy(tmp_path / "copy" / FILE, folder / FILE)
    with pytest.raises(Refused, match="ends too early: entry 3 is missing"):
        vault.read_journal()
    shutil.copy(tmp_path / "copy" / "vault", folder / "vault")
    with pytest.raises(Refused, match="this vault is an older copy"):
        vault.read_journal()


# Restored on purpose --------------------------------------------------------------------------------------------------


def test_a_restored_vault_learns_from_its_journal(vault: Vault, folder: Path, tmp_path: Path) -> None:
    vault.enter("refused", {"code": Code.TASK})
    shutil.copy(folder / "vault", tmp_path / "copy")
    vault.enter("refused", {"code": Code.FILE})
    shutil.copy(tmp_path / "copy", folder / "vault")
    with Vault.accept_restored(folder, WORDS) as restored:
        assert told(restored) == ["begun", "refused", "refused", "restored"]
        restored.enter("refused", {"code": Code.TASK})
        assert told(restored)[-1] == "refused"


def test_a_journal_that_does_not_fit_is_kept_aside_on_purpose(vault: Vault, folder: Path) -> None:
    vault.enter("refused", {"code": Code.TASK})
    (folder / FILE).write_bytes(b"?\n")
    with Vault.accept_restored(folder, WORDS) as restored:
        begun, said = entered(restored)
        assert (begun.what, said.what, said.facts["known"]["entries"]) == ("begun", "restored", 2)
    assert [path.read_bytes() for path in folder.glob("journal.*")] == [b"?\n"]


def test_a_journal_may_move(vault: Vault, folder: Path, tmp_path: Path) -> None:
    vault.enter("refused", {"code": Code.TASK})
    moved = tmp_path / "elsewhere" / "journal"
    with (
        Vault.unlock(folder, WORDS, journal=moved) as opened,
        pytest.raises(Refused, match=r"no journal here.*2 entries, last written to .*ring/journal; move it here"),
    ):
        opened.enter("refused", {"code": Code.TASK})
    moved.parent.mkdir()
    (folder / FILE).rename(moved)
    with Vault.unlock(folder, WORDS, journal=moved) as opened:
        opened.enter("refused", {"code": Code.FILE})
    vault.grant(Grant(FRIEND))  # by whoever does not say where
    assert told(vault) == ["begun", "refused", "refused", "granted"]


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_nobody_else_may_write_it_and_others_may_read(vault: Vault, folder: Path, mode: int) -> None:
    vault.enter("refused", {"code": Code.TASK})
    (folder / FILE).chmod(0o644)
    vault.enter("refused", {"code": Code.TASK})
    assert (folder / FILE).stat().st_mode & 0o777 == 0o644
    (folder / FILE).chmod(mode)
    with pytest.raises(Refused, match="others may write the journal"):
        vault.enter("refused", {"code": Code.TASK})


def test_what_a_full_disk_did_not_take_is_not_signed(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    agent = Agent(vault)
    agent.answer(["begin", ["release", "r", "", "ab"], IMAGES])
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        kind, said = agent.answer(["sign", "release", DIGEST])
    assert (kind, "the disk is full" in str(said)) == ("DiskFull", True)
    assert agent.answer(["sign", "answer", b"x"])[0] == "Refused"
    assert agent.answer(["refuse", Code.FAILED])[0] == "ok"
    assert told(vault) == ["begun", "signed", "void", "refused"]


def test_a_pipe_in_its_place_keeps_nobody_waiting(vault: Vault, folder: Path) -> None:
    os.mkfifo(folder / FILE)
    with pytest.raises(Refused, match="plain file"):
        vault.read_journal()
    with pytest.raises(Refused, match="plain file"):
        vault.enter("refused", {"code": Code.TASK})


# Kills, and two at once -----------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process is gone: nothing after this runs, also no tidying up."""


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_kill_leaves_an_entry_that_counts_or_one_that_is_void(
    folder: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    real, outcomes = getattr(os, call), set()
    for moment in range(100):
        steps = iter(range(100))

        def stepped(*arguments: object, moment: int = moment, steps: Iterator[int] = steps, **more: object) -> object:
            if next(steps) >= moment:  # and whatever is tried after it
                raise Killed
            return real(*arguments, **more)

        finished = True
        with Vault.unlock(folder, WORDS) as vault, monkeypatch.context() as patched:
            patched.setattr(os, call, stepped)
            try:
                vault.enter("signed", {"run": str(moment)})
            except Killed:
                finished = False
        with Vault.unlock(folder, WORDS) as again:
            reading, head = again.read_journal()
            count = 0 if head is None else head.count
            known = [one.facts["run"] for one in reading.entries[:count] if one.what == "signed"]
            ahead = reading.ahead(head)
            assert (str(moment) in known) or not finished
            assert not (ahead and finished)
            again.enter("refused", {"code": Code.REFUSED})
            after = entered(again)[len(reading.entries) :]
            if ahead:
                assert (after[0].what, after[0].facts["entries"]) == ("void", [ahead[0].number, ahead[-1].number])
            assert [one.what for one in after][-1:] == ["refused"]
            assert len(after) == 1 + bool(ahead) + (not reading.entries)
        outcomes.add((str(moment) in known, bool(ahead), finished))
        if finished:
            break
    assert {(False, True, False), (True, False, True)} <= outcomes


def test_a_line_that_a_kill_cut_off_is_removed(written: Written, tmp_path: Path) -> None:
    _, head, whole = written
    copy = tmp_path / "journal"
    copy.write_bytes(whole)
    copy.chmod(0o600)
    Journal(copy, KEY).append(head, "mercy", ("refused", {"code": Code.TASK}))
    line = copy.read_bytes()[len(whole) :]
    for length in range(len(line)):
        copy.write_bytes(whole + line[:length])
        assert Journal(copy, KEY).check(head).cut == length
        if length % 20 > 1:  # every write is synced, and takes its time
            continue
        after = Journal(copy, KEY).append(head, "mercy", ("refused", {"code": Code.FILE}))
        assert [one.what for one in read(copy, KEY).entries[6:]] == ["refused"]
        assert (after.count, Journal(copy, KEY).check(after).cut) == (7, 0)


def test_two_processes_do_not_fork_it(vault: Vault, folder: Path) -> None:
    def ask() -> None:
        with unlocked_elsewhere(Custody(vault=str(folder))) as keys:
            for _ in range(8):
                keys.refuse(Code.TASK)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told(vault) == ["begun", *["refused"] * 16]


def test_an_agent_of_a_damaged_journal_charges_nobody(vault: Vault, folder: Path) -> None:
    vault.enter("refused", {"code": Code.TASK})
    (folder / FILE).write_bytes(b"")
    with pytest.raises(Refused, match="ends too early"), unlocked_elsewhere(Custody(vault=str(folder))) as keys:
        keys.begin(Job("release", "r", digest="ab"), IMAGES)
    assert vault.tallies(IMAGES) == [(0, 0, 0)] * 2


# A node ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """One that has refused a contribution from outside, and that has answered."""
    folder = tmp_path_factory.mktemp("hospital")
    with Asked.started(folder) as asked, asked.allowing(journal=str(folder / "left" / "journal")):
        assert asked.answer(method="os:system").status == "refused"
        assert asked.answer(method={"name": "noise", "scale": 0.125}).status == "ok"
        yield asked


def test_a_node_enters_what_leaves_and_what_is_refused(hospital: Asked) -> None:
    journal = hospital.root.parent / "left" / "journal"
    before = len(read(journal).entries)
    answer = hospital.answer(method={"name": "noise", "scale": 0.5})
    assert answer.status == "ok"
    release = Release.from_bytes(answer.release)
    for asked in ({"method": "os:system"}, {"sites": {"charite": "own", "ukb": "phantom"}}):
        assert hospital.answer(**asked).status == "refused"
    stranger = requested(wire.Request("sites: {charite: own}", "charite"), by=FRIEND_KEYS)
    assert wire.unpack_answer(hospital.hears(stranger)).reason == Code.COORDINATOR
    hello = greeting(wire.Hello("run", bytes(32)))
    assert wire.unpack_introduction(hospital.hears(hello, wire.HELLO)).status == "ok"
    entered = read(journal).entries
    signed, *refused = entered[before:]
    assert entered[0].facts["site"] == "charite"
    assert signed.facts["digest"] == release.digest()
    assert (signed.facts["method"], signed.facts["films"]) == ("noise", answer.images)
    assert [one.facts["code"] for one in refused] == [Code.CONTRIBUTION, Code.SOURCES]
    assert {one.facts["coordinator"] for one in (signed, *refused)} == {COORDINATOR.public.fingerprint}
    secret = [*PEOPLE, "MRN-", ".png", str(hospital.root), "finding", "Effusion"]
    assert not [word for word in secret if word in journal.read_text()]


def test_a_node_whose_journal_was_cut_does_nothing_more(hospital: Asked) -> None:
    journal = hospital.root.parent / "left" / "journal"
    whole = journal.read_bytes()
    journal.write_bytes(whole[: whole.rstrip(b"\n").rfind(b"\n") + 1])
    answer = wire.unpack_answer(hospital.asked({**SCENARIO, "method": {"name": "noise", "scale": 0.25}}))
    assert (answer.status, answer.reason, answer.signature) == ("refused", Code.REFUSED, b"")
    journal.write_bytes(whole)
    assert hospital.answer(method={"name": "noise", "scale": 0.25}).status == "ok"


# For people -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def ledger(
    hospital: Asked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs a command of `fedcxr site ledger` for the hospital's profile."""

    def run(command: str, *options: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fedcxr", "site", "ledger", command, str(hospital.profile), *options])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def test_people_can_read_it(hospital: Asked, ledger: Callable[..., tuple[int, str, str]]) -> None:
    with Vault.unlock(hospital.root.parent / "vault", WORDS) as vault:
        for what, facts in (
            ("granted", {"recipient": FRIEND.fingerprint, "of": "all", "runs": []}),
            ("signed", {"kind": "learn", "run": "r" * 40, "part": "3", "films": 9, "most": 2, "allowed": 5}),
            ("void", {"entries": [3, 3]}),
        ):
            vault.enter(what, facts)
    code, shown, _ = ledger("show")
    assert code == 0
    assert max(map(len, shown.splitlines())) <= 80
    assert "release" in shown
    assert "refused   a contribution from outside" in shown
    assert f"granted to {FRIEND.fingerprint[:16]}: all of what is released from then on" in " ".join(shown.split())
    assert "9 films, 2 of 5" in " ".join(shown.split())
    entries = json.loads(ledger("show", "--format", "json")[1])["entries"]
    assert entries[0]["what"] == "begun"
    assert [one["number"] for one in entries] == list(range(1, len(entries) + 1))


def test_before_anything_has_left_that_is_what_is_shown(
    hospital: Asked, ledger: Callable[..., tuple[int, str, str]]
) -> None:
    """And an end that was taken away whole is left to `verify` as any other is."""
    journal = hospital.root.parent / "left" / "journal"
    journal.rename(journal.with_suffix(".away"))
    code, shown, _ = ledger("show")
    assert (code, "nothing has left yet, or it was taken away" in " ".join(shown.split())) == (0, True)
    assert json.loads(ledger("show", "--format", "json")[1])["entries"] == []
    assert ledger("verify", "--chain")[0] == 0
    code, _, said = ledger("verify")
    assert (code, "there is no journal here" in said) == (5, True)
    journal.with_suffix(".away").rename(journal)
    assert ledger("verify")[0] == 0


def test_verify_says_what_it_looked_at(
    hospital: Asked, ledger: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = hospital.root.parent / "left" / "journal"
    whole = journal.read_bytes()
    count = whole.count(b"\n")
    assert "none is missing at the end" in ledger("verify")[1]
    assert json.loads(ledger("verify", "--format", "json")[1]) == {
        "entries": count,
        "chain": True,
        "vault": True,
        "void": 0,
        "unfinished": False,
        "no_room": [],
    }
    cut = whole[: whole.rstrip(b"\n").rfind(b"\n") + 1]
    journal.write_bytes(cut)
    code, _, said = ledger("verify")
    assert (code, f"entry {count} is missing" in said) == (5, True)
    with monkeypatch.context() as nobody:
        nobody.delenv(VARIABLE)
        code, told, _ = ledger("verify", "--chain")
    assert code == 0
    assert "not checked, for the vault was not opened" in told
    journal.write_bytes(whole.replace(b'"what":"refused"', b'"what":"entered"', 1))
    for options in ([], ["--chain"]):
        code, _, said = ledger("verify", *options)
        assert (code, "was altered at entry" in said) == (5, True)
    assert ledger("show")[0] == 5
    journal.write_bytes(whole)
    assert ledger("verify")[0] == 0

"""The filter of system calls: its numbers are the kernel's, and its program says what its lists say."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcxr.fence import seccomp

MACHINES = tuple(seccomp.ARCHITECTURES)
PROCESS = 4321
HEADERS = {
    "x86_64": [Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), Path("/usr/include/asm/unistd_64.h")],
    "aarch64": [Path("/usr/include/asm-generic/unistd.h")],
}
WORDS = {seccomp.ALLOW: "allowed", seccomp.REFUSE: "refused", seccomp.MISSING: "absent", seccomp.KILL_PROCESS: "killed"}


def run(program: Sequence[seccomp.Instruction], architecture: int, number: int, arguments: Sequence[int]) -> str:
    """What the kernel would do: its interpreter for the few instructions that the filter uses."""
    data = struct.pack("=iIQ6Q", number, architecture, 0, *arguments)
    accumulator = at = 0
    while True:
        code, yes, no, constant = program[at]
        at += 1
        if code == seccomp.LOAD:
            [accumulator] = struct.unpack_from("=I", data, constant)
        elif code == seccomp.AND:
            accumulator &= constant
        elif code == seccomp.RETURN:
            return WORDS[constant]
        else:
            hit = {seccomp.JUMP_EQUAL: accumulator == constant, seccomp.JUMP_NOT_BELOW: accumulator >= constant}[code]
            at += yes if hit else no


def listed(machine: str) -> dict[str, int]:
    """Every call of the lists by name."""
    column = MACHINES.index(machine)
    calls = [*" ".join(seccomp.ALLOWED.values()).split(), *seccomp._checked_calls(PROCESS), *seccomp.ABSENT.split()]
    found = {call.split(":")[0]: call.split(":")[1 + column] for call in calls}
    assert len(found) == len(calls)  # none twice
    return {name: int(number) for name, number in found.items() if number != "-"}


def number_of(machine: str, name: str) -> int:
    return listed(machine)[name]


def says(machine: str, number: int, *arguments: int) -> str:
    padded = [*arguments, *[0] * (6 - len(arguments))]
    return run(seccomp.program(machine, PROCESS), seccomp.ARCHITECTURES[machine], number, padded)


@pytest.mark.parametrize("machine", MACHINES)
def test_numbers_are_the_kernels(machine: str) -> None:
    headers = [header for header in HEADERS[machine] if header.is_file()]
    if not headers:
        pytest.skip("the kernel's headers are not installed")
    defined = re.findall(r"#define __NR(?:3264)?_(\w+) (\d+)", headers[0].read_text())
    kernels = {name: int(number) for name, number in defined}
    kernels.setdefault("newfstatat", kernels.get("fstatat", -1))
    assert {name: kernels.get(name) for name in listed(machine)} == listed(machine)
    assert len(set(listed(machine).values())) == len(listed(machine))


@pytest.mark.parametrize("machine", MACHINES)
def test_a_program_ends_whatever_it_is_asked(machine: str) -> None:
    """As the kernel demands: at most 4096 steps, jumps forward and inside; the last step returns."""
    program = seccomp.program(machine, PROCESS)
    assert len(program) <= 4096
    assert program[-1][0] == seccomp.RETURN
    for at, (code, yes, no, constant) in enumerate(program):
        assert 0 <= constant < 2**32
        assert max(yes, no) < 256
        assert code == seccomp.RETURN or at + 1 + max(yes, no) < len(program)


@pytest.mark.parametrize("machine", MACHINES)
@given(number=st.integers(0, 600), arguments=st.lists(st.integers(0, 2**64 - 1), min_size=6, max_size=6))
def test_what_is_on_no_list_is_refused(machine: str, number: int, arguments: list[int]) -> None:
    outcome = says(machine, number, *arguments)
    if number > seccomp.NEWEST or number in {number_of(machine, name) for name in ("clone3", "openat2")}:
        assert outcome == "absent"
    elif number not in listed(machine).values():
        assert outcome == "refused"


@pytest.mark.parametrize("machine", MACHINES)
@given(
    number=st.integers(0, 2**31 - 1),
    architecture=st.integers(0, 2**32 - 1) | st.sampled_from([0x40000003, 0x40000028, *seccomp.ARCHITECTURES.values()]),
)
def test_another_architecture_kills(machine: str, number: int, architecture: int) -> None:
    program = seccomp.program(machine, PROCESS)
    outcome = run(program, architecture, number, [0] * 6)
    foreign = architecture != seccomp.ARCHITECTURES[machine] or number >= seccomp.X32
    assert (outcome == "killed") == foreign


@pytest.mark.parametrize("machine", MACHINES)
@given(high=st.integers(0, 2**32 - 1), value=st.integers(0, 2**32 - 1))
def test_only_the_half_that_the_kernel_reads_counts(machine: str, high: int, value: int) -> None:
    """The kernel takes an int and ignores what stands above it; so must the filter."""
    whole = high << 32 | value
    assert (says(machine, number_of(machine, "kill"), whole, 9) == "allowed") == (value == PROCESS)
    assert (says(machine, number_of(machine, "prlimit64"), whole) == "allowed") == (value == 0)
    assert (says(machine, number_of(machine, "ioctl"), 0, high << 32 | 0x5412)) == "refused"  # TIOCSTI
    assert (says(machine, number_of(machine, "ioctl"), 0, high << 32 | 0x541C)) == "refused"  # TIOCLINUX


@pytest.mark.parametrize("machine", MACHINES)
@given(flags=st.integers(0, 2**32 - 1) | st.sampled_from([0x3D0F00, 0x7D0F00, 17, 0x11, 0x3D0B00]))
def test_clone_makes_threads_and_nothing_else(machine: str, flags: int) -> None:
    allowed = says(machine, number_of(machine, "clone"), flags) == "allowed"
    assert allowed == (flags & 0x10F00 == 0x10F00 and flags & ~0x7D0F00 == 0)
    if allowed:
        assert not flags & (0x7E020000 | 0x80 | 0x4000)  # namespaces, those of time and of vfork()


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("command", "outcome"),
    [
        (0x5401, "allowed"),  # TCGETS: is it a terminal
        (0x541B, "allowed"),  # FIONREAD
        (0xC00846D6, "allowed"),  # NVIDIA's control
        (0x30000001, "allowed"),  # start of unified memory
        (37, "allowed"),  # unified memory: register a card
        (0xC0106409, "allowed"),  # DRM
        (0xC0104B02, "allowed"),  # AMD: make a queue
        (0x641E, "refused"),  # DRM_IOCTL_SET_MASTER
        (0x4B3A, "refused"),  # KDSETMODE of the console
        (0x40086602, "refused"),  # FS_IOC_SETFLAGS
        (0x5423, "refused"),  # TIOCSETD
        (0x8901, "refused"),  # FIOSETOWN
        (0x40049409, "refused"),  # FICLONE
    ],
)
def test_ioctl_reaches_cards_and_asks_about_terminals(machine: str, command: int, outcome: str) -> None:
    assert says(machine, number_of(machine, "ioctl"), 0, command) == outcome


@pytest.mark.parametrize("machine", MACHINES)
def test_files_are_opened_as_they_are(machine: str) -> None:
    opens = number_of(machine, "openat")
    assert says(machine, opens, 0, 0, 0o101, 0o666) == "allowed"
    assert says(machine, opens, 0, 0, 0, 0o7777) == "allowed"  # not made, so the mode says nothing
    assert says(machine, opens, 0, 0, 0o101, 0o4755) == "refused"
    assert says(machine, opens, 0, 0, 0o101, 0o2755) == "refused"
    assert says(machine, opens, 0, 0, 0x410002, 0o600) == "refused"  # O_TMPFILE

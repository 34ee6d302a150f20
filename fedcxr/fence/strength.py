"""How well this machine can fence a process in, before it does: in words, and whether that is the whole fence."""

from __future__ import annotations

from fedcxr.fence import landlock, seccomp

NEEDED = f"Linux with Landlock interface {landlock.WHOLE} (6.2) and seccomp, on x86-64 or aarch64"


def strength() -> tuple[str, bool]:
    """In words, and whether it is all that a fence takes."""
    interface, filtered = max(landlock.version(), 0), seccomp.supported()
    said = f"Landlock {interface}, {'a' if filtered else 'no'} filter of system calls"
    return said, interface >= landlock.WHOLE and filtered

"""System calls: a filter in the kernel lets this process make those that computing needs, and no others.

A list of what is allowed and not of what is forbidden: Linux has some 380 calls and gets more each year, each of them
a way to change what the fence does not cover (owners, modes and times of files, keys, shared memory, other processes,
sockets, namespaces), while what Python, NumPy and PyTorch call to compute hardly changes. The list was read off runs of
training, of scikit-learn, memory maps and threads, and completed with what libc may use in their place; the drivers of
graphics cards go through `ioctl` and `mmap`. A call that is missing from it fails with EPERM, which Python shows as
PermissionError; `clone3` and `openat2` and calls newer than this list look absent (ENOSYS), so that libc takes the
older one, whose arguments a filter can read. Calls of another architecture (32 bits, x32) kill the process.

There is no call here that makes a second process: no fork, no exec. So nothing is left behind when this one is killed,
and nothing slips out of its session, its limits or sight. What is not covered: a filter sees no paths (`server.tree`
and `fedcxr.fence.landlock` do), the drivers of graphics cards are reached as they are, and speculative and timing
channels stay.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fedcxr.fence import kernel

# Numbers as `name:x86-64:aarch64`, from the kernel's asm/unistd_64.h and asm-generic/unistd.h; - where it has none.
ALLOWED = {
    "files that are open": """
        read:0:63 write:1:64 close:3:57 fstat:5:80 lseek:8:62 pread64:17:67 pwrite64:18:68 readv:19:65 writev:20:66
        preadv:295:69 pwritev:296:70 preadv2:327:286 pwritev2:328:287 dup:32:23 dup2:33:- dup3:292:24 sendfile:40:71
        copy_file_range:326:285 fsync:74:82 fdatasync:75:83 sync_file_range:277:84 fallocate:285:47 ftruncate:77:46
        fadvise64:221:223 readahead:187:213 getdents:78:- getdents64:217:61 fstatfs:138:44""",
    "files by path, which Landlock judges": """
        stat:4:- lstat:6:- newfstatat:262:79 statx:332:291 statfs:137:43 access:21:- faccessat:269:48
        faccessat2:439:439 readlink:89:- readlinkat:267:78 getcwd:79:17 chdir:80:49 fchdir:81:50 truncate:76:45
        rename:82:- renameat:264:38 unlink:87:- unlinkat:263:35 rmdir:84:- umask:95:166""",
    "memory": """
        mmap:9:222 munmap:11:215 mprotect:10:226 mremap:25:216 msync:26:227 mincore:27:232 madvise:28:233 brk:12:214
        mlock:149:228 mlock2:325:284 munlock:150:229 mbind:237:235 set_mempolicy:238:237 get_mempolicy:239:236
        membarrier:324:283""",
    "threads and signals of its own": """
        futex:202:98 futex_waitv:449:449 set_robust_list:273:99 rseq:334:293 set_tid_address:218:96 exit:60:93
        exit_group:231:94 restart_syscall:219:128 arch_prctl:158:- sched_yield:24:124 rt_sigaction:13:134
        rt_sigprocmask:14:135 rt_sigreturn:15:139 rt_sigpending:127:136 rt_sigtimedwait:128:137
        rt_sigsuspend:130:133 sigaltstack:131:132 pause:34:- wait4:61:260 waitid:247:95""",
    "waiting and clocks": """
        poll:7:- ppoll:271:73 select:23:- pselect6:270:72 epoll_create:213:- epoll_create1:291:20 epoll_ctl:233:21
        epoll_wait:232:- epoll_pwait:281:22 epoll_pwait2:441:441 pipe:22:- pipe2:293:59 eventfd:284:- eventfd2:290:19
        signalfd:282:- signalfd4:289:74 timerfd_create:283:85 timerfd_settime:286:86 timerfd_gettime:287:87
        nanosleep:35:101 clock_nanosleep:230:115 clock_gettime:228:113 clock_getres:229:114 gettimeofday:96:169
        time:201:- times:100:153 alarm:37:- getitimer:36:102 setitimer:38:103 timer_create:222:107
        timer_settime:223:110 timer_gettime:224:108 timer_getoverrun:225:109 timer_delete:226:111""",
    "questions about itself and the machine": """
        getpid:39:172 gettid:186:178 getppid:110:173 getpgrp:111:- getpgid:121:155 getsid:124:156 getuid:102:174
        geteuid:107:175 getgid:104:176 getegid:108:177 getresuid:118:148 getresgid:120:150 getgroups:115:158
        capget:125:90 getrlimit:97:163 getrusage:98:165 getpriority:140:141 sched_getaffinity:204:123
        sched_getscheduler:145:120 sched_getparam:143:121 sched_getattr:315:275 sched_get_priority_max:146:125
        sched_get_priority_min:147:126 sched_rr_get_interval:148:127 getcpu:309:168 getrandom:318:278 uname:63:160
        sysinfo:99:179""",
}
ABSENT = "clone3:435:435 openat2:437:437"  # what they are to do lies in memory, where a filter cannot look
NEWEST = 462  # the last call that was looked at for the lists above


@dataclass(frozen=True)
class Is:
    """One argument, as far as the mask looks, is one of these values; only its lower half counts, as in the kernel."""

    argument: int
    values: tuple[int, ...]
    mask: int = 0xFFFFFFFF


OPEN_CREATES, UNNAMED_FILE = 0o100, 0x400000  # O_CREAT; the bit of O_TMPFILE: such a file is in no folder to be counted
SET_ID = 0o6000  # modes that lend their owner's rights to whoever starts the file
# What pthread_create() asks clone() for, with glibc and with musl: one more thread of this process, which shares its
# memory, files and signals (or it had files that nobody sees), and nothing new.
THREAD, SHARING = 0x7D0F00, 0x10F00

FCNTL = (
    0, 1, 2, 3, 4, 1030,  # copy a descriptor, its flags
    1031, 1032, 1033, 1034,  # size of a pipe, seals; none that locks, leases, watches or signals
)  # fmt: skip
IOCTL = (
    0x5401, 0x802C542A, 0x5413,  # is it a terminal, of which size; none that types into it (TIOCSTI, TIOCLINUX)
    0x541B, 0x5421, 0x5450, 0x5451,  # how much is there to read; non-blocking; close on exec
)  # fmt: skip
# The drivers of graphics cards: NVIDIA's (F), DRM (d) and AMD's (K), all with a direction, which excludes the console's
# calls of the same letter; and NVIDIA's unified memory, which numbers its calls without letters.
DRIVERS = tuple(way << 30 | ord(letter) << 8 for way in (1, 2, 3) for letter in "FdK")
UNIFIED_MEMORY = (0, 0x30000000)
PRCTL = (
    2, 3, 21, 23, 27, 30, 39, 42, 51, 56,  # questions
    15, 16, 0x53564D41,  # the name of a thread, of a piece of memory
)  # fmt: skip

# All clauses hold, each by one of its alternatives.
Clauses = tuple[tuple[Is, ...], ...]
NOTHING: Mapping[str, Clauses] = {}
# To talk by sockets that a process was given, and to make, connect or bind none of its own; and to lock what it opened.
GIVEN_SOCKETS: Mapping[str, Clauses] = {
    "sendto:44:206": ((Is(3, (0,), 0x20000000),),),  # MSG_FASTOPEN connects on the way
    "sendmsg:46:211": ((Is(2, (0,), 0x20000000),),),
    "recvfrom:45:207": (),
    "recvmsg:47:212": (),
    "getsockopt:55:209": (),
    "setsockopt:54:208": (),
    "getsockname:51:204": (),
    "getpeername:52:205": (),
    "shutdown:48:210": (),
}
FILES_OF_ITS_OWN: Mapping[str, Clauses] = {"flock:73:32": (), "fchmod:91:52": ((Is(1, (0,), SET_ID),),)}


def _opens(flags: int) -> Clauses:
    """No file without a name, and none that lends its owner's rights."""
    named = Is(flags, (0,), UNNAMED_FILE)
    return (named,), (Is(flags, (0,), OPEN_CREATES), Is(flags + 1, (0,), SET_ID))


def _checked_calls(process: int) -> Mapping[str, Clauses]:
    """Calls that are allowed with some arguments only."""
    return {
        "open:2:-": _opens(1),
        "openat:257:56": _opens(2),
        "creat:85:-": ((Is(1, (0,), SET_ID),),),
        "mkdir:83:-": ((Is(1, (0,), SET_ID),),),
        "mkdirat:258:34": ((Is(2, (0,), SET_ID),),),
        "renameat2:316:276": ((Is(4, (0, 1)),),),  # RENAME_WHITEOUT makes a device
        "clone:56:220": ((Is(0, (0,), ~THREAD & 0xFFFFFFFF),), (Is(0, (SHARING,), SHARING),)),
        "close_range:436:436": ((Is(2, (0, 4)),),),  # 2 were a table of files that nobody sees
        "kill:62:129": ((Is(0, (process,)),),),
        "tgkill:234:131": ((Is(0, (process,)),),),
        "prlimit64:302:261": ((Is(0, (0,)),),),  # others have limits too, and the same user may change them
        "sched_setaffinity:203:122": ((Is(0, (0,)),),),
        "fcntl:72:25": ((Is(1, FCNTL),),),
        "prctl:157:167": ((Is(0, PRCTL),),),
        "ioctl:16:29": (
            (Is(1, IOCTL), Is(1, DRIVERS, 0xC000FF00), Is(1, UNIFIED_MEMORY, 0xFFFFFF00)),
        ),
    }  # fmt: skip


# Classic BPF, from linux/bpf_common.h and linux/seccomp.h.
LOAD, AND, RETURN, JUMP_EQUAL, JUMP_NOT_BELOW = 0x20, 0x54, 0x06, 0x15, 0x35
NUMBER_AT, ARCHITECTURE_AT, ARGUMENTS_AT = 0, 4, 16  # offsets in struct seccomp_data
ALLOW, KILL_PROCESS, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
REFUSE, MISSING = ERRNO | errno.EPERM, ERRNO | 38  # ENOSYS, as Linux numbers it
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # linux/audit.h
X32 = 0x40000000  # calls of x86-64's third way to call, in the numbers of the first

SET_MODE_FILTER = 1
SECCOMP = {"x86_64": 317, "aarch64": 277}

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, constant


def program(machine: str, process: int, more: Mapping[str, Clauses] = NOTHING) -> list[Instruction]:
    """The filter for one kind of machine and the process with this number, which may make `more` calls than usual."""
    column = list(ARCHITECTURES).index(machine)
    code: list[Instruction] = [
        (LOAD, 0, 0, ARCHITECTURE_AT),
        (JUMP_EQUAL, 1, 0, ARCHITECTURES[machine]),
        (RETURN, 0, 0, KILL_PROCESS),
        (LOAD, 0, 0, NUMBER_AT),
        (JUMP_NOT_BELOW, 0, 1, X32),
        (RETURN, 0, 0, KILL_PROCESS),
        (JUMP_NOT_BELOW, 0, 1, NEWEST + 1),
        (RETURN, 0, 0, MISSING),
    ]
    for calls, answer in ((" ".join(ALLOWED.values()), ALLOW), (ABSENT, MISSING)):
        for number in _numbers(calls.split(), column):
            code += [(JUMP_EQUAL, 0, 1, number), (RETURN, 0, 0, answer)]
    for call, clauses in (*_checked_calls(process).items(), *more.items()):
        for number in _numbers([call], column):
            body = [step for clause in clauses for step in _clause(clause)] + [(RETURN, 0, 0, ALLOW)]
            code += [(JUMP_EQUAL, 0, len(body), number), *body]
    return [*code, (RETURN, 0, 0, REFUSE)]


def _numbers(calls: Sequence[str], column: int) -> Iterator[int]:
    for call in calls:
        number = call.split(":")[1 + column]
        if number != "-":
            yield int(number)


def _clause(alternatives: Sequence[Is]) -> list[Instruction]:
    """Refuse unless one holds; built from its end, which every hit jumps to."""
    code: list[Instruction] = [(RETURN, 0, 0, REFUSE)]
    for one in reversed(alternatives):
        for value in reversed(one.values):
            code.insert(0, (JUMP_EQUAL, len(code), 0, value))
        code.insert(0, (AND, 0, 0, one.mask))
        code.insert(0, (LOAD, 0, 0, ARGUMENTS_AT + 8 * one.argument))
    return code


def supported() -> bool:
    """Whether there is a filter for this machine, and a kernel that takes one."""
    if sys.platform != "linux" or platform.machine() not in ARCHITECTURES or sys.maxsize < 2**32:
        return False
    # Without a filter to read: EFAULT where filters are known, EINVAL where they are not.
    kernel.call(SECCOMP[platform.machine()], SET_MODE_FILTER, 0, None)
    return ctypes.get_errno() == errno.EFAULT


def restrict(more: Mapping[str, Clauses] = NOTHING) -> None:
    """From here on, this process makes no other calls, nor do threads that it starts. Needs no-new-privileges."""
    machine = platform.machine()
    code = b"".join(struct.pack("=HBBI", *step) for step in program(machine, os.getpid(), more))
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HxxxxxxQ", len(code) // 8, ctypes.addressof(buffer))
    kernel.checked(kernel.call(SECCOMP[machine], SET_MODE_FILTER, 0, header))

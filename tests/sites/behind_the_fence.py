"""A hospital's app as its launcher starts it, in a process of its own, asked one thing.

`PROFILE fenced|missing|open PORT KIND DOCUMENT`; prints what the coordinator is answered. `missing` is a kernel without
Landlock, `open` is what would be without a fence.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import sys

from fedcxr.fence import landlock
from sites import doorway
from sites.enclosure import Enclosure

profile, how, port, kind, document = sys.argv[1:]
enclosure = Enclosure.of(profile)
ours, theirs = socket.socketpair()
place = enclosure.scratch()
if (app := os.fork()) != 0:
    theirs.close()
    enclosure.left()
    doorway.serve(ours, int(port), app, os.getppid())
    raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(app, 0)[1]))
ours.close()
os.environ["TMPDIR"] = str(place)
before = resource.getrusage(resource.RUSAGE_SELF)
if how == "missing":
    landlock.version = lambda: -1
if how != "open":
    enclosure = enclosure.entered(theirs.fileno())
    socket.create_connection = doorway.Doorway(theirs).connect
after = resource.getrusage(resource.RUSAGE_SELF)

from flwr.app import Context, Message, RecordDict  # noqa: E402
from flwr.supercore.task_identity import TaskIdentity  # noqa: E402
from nodes import requested  # noqa: E402

from fedcxr import wire  # noqa: E402

TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1
content = requested(wire.Request(document, "charite", nonce=b"nonce"), kind)
message = Message(content, dst_node_id=1, message_type=kind)
reply = enclosure.client_app()(message, Context(1, 1, {}, RecordDict(), {}))
answer = wire.unpack_answer(reply.content)
spent = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3
said = {"status": answer.status, "reason": answer.reason, "bytes": len(answer.release), "fence_ms": spent}
sys.stdout.write(json.dumps(said) + "\n")

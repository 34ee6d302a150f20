"""A cluster that somebody else started: real films go to one that sends strangers away, and to no other."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fedcxr.errors import ConfigError, Refused
from fedcxr.scenario import Scenario
from server import cluster
from server.cluster import Cluster, check_own_process, joined
from server.simulate import Options, simulate

grpc: Any = importlib.import_module("grpc")  # it has no types of its own

REAL = {"cohort": {"source": "nih", "root": "/films"}, "sites": 2, "tasks": {}, "adversaries": {}}
RENDERED = {"sites": 2, "tasks": {}, "adversaries": {}}


@contextmanager
def listening(status: Any) -> Iterator[str]:
    """Somebody who answers every stranger in the same way; where they listen."""

    def answer(request: bytes, context: Any) -> bytes:
        if status is not None:
            context.abort(status, "as it is")
        return b""

    class Everything(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, details: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.server(ThreadPoolExecutor(1), handlers=[Everything()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None)


@pytest.fixture(params=["RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "home"])
def token(request: pytest.FixtureRequest, no_token: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token, in each place where Ray looks for one."""
    file = tmp_path / ".ray" / "auth_token"
    file.parent.mkdir()
    file.write_text("a" * 64)
    if request.param != "home":
        monkeypatch.setenv(request.param, str(file))
        monkeypatch.setenv("HOME", "/nowhere")


@pytest.fixture
def no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.usefixtures("token")
def test_a_cluster_that_sends_strangers_away_is_joined_with_the_token() -> None:
    with listening(grpc.StatusCode.UNAUTHENTICATED) as address:
        assert joined(Scenario.parse(REAL), address) == {"RAY_AUTH_MODE": "token"}


@pytest.mark.usefixtures("token")
@pytest.mark.parametrize("status", [None, grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INTERNAL])
def test_a_token_does_not_help_where_nobody_asks_for_it(status: Any) -> None:
    with listening(status) as address, pytest.raises(Refused, match="open to everybody"):
        joined(Scenario.parse(REAL), address)


@pytest.mark.usefixtures("no_token")
def test_without_a_token_real_films_are_refused_and_rendered_ones_warned_about(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with listening(None) as address:
        with pytest.raises(Refused, match="there is no token") as refusal:
            joined(Scenario.parse(REAL), address)
        assert refusal.value.exit_code == 5
        assert joined(Scenario.parse(RENDERED), address) == {}
    told = capsys.readouterr().err
    assert "can run code as you" in told
    assert "there is no token" in told


@pytest.mark.parametrize("address", ["nowhere.invalid:1", "127.0.0.1:1", "[::1]:1"])
def test_where_nobody_answers_is_said_within_seconds(address: str) -> None:
    with pytest.raises(ConfigError, match="no Ray cluster answers") as refusal:
        joined(Scenario.parse(RENDERED), address)
    assert address in str(refusal.value)


@pytest.mark.parametrize("address", ["nowhere", "nowhere:", ":1", "nowhere:http", "nowhere:65536", "nowhere:²"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        joined(Scenario.parse(RENDERED), address)


def test_a_machine_without_loopback_is_told_so_before_ray_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "HERE", "192.0.2.1")  # an address that no machine has
    with pytest.raises(ConfigError, match="loopback") as refusal:
        simulate(Scenario.parse(RENDERED), Options(tmp_path / "runs", "ray"))
    assert "--engine inline" in str(refusal.value)
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("no_token")
def test_a_command_is_refused_before_a_film_is_opened(tmp_path: Path) -> None:
    mixed = {**RENDERED, "sites": {"a": "phantom", "b": {"source": "folder", "root": str(tmp_path)}}}
    (tmp_path / "metadata.csv").touch()
    with listening(None) as address, pytest.raises(Refused, match="asks for no token"):
        simulate(Scenario.parse(mixed), Options(tmp_path / "runs", "ray", ray_address=address))
    assert not (tmp_path / "runs").exists()


def test_flowers_own_runtime_must_ask_for_a_token_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cluster.MODE, raising=False)
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    check_own_process(Scenario.parse(REAL))  # a grid without Ray
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    with pytest.raises(Refused, match="RAY_AUTH_MODE is not set"):
        check_own_process(Scenario.parse(REAL))
    check_own_process(Scenario.parse(RENDERED))
    monkeypatch.setenv(cluster.MODE, "token")
    check_own_process(Scenario.parse(REAL))


def test_a_run_of_ours_takes_no_token_but_its_own() -> None:
    with Cluster.of(None, {}) as ours, Cluster.of(None, {}) as others:
        around = ours.around({"RAY_AUTH_TOKEN": "everybody's", "PATH": "/bin", cluster.MODE: "disabled"})
        assert "RAY_AUTH_TOKEN" not in around
        assert around[cluster.MODE] == "token"
        token = Path(around[cluster.TOKEN_PATH])
        assert token.stat().st_mode & 0o777 == 0o600
        assert token.parent.stat().st_mode & 0o777 == 0o700
        assert token.read_text() != Path(others.around({})[cluster.TOKEN_PATH]).read_text()
        assert len(token.read_text()) == 64
    assert not token.exists()


def test_what_others_left_is_not_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They could have built it so deep that removing it fails: then nobody on the machine could run anything."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    theirs, ours = (tmp_path / f"{cluster.SCRATCH}{2**22 + n}-x" for n in (1, 2))  # of processes that cannot be
    for folder in (theirs, ours):
        folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root can play another user")
    os.chown(theirs, 65534, 65534)
    with Cluster.of(None, {}):
        assert theirs.exists()
        assert not ours.exists()

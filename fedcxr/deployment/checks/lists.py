"""What is looked at for whom: a site's kit, the server's, or a machine without any."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

from fedcxr.data import cache_folder
from fedcxr.deployment import kit
from fedcxr.deployment.checks import coordinator, credentials, machine, ports, software
from fedcxr.deployment.checks.check import Check, Outcome, fine
from fedcxr.deployment.checks.gate import Gate
from fedcxr.deployment.checks.hospital import Hospital

SITE_KEYS, SERVER_KEYS = (kit.TLS_KEY, kit.NODE_KEY), (kit.SERVER_KEY, kit.IDENTITY)


def of_site(folder: Path, told: kit.SiteKit, hospital: Hospital, device: str, now: datetime) -> Iterator[Check]:
    """Before `fedcxr site start`."""
    gate = Gate(folder, told)
    yield Check("kit", partial(_site_kit, folder))
    yield Check("private", partial(credentials.private_files, folder, SITE_KEYS, "run fedcxr site request here"))
    yield Check("certificate", partial(credentials.site_certificate, folder, now), ("kit", "private"))
    yield Check("name", gate.name)
    yield Check("port", gate.port, ("name",))
    yield Check("server", gate.tls, ("port",))
    yield Check("gate", gate.admitted, ("server", "certificate"))
    yield Check("superlink", gate.superlink, ("gate",))
    yield Check("clock", gate.clock, ("server",))
    yield Check("versions", partial(software.versions, folder))
    yield Check("runtime", partial(ports.runtime_port, folder, told.runtime_port))
    yield Check(
        "flower",
        partial(
            software.replaced,
            "sites.launcher",
            "flwr.supernode.runtime.run_clientapp",
            {"flwr.supernode.fleet_http_connection": "FleetHttpClient"},
            ("flower-superexec",),
        ),
    )
    yield Check("profile", hospital.policy)
    yield Check("fence", hospital.fence, ("profile",))
    yield Check("films", hospital.films, ("profile",))
    yield Check("vault", hospital.vault)
    yield from _everywhere(told.host, device, cache_folder(), folder / kit.RUN)


def of_server(folder: Path, told: kit.ServerKit, device: str, now: datetime) -> Iterator[Check]:
    """Before `fedcxr server start`."""
    again = "copy the server's kit again, with its private/"
    yield Check("kit", partial(_server_kit, folder))
    yield Check("private", partial(credentials.private_files, folder, SERVER_KEYS, again))
    yield Check("certificate", partial(credentials.server_certificate, folder, told, now), ("kit", "private"))
    yield Check("identity", partial(credentials.identity, folder), ("private",))
    yield Check("revoked", partial(credentials.revocations, folder, now))
    yield Check("sites", partial(coordinator.sites, folder, told, now))
    yield Check("nginx", partial(coordinator.gate, folder), ("private",))
    yield Check("gate", partial(ports.served, folder, ports.EVERYWHERE, told.port, "port"))
    yield Check("superlink", partial(ports.served, folder, ports.HERE, told.superlink_port, "superlink_port"))
    yield Check("versions", partial(software.versions, folder))
    programs = ("flower-superlink", "flower-superexec")
    yield Check(
        "flower", partial(software.replaced, "server.launcher", "flwr.superlink.runtime.run_serverapp", {}, programs)
    )
    yield Check("fence", partial(machine.fence, "no hospital is attacked, but simulations here may be"))
    yield from _everywhere("", device, cache_folder(), folder / kit.RUN)


def of_machine(device: str) -> Iterator[Check]:
    """For one machine without a kit."""
    yield Check("python", software.python)
    yield Check("libraries", software.libraries)
    yield Check("extras", software.extras)
    yield Check("nginx", coordinator.programs)
    yield Check("loopback", machine.loopback)
    yield Check("fence", machine.fence)
    yield Check("shared", machine.shared_memory)
    yield Check("artefacts", _artefacts)
    yield from _everywhere("", device, cache_folder())


def _everywhere(host: str, device: str, *folders: Path) -> Iterator[Check]:
    yield Check("device", partial(machine.card, device))
    yield Check("disk", partial(machine.disk, *folders))
    yield Check("memory", machine.memory)
    yield Check("environment", partial(machine.environment, host))
    yield Check("setpriv", software.setpriv)


def _site_kit(folder: Path) -> Outcome:
    told = kit.read_site(folder)
    return fine(f"{told.site}'s of {told.consortium}, whole")


def _server_kit(folder: Path) -> Outcome:
    told = kit.read_server(folder)
    return fine(f"the server's of {told.consortium}, whole")


def _artefacts() -> Outcome:
    from fedcxr.storage.artefacts import Artefacts

    store = Artefacts.below(cache_folder())
    entries = store.entries()
    return fine(f"{len(entries)}, {sum(entry.size for entry in entries) / 1e6:.0f} MB, in {store.folder}")

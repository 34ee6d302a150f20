"""Hospitals with vaults: their own grants count, the server believes cards alone, and no key is ever on the way."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from canary import leaks
from flwr.app import Message
from liars import Liars
from nodes import OWN, card_in, permissive

import sites.app
from fedcxr import wire
from fedcxr.data import cache_folder
from fedcxr.errors import TooFewSites
from fedcxr.keys.identity import Identity
from fedcxr.keys.keyring import Grant, Keyring
from fedcxr.keys.provider import signed
from fedcxr.keys.stream import generator
from fedcxr.methods import RunContext
from fedcxr.methods.noise import Noise
from fedcxr.methods.sca import Sca
from fedcxr.protocol import job_of
from fedcxr.reading import Recipient
from fedcxr.release import Release
from fedcxr.rng import stream
from fedcxr.runs import Run
from fedcxr.scenario import Scenario
from fedcxr.simulation.experiment import Experiment
from fedcxr.simulation.keys import Simulated, simulated_identity
from fedcxr.view import Shared
from server.collect import collect
from server.inline import InlineGrid
from server.register import Register
from sites.passphrase import VARIABLE
from sites.vault import Cost, Vault

WORDS = b"correct horse battery staple"
SITES = ("site-1", "site-2", "site-3")
SERVER = Identity.generate("server")


FILMS = [{"source": "phantom", "patients": 20, "size": 32, "seed": seed} for seed in range(len(SITES))]


def scenario(method: Any = "sca", **changes: Any) -> Scenario:
    """For hospitals, which have films of their own."""
    rest = {"tasks": {}, "adversaries": {}, "compute": {"device": "cpu", "precision": "fp32", "timeout_s": 60.0}}
    return Scenario.parse({"sites": OWN, "method": method, **rest, **changes})


def simulation(method: Any = "sca", **changes: Any) -> Scenario:
    """The same of simulated hospitals, with the same films."""
    return scenario(method, sites=FILMS, **changes)


class Tapped(InlineGrid):
    """An engine whose every message is overheard, and whose nodes have profiles or else are simulated."""

    def __init__(self, profiles: Sequence[Path] = ()) -> None:
        super().__init__(sites.app.app, len(SITES), workers=2)
        self.heard: list[bytes] = []
        for context, profile in zip(self._contexts.values(), profiles or (None,) * len(SITES), strict=True):
            context.node_config |= {"simulation": True} if profile is None else {"profile": str(profile)}

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        sent = list(messages)
        self.heard += [_bytes(message) for message in sent]
        return super().push_messages(sent)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        received = list(super().pull_messages(message_ids))
        self.heard += [_bytes(message) for message in received]
        return received


def _bytes(message: Message) -> bytes:
    """All of a message, its arrays also as they are before they are compressed."""
    content, raw = message.content, repr(message).encode()
    for record in content.array_records.values():
        for array in record.values():
            raw += array.data
            if array.data.startswith(b"FCXR"):
                release = Release.from_bytes(array.data)
                raw += b"".join(a.tobytes() for a in release.arrays.values()) + repr(release.facts).encode()
    return raw + b"".join(repr(dict(record)).encode() for record in content.config_records.values())


@contextlib.contextmanager
def begun(of: Scenario, out: Path) -> Iterator[Run]:
    run = Run.place(out, of)
    with run.begun(resume=False):
        yield run


@dataclass
class Hospitals:
    folders: list[Path]  # of vaults
    profiles: list[Path]
    register: Register

    def rings(self) -> list[Keyring]:
        found = []
        for folder in self.folders:
            with Vault.unlock(folder, WORDS) as vault:
                found.append(vault.ring)
        return found


@pytest.fixture
def hospitals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hospitals:
    """Three vaults: the first grants the server everything, the second a third, the last nothing."""
    words = tmp_path / "words"
    words.touch(mode=0o600)
    words.write_bytes(WORDS)
    monkeypatch.setenv(VARIABLE, str(words))
    folders, profiles, register = [], [], {}
    for site, share, films in zip(SITES, (1.0, 0.3, None), FILMS, strict=True):
        profiles.append(tmp_path / f"{site}.yaml")
        folders.append(tmp_path / "vaults" / site)
        with Vault.create(folders[-1], site, WORDS, Cost(log_n=4)) as vault:
            register[site] = vault.identity.public
            if share is not None:
                vault.grant(Grant(SERVER.public, share=share))
        own = {"vault": str(folders[-1]), "cohort": films, "coordinator": card_in(tmp_path, SERVER)}
        profiles[-1].write_text(yaml.safe_dump(permissive(site=site, **own)))
        profiles[-1].chmod(0o644)
    return Hospitals(folders, profiles, Register(register, SERVER))


def test_the_vaults_grants_count_and_not_the_scenarios(hospitals: Hospitals, tmp_path: Path) -> None:
    of, grid = scenario(grant=["server", "site-1"]), Tapped(hospitals.profiles)
    with begun(of, tmp_path / "runs") as run:
        entries = collect(grid, run, hospitals.register)
        assert [entry["status"] for entry in entries] == ["ok"] * 3
        releases = run.releases(SITES)
    context = RunContext("cpu", "fp32")
    recipient = Recipient(SERVER, hospitals.register.cards)
    found = [Sca().view(Shared([release]), recipient, context) for release in releases]
    assert found[0].opened.all()
    assert 0 < found[1].opened.sum() < len(releases[1])
    assert not found[2].opened.any()
    assert "site-3 granted nothing to server" in found[2].refusals["site-3"]
    wished = simulated_identity(of.seed, "site-1")
    assert not any(wished.public.fingerprint in release.envelopes for release in releases)
    experiment = Experiment.open(simulation(), cache_folder())
    codec = Sca().codec({}, context)
    for release, view, ring in zip(releases, found, hospitals.rings(), strict=True):
        order = generator(ring.stream_key(job_of(of, "release"), "site", release.site, "order")).permutation(
            len(release)
        )
        originals = experiment.site(release.site).films(order)
        shown = codec.decode(codec.encode(originals), release.size)
        films = view.forms.get("films", np.zeros_like(originals))
        np.testing.assert_array_equal(films[view.opened], shown[view.opened])
    made = [ring.made(of.run_name) for ring in hospitals.rings()]
    assert [m.films for m in made] == [len(release) for release in releases]


def test_whoever_knows_the_scenario_cannot_draw_a_hospitals_noise(hospitals: Hospitals, tmp_path: Path) -> None:
    noise = Noise(scale=0.2)
    of, twin = scenario(noise.spec()), simulation(noise.spec())
    experiment = Experiment.open(twin, cache_folder())

    def simulated_draw(site: str, path: str, images: Sequence[str] = ()) -> np.random.Generator:
        return stream(of.seed, "site", site, path)

    def drawn(site: str, ordering: Any, noising: Any) -> np.ndarray:
        """What a site releases if its films' order and its noise are drawn so."""
        films = experiment.site(site)
        ordered = films.take(ordering(site, "order").permutation(len(films)))
        return noise.protect(ordered.films(), noising(site, "release", images=list(ordered.index["image"])))

    def released(profiles: Sequence[Path], out: str) -> dict[str, np.ndarray]:
        with begun(of if profiles else twin, tmp_path / out) as run:
            collect(Tapped(profiles), run, hospitals.register if profiles else Register.of_simulation(twin))
            return {release.site: release.arrays["films"] for release in run.releases(SITES)}

    for site, films in released((), "simulation").items():
        assert np.array_equal(films, drawn(site, simulated_draw, simulated_draw))  # the control: there it can be drawn
    rings, job = dict(zip(SITES, hospitals.rings(), strict=True)), job_of(of, "release")

    def secret_draw(site: str, path: str, images: Sequence[str] = ()) -> np.random.Generator:
        return generator(rings[site].stream_key(job, "site", site, path, images=images))

    real, again = (released(hospitals.profiles, out) for out in ("real", "again"))
    for site, films in real.items():
        assert np.array_equal(films, again[site])  # so that a run can be gone on with
        assert np.array_equal(films, drawn(site, secret_draw, secret_draw))
        assert not np.array_equal(films, drawn(site, simulated_draw, secret_draw))
        assert not np.array_equal(films, drawn(site, secret_draw, simulated_draw))


@pytest.mark.parametrize("method", ["sca", "sealed", {"name": "sca", "ambiguation": "published"}], ids=str)
def test_no_key_is_in_the_run_folder_or_on_the_way(hospitals: Hospitals, tmp_path: Path, method: Any) -> None:
    of, grid = scenario(method), Tapped(hospitals.profiles)
    with begun(of, tmp_path / "runs") as run:
        collect(grid, run, hospitals.register)
        rings = hospitals.rings()
        keys = [ring.release_key(ring.made(of.run_name)) for ring in rings]
        images = [key.image_key(str(row)) for key in keys for row in range(5)]
        secrets = [k.reveal() for k in (*keys, *images, *(ring.epochs[0].key for ring in rings))]
        secrets += [ring.identity.reveal() for ring in rings] + [ring.choosing for ring in rings] + [WORDS]
        job = job_of(of, "release")
        secrets += [ring.stream_key(job, "site", site, "order") for site, ring in zip(SITES, rings, strict=True)]
        assert len(grid.heard) == 4 * len(SITES)  # one greeting and one request each, and what was said to them
        assert not leaks(secrets, run.folder, *grid.heard)
        assert leaks([hospitals.register.cards["site-1"].verifying], hospitals.register.cards["site-1"].verifying)
        # The control: what is looked for opens the films, and what is searched holds the releases.
        assert Sca().rows(run.releases(["site-1"])[0], keys[0]).size
        assert all(r.signature in b"".join(grid.heard) for r in run.releases(SITES))


def test_a_node_is_the_site_whose_vault_it_has(hospitals: Hospitals, tmp_path: Path) -> None:
    of, seen = scenario("noise"), []
    for out, profiles in (("one", hospitals.profiles), ("other", hospitals.profiles[::-1])):
        with begun(of, tmp_path / out) as run:
            entries = collect(Tapped(profiles), run, hospitals.register)
            assert [entry["status"] for entry in entries] == ["ok"] * 3
            seen.append([release.digest() for release in run.releases(SITES)])
    assert seen[0] == seen[1]


def test_a_site_whose_card_nobody_has_is_refused(hospitals: Hospitals, tmp_path: Path) -> None:
    known = Register({site: card for site, card in hospitals.register.cards.items() if site != "site-2"}, SERVER)
    with begun(scenario(min_sites=2), tmp_path / "runs") as run:
        entries = collect(Tapped(hospitals.profiles), run, known)
        assert [entry["status"] for entry in entries] == ["ok", "refused", "ok"]
        assert "enter its card" in entries[1]["reason"]


FORGERIES: dict[str, Any] = {
    "unsigned": lambda r: replace(r, signature=b""),
    "a finding changed": lambda r: replace(r, arrays={**r.arrays, "labels": 1 - r.arrays["labels"]}),
    "an envelope taken out": lambda r: replace(r, envelopes={}),
    "an envelope of somebody's": lambda r: replace(r, envelopes={**r.envelopes, "x": b"y"}),
    "another site's signature": lambda r: replace(
        r, signature=signed(replace(r, site="site-1"), Simulated(0, "site-1", {}), {}).signature
    ),
    "an older release": lambda r: signed(r, Simulated(0, "site-2", {}), {"run": "sca-00000000-0"}),
    "another request": lambda r: signed(r, Simulated(0, "site-2", {}), {"request": 64 * "0"}),
    "another's release": lambda r: signed(replace(r, site="site-1"), Simulated(0, "site-1", {}), {}),
}


def forged(forge: Callable[[Release], Release]) -> Liars:
    """Site-2 answers, in a signed answer, with another release than it made."""

    def told(answer: wire.Answer) -> wire.Answer:
        return replace(answer, release=forge(Release.from_bytes(answer.release)).to_bytes())

    return Liars({wire.RELEASE: told})


def simulated(grid: InlineGrid, run: Run) -> list[dict[str, Any]]:
    return collect(grid, run, Register.of_simulation(run.scenario))


@pytest.mark.parametrize("forgery", FORGERIES)
def test_the_server_refuses_what_the_site_did_not_say(forgery: str, tmp_path: Path) -> None:
    with begun(simulation(min_sites=2), tmp_path / "runs") as run:
        entries = simulated(forged(FORGERIES[forgery]), run)
        assert [entry["status"] for entry in entries] == ["ok", "refused", "ok"]
        assert run.release_note("site-2") is None


def test_too_many_refusals_end_the_run(tmp_path: Path) -> None:
    refused = pytest.raises(TooFewSites, match=r"site-2: this release is not signed by site-2")
    with begun(simulation(), tmp_path / "runs") as run, refused:
        simulated(forged(FORGERIES["unsigned"]), run)


def test_what_arrives_unchanged_is_taken(tmp_path: Path) -> None:
    with begun(simulation(), tmp_path / "runs") as run:
        assert [entry["status"] for entry in simulated(forged(lambda release: release), run)] == ["ok"] * 3

"""Whole audits of small films: what each way of anonymising them is told, and what the command leaves behind."""

from __future__ import annotations

import io
import json
import re
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from anonymised import CPU, TINY, Hospital
from PIL import Image

from fedcxr.audit import Audit, audit
from fedcxr.audit.result import TOLD
from fedcxr.audit.verdict import verdict
from fedcxr.cli import app
from fedcxr.errors import ConfigError, ControlFailed, Interrupted


def random_pixels(films: np.ndarray) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, films.shape, dtype=np.uint8)


def without_letters(films: np.ndarray) -> np.ndarray:
    blackened = films.copy()
    blackened[:, :5, :6] = blackened[:, :5, -6:] = 0
    return blackened


def pressed(films: np.ndarray) -> np.ndarray:
    def press(film: np.ndarray) -> np.ndarray:
        packed = io.BytesIO()
        Image.fromarray(film).resize((24, 24)).save(packed, "JPEG", quality=30)
        return np.asarray(Image.open(packed))

    return np.stack([press(film) for film in films])


def of_others(films: np.ndarray) -> np.ndarray:
    """Another hospital's: chests too, of people whom nobody here has ever seen."""
    from fedcxr.data import cache_folder
    from fedcxr.data.phantom import Phantom

    return Phantom(patients=40, size=films.shape[-1], seed=99).open(cache_folder()).films()[: len(films)]


@pytest.mark.parametrize(
    ("change", "level"),
    [
        (lambda films: films, "patients are found"),
        (without_letters, "patients are found"),
        (pressed, "patients are found"),
        (of_others, "nothing was found"),
        (random_pixels, "nothing was found"),
    ],
    ids=["the same films", "letters blackened", "resized and compressed", "other films", "random pixels"],
)
def test_each_way_of_anonymising_gets_its_verdict(
    hospital: Hospital, change: Callable[[np.ndarray], np.ndarray], level: str, request: pytest.FixtureRequest
) -> None:
    folders = hospital.released(request.node.callspec.id, change)
    found = audit(folders, budget=TINY, compute=CPU, seed=1)
    assert found.report["controls"]["passed"], found.report["controls"]
    assert found.verdict.level == level
    said = " ".join((found.verdict.headline, *found.verdict.sentences))
    assert re.search(r"anonymous|\bsafe\b|protected", said) is None
    if level == "nothing was found":
        assert "proves nothing yet" in said
        assert ("chests" if change is of_others else "nothing of a chest") in said
        assert "would go unnoticed" in said
    same = len(hospital.films) if request.node.callspec.id == "the same films" else 0
    assert found.report["resemblance"]["unchanged"] == same
    assert ("pixel for pixel" in said) == bool(same)


def test_an_audit_repeats_and_no_network_that_scores_a_film_has_seen_its_patient(
    hospital: Hospital, found: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fedcxr.audit import _fold
    from fedcxr.audit._network import sampler_of

    taught = list[set[int]]()

    def noted(patients: np.ndarray, rows: np.ndarray) -> object:
        taught.append(set(patients[rows].tolist()))
        return sampler_of(patients, rows)

    monkeypatch.setattr(_fold, "sampler_of", noted)
    again = audit(hospital.folders("noisy"), budget=TINY, compute=CPU, seed=1)
    first, second = ({**one.report, "run": {**one.report["run"], "wall_s": 0}} for one in (found, again))
    assert first == second
    asked, each = again.asked, len(taught) // TINY.folds
    assert each == 3  # originals, pairs, and where identities mean nothing
    for number in range(TINY.folds):
        scored = set(asked.patients[asked.fold == number].tolist())
        assert all(not scored & seen for seen in taught[number * each : (number + 1) * each])


def test_attackers_who_fail_a_control_conclude_nothing(found: Audit) -> None:
    failed = {**found.report["controls"], "passed": False, "failed_because": "with shuffled identities"}
    said = verdict({**found.report, "controls": failed})
    assert said.level == "no conclusion"
    assert "shuffled" in " ".join(said.sentences)
    assert "AUC" not in " ".join(said.sentences)


@pytest.mark.parametrize(
    ("near", "words"),
    [
        (None, "the table does not tell sources"),
        ({"value": None, "ci95": None}, "no two patients share one"),
        ({"value": 0.52, "ci95": [0.41, 0.62]}, "was not shown"),
        ({"value": 0.71, "ci95": [0.6, 0.8]}, "patients are recognised, and not only where"),
    ],
)
def test_a_verdict_says_whether_it_may_be_a_device_that_was_recognised(
    found: Audit, near: dict[str, object] | None, words: str
) -> None:
    attackers = [{**one, "same_source_auc": near} for one in found.report["person"]["attackers"]]
    said = verdict({**found.report, "person": {**found.report["person"], "attackers": attackers}})
    assert words in " ".join(said.sentences)


def test_a_frame_has_a_row_for_every_attacker(found: Audit) -> None:
    frame = found.frame()
    assert len(frame) == 2 * len(TOLD)
    assert set(frame["attacker"]) == set(TOLD)


# The command ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def command(hospital: Hospital, found: Audit, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`fedcxr audit` in this process, which finds what was found already."""
    monkeypatch.setattr("fedcxr.audit.audit", lambda *folders, **told: found)

    def run(*flags: str, out: Path) -> None:
        films = [f"--original={hospital.folder / 'original'}", f"--released={hospital.folder / 'noisy'}"]
        app(["audit", *films, f"--table={hospital.table}", f"--out={out}", *flags], standalone_mode=False)

    return run


def test_a_page_and_data_for_the_owners_eyes_alone(
    command: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found"
    command(out=out)
    said = capsys.readouterr().out
    assert max(map(len, said.replace(str(tmp_path), "").splitlines())) <= 80
    assert said.startswith("Patients can be re-identified from the released films.\n")
    assert "which holds pictures of patients" in said
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in out.iterdir()} == {
        "report.html": 0o600,
        "audit.json": 0o600,
    }
    page = (out / "report.html").read_text()
    assert "This page holds pictures of patients" in page
    assert "data:image/jpeg" in page
    assert len(page) < 3_000_000
    assert re.search(r"<script|https?://(?!www\.w3\.org)", page) is None
    report = json.loads((out / "audit.json").read_text())
    assert report["schema"] == 1
    assert report["person"]["worst_case"]["found"]


def test_without_pictures_no_film_and_no_name_is_on_the_page(
    command: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command("--no-pictures", "--format=json", out=tmp_path / "found")
    page = (tmp_path / "found" / "report.html").read_text()
    assert "data:image" not in page
    assert "film-0" not in page
    assert "pictures of patients" not in page
    assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / "found" / "audit.json").read_text())


def test_an_interrupted_audit_leaves_nothing(
    command: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*folders: object, **told: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fedcxr.audit.audit", stopped)
    with pytest.raises(Interrupted, match="nothing was written"):
        command(out=tmp_path / "found")
    assert not (tmp_path / "found").exists()


def test_a_failed_control_ends_a_strict_audit(
    command: Callable[..., None], found: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = {**found.report["controls"], "passed": False, "failed_because": "they fail"}
    doubtful = replace(found, report={**found.report, "controls": failed})
    monkeypatch.setattr("fedcxr.audit.audit", lambda *folders, **told: doubtful)
    command(out=tmp_path / "found")
    with pytest.raises(ControlFailed, match="they fail"):
        command("--strict", out=tmp_path / "found")


@pytest.mark.parametrize(
    ("flags", "said"),
    [(("--columns=patients=who",), "allowed: filename, patient, released"), (("--columns=x",), "needs names")],
)
def test_wrong_flags_are_named(command: Callable[..., None], tmp_path: Path, flags: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        command(*flags, out=tmp_path / "found")


def test_results_go_neither_among_films_nor_among_other_things(
    command: Callable[..., None], hospital: Hospital, tmp_path: Path
) -> None:
    thesis = tmp_path / "thesis.tex"
    thesis.write_text("mine")
    thesis.chmod(0o644)
    for out, said in (
        (tmp_path, "holds other things"),
        (hospital.folder / "original" / "found", "among the films"),
        (Path("/proc/found"), "cannot write there"),
    ):
        with pytest.raises(ConfigError, match=said):
            command(out=out)
    assert stat.S_IMODE(thesis.stat().st_mode) == 0o644

"""What many tests share: small made-up cohorts, and scenarios that name no task and no adversary."""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import settings

from fedcxr.cohort import BOXES, FINDINGS, Annotations, Cohort, Organ
from fedcxr.scenario import Scenario

with warnings.catch_warnings():
    # Some releases of typer use names that some releases of click deprecate; our warnings are errors, theirs are not.
    warnings.simplefilter("ignore", DeprecationWarning)
    import typer  # noqa: F401

if TYPE_CHECKING:
    from consortium import Consortium

# The same examples every time: a failure on one machine is a failure on all, and no file is left behind.
settings.register_profile("fedcxr", deadline=None, derandomize=True, database=None)
settings.load_profile("fedcxr")

MakeCohort = Callable[..., Cohort]
MakeScenario = Callable[..., Scenario]
MakeConsortium = Callable[..., "Consortium"]

ROOT = Path(__file__).resolve().parents[1]
ONE_CONSORTIUM = ("tests/deployment/test_nodes.py", "tests/deployment/test_node_faults.py")
ONE_NGINX = ("tests/deployment/test_gate.py",)
ONE_RUN = (  # or a few, of which all tests of a file tell, and that each worker would conduct anew
    "tests/methods/test_prichexy_net.py",
    "tests/python/test_python.py",
    "tests/server/test_hospital_runs.py",
    "tests/tasks/test_contract.py",
    "tests/test_end_to_end.py",
    "tests/test_end_to_end_codes.py",
    "tests/test_proofs.py",
    "tests/test_wheel.py",
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests that share what takes long to start have one worker, who begins with them; all others go to who is free."""
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    class Sharing(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            if file in ONE_RUN:
                return file
            return next((shared[0] for shared in (ONE_CONSORTIUM, ONE_NGINX) if file in shared), nodeid)

    return Sharing(config, log)


# Thousands of tests are a million objects. To look through them for garbage takes a second, and Flower asks for that
# whenever it reads what a site sent; so they are left out, and looked at not even while they are made.
gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session", autouse=True)
def nobodys_own_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for secrets and cohorts instead of the developer's own, for us and for every process we start.

    One for the whole session: what was rendered for one test is there for the next, and for those of other workers.
    """
    base = tmp_path_factory.getbasetemp()
    home = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "home"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_CONFIG_HOME", str(home / "config"))
        environment.setenv("XDG_STATE_HOME", str(home / "state"))
        environment.setenv("FEDCXR_CACHE", str(home / "cache"))
        environment.setenv("FEDCXR_WEIGHTS", str(home / "weights"))
        environment.delenv("FEDCXR_SECRET_FILE", raising=False)
        yield home


def _table(
    films_of: Sequence[int], *, seed: int = 0, sources: int = 3, prefix: str = "patient-", findings: float = 0.3
) -> pd.DataFrame:
    """An index in which patient i has `films_of[i]` films, all in one split and at one source."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(len(films_of)), films_of)
    visit = np.concatenate([np.arange(n) for n in films_of]) if len(films_of) else np.zeros(0, dtype=int)
    split = np.array(["train", "train", "val", "test", "test"])[owner % 5]
    table = pd.DataFrame(
        {
            "image": [f"image-of-{prefix}{o:03d}-{v}.png" for o, v in zip(owner, visit, strict=True)],
            "patient": [f"{prefix}{o:03d}" for o in owner],
            "visit": visit,
            "view": "PA",
            "age": 40 + owner,
            "sex": np.where(owner % 2, "F", "M"),
            "source": [f"source-{o % sources}" for o in owner],
            "split": split,
        }
    )
    shown = (rng.random((len(owner), len(FINDINGS))) < findings).astype(np.float32)
    return pd.concat([table, pd.DataFrame(shown, columns=list(FINDINGS))], axis=1)


@pytest.fixture(scope="session")
def make_table() -> Callable[..., pd.DataFrame]:
    """Index tables of made-up patients."""
    return _table


@pytest.fixture(scope="session")
def make_cohort() -> MakeCohort:
    """Cohorts of made-up patients: every film is random, so that no two are alike and none hides in another."""

    def make(films_of: Sequence[int] = (3,) * 20, *, size: int = 16, seed: int = 0, **table: Any) -> Cohort:
        index = _table(films_of, seed=seed, **table)
        pixels = np.random.default_rng(seed + 1).integers(0, 256, (len(index), size, size), dtype=np.uint8)
        return Cohort.whole(pixels, index)

    return make


@dataclass(frozen=True)
class DrawnMasks:
    """A store of masks that are there already."""

    pixels: npt.NDArray[np.bool_]  # (m, h, w)
    there: npt.NDArray[np.bool_]  # (m,)

    def __getitem__(self, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
        return self.pixels[rows]


@pytest.fixture(scope="session")
def annotated() -> Callable[..., Cohort]:
    """A cohort of a whole store with random masks on two of three films, and 0, 1, 2, 0 ... boxes on each."""

    def annotate(cohort: Cohort, organs: Sequence[Organ] = ("lungs",), seed: int = 0) -> Cohort:
        rng, shape = np.random.default_rng(seed), (len(cohort), *cohort.size)
        there = np.arange(len(cohort)) % 3 > 0
        masks = {organ: DrawnMasks(rng.random(shape) < 0.5, there) for organ in organs}
        film = np.repeat(np.arange(len(cohort)), np.arange(len(cohort)) % 3)
        corners = rng.random((len(film), 4)) * cohort.size[0] / 2
        boxes = pd.DataFrame(corners, columns=list(BOXES[2:]))
        boxes.insert(0, "film", film)
        boxes.insert(1, "finding", np.array(FINDINGS)[film % len(FINDINGS)])
        return replace(cohort, annotations=Annotations(masks, boxes))

    return annotate


@pytest.fixture(scope="session")
def make_scenario() -> MakeScenario:
    """Scenarios that name no task and no adversary, and deal patients evenly, unless told otherwise."""

    def make(**document: Any) -> Scenario:
        return Scenario.parse({"sites": 3, "partition": {"by": "iid"}, "tasks": {}, "adversaries": {}, **document})

    return make


@pytest.fixture(scope="session")
def make_consortium(make_scenario: MakeScenario, make_cohort: MakeCohort) -> MakeConsortium:
    """Whole consortia of made-up patients that have released; a patient's name is recognised wherever it turns up."""
    from consortium import FILMS_OF, NAMES, Consortium

    from fedcxr.simulation.experiment import Experiment

    def make(films_of: Sequence[int] = FILMS_OF, **document: Any) -> Consortium:
        cohort = make_cohort(films_of, prefix=NAMES)
        return Consortium.that_released(Experiment.of(make_scenario(**document), cohort))

    return make


@pytest.fixture(scope="session")
def people(make_cohort: MakeCohort, annotated: Callable[..., Cohort]) -> Cohort:
    """The films of contract tests: read-only, annotated, of people with a canary for a name."""
    from consortium import NAMES

    cohort = annotated(make_cohort((3, 2, 3, 3, 2) * 8, prefix=NAMES))
    cast("npt.NDArray[np.uint8]", cohort.pixels).flags.writeable = False
    return cohort


@pytest.fixture(autouse=True)
def python_finds_scripts() -> Iterator[None]:
    """A command run in this process says how Python is to start others; the next test's are none of its business."""
    yield
    os.environ.pop("PYTHONSAFEPATH", None)


@pytest.fixture
def traps(tmp_path: Path) -> Path:
    """A folder in which somebody has put modules of names that are imported; the first that is leaves `sprung`."""
    folder = tmp_path / "traps"
    folder.mkdir()
    for name in ("fedcxr", "flwr", "multiprocessing", "numpy", "pydantic", "server", "sites", "typer"):
        (folder / f"{name}.py").write_text(f"open({str(folder / 'sprung')!r}, 'a').write({name!r})\n")
    return folder

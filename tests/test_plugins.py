"""The folder is the registry: what is dropped into it is known everywhere, and what is wrong is said in one line."""

from __future__ import annotations

import copy
import importlib
import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, get_args, get_origin

import numpy as np
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fedcxr.methods
from fedcxr import plugins
from fedcxr.cli import catalogue
from fedcxr.cohort import Cohort
from fedcxr.errors import ConfigError, UnknownName
from fedcxr.methods import Method, RunContext
from fedcxr.methods._coded import release_key
from fedcxr.methods.noise import Noise
from fedcxr.plugins import File
from fedcxr.rng import stream
from fedcxr.scenario import Scenario
from fedcxr.scenario.schema import json_schema

MIRROR = '''
"""Mirrors every film."""

import numpy as np
import pydantic

from fedcxr.methods import ImageMethod


class Mirror(ImageMethod):
    """Turn left and right around."""

    axis: int = pydantic.Field(2, ge=1, le=2)

    def protect(self, films, rng):
        return np.flip(films, self.axis)
'''

Drop = Callable[[str, str], None]


@pytest.fixture
def drop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Drop]:
    """Puts files where the package of methods looks for them, without touching the checkout."""
    monkeypatch.setattr(fedcxr.methods, "__path__", [*fedcxr.methods.__path__, str(tmp_path)])
    before = set(sys.modules)

    def put(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        importlib.invalidate_caches()

    yield put
    for module in set(sys.modules) - before:
        if module.startswith("fedcxr.methods."):
            del sys.modules[module]
            vars(fedcxr.methods).pop(module.rpartition(".")[2], None)


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Writes the user's own module `ours` into the folder in which the command is given."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, "ours", raising=False)

    def put(text: str) -> None:
        (tmp_path / "ours.py").write_text(text, encoding="utf-8")
        importlib.invalidate_caches()

    return put


def test_a_dropped_file_is_known_everywhere(drop: Drop, make_cohort: Callable[..., Cohort]) -> None:
    with pytest.raises(UnknownName):
        plugins.load("method", "mirror")
    drop("mirror", MIRROR)
    assert "mirror" in plugins.names("method")
    method = plugins.build("method", {"name": "mirror", "axis": 1})
    assert isinstance(method, Method)
    assert method.spec() == {"name": "mirror", "axis": 1}
    cohort = make_cohort((2, 1))
    keys = release_key("site-1", stream(0))
    films = method.release(cohort, keys, {}, stream(0), RunContext()).arrays["films"]
    np.testing.assert_array_equal(films, cohort.films()[:, ::-1])
    scenario = Scenario.from_yaml("{method: {name: mirror, axis: 1}, tasks: {}, adversaries: {}}")
    assert scenario.method == method
    assert scenario.id.startswith("mirror-")
    assert Scenario.from_yaml(scenario.to_yaml()) == scenario
    assert "mirror" in json_schema()["properties"]["method"]["anyOf"][0]["enum"]
    assert "Turn left and right around." in catalogue.listing("method", "text")
    assert json.loads(catalogue.entry("method", "mirror", "json"))["parameters"]["axis"]["maximum"] == 2


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("\n\nimport no_such_library\n", 3, "No module named 'no_such_library'"),
        ("x = (\n", 1, "SyntaxError"),
        ("\nraise SystemExit('bye')\n", 2, "SystemExit: bye"),
    ],
)
def test_one_file_that_cannot_be_imported_hides_no_other(
    drop: Drop, tmp_path: Path, text: str, line: int, said: str
) -> None:
    drop("broken", text)
    told = json.loads(catalogue.listing("method", "json"))
    assert told["noise"].startswith("Every pixel of a film")
    assert f"{tmp_path / 'broken.py'}:{line}" in told["broken"]
    assert said in told["broken"]
    with pytest.raises(ConfigError, match=r"broken\.py"):
        catalogue.entry("method", "broken", "text")


def test_the_contract_tests_run_on_a_dropped_file(root: Path, tmp_path: Path) -> None:
    """In a copy of the package: one good method and one that breaks nearly every promise."""
    ignored = ("__pycache__", "phantom")
    tests = ("tests/methods/test_contract.py", "tests/parameters.py", "tests/conftest.py")
    for part in ("fedcxr", *tests, "pyproject.toml"):
        _copy(root / part, tmp_path / part, ignored)
    methods = tmp_path / "fedcxr" / "methods"
    (methods / "mirror.py").write_text(MIRROR, encoding="utf-8")
    (methods / "sloppy.py").write_text(
        "import numpy as np\n"
        "from fedcxr.methods import ImageMethod\n\n"
        "class Sloppy(ImageMethod):\n"
        "    scale: float = 1.0\n\n"
        "    def protect(self, films, rng):\n"
        "        return np.random.randint(0, 256, films.shape, dtype=np.uint8)\n",
        encoding="utf-8",
    )
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "-k", "mirror or sloppy",
         "tests/methods/test_contract.py"],
        check=False, cwd=tmp_path, env={"PATH": "", "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    said = [line.split()[:2] for line in ran.stdout.splitlines() if line.startswith(("PASSED ", "FAILED "))]
    passed = {test.rpartition("::")[2] for outcome, test in said if outcome == "PASSED"}
    failed = {test.rpartition("::")[2] for outcome, test in said if outcome == "FAILED"}
    assert not {test for test in failed if "mirror" in test}, ran.stdout
    assert len({test for test in passed if "mirror" in test}) >= 8, ran.stdout
    for broken in ("test_same_stream_same_release", "test_global_random_state_is_untouched"):
        assert f"{broken}[sloppy]" in failed, ran.stdout


def _copy(source: Path, target: Path, ignored: tuple[str, ...]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_file():
        target.write_bytes(source.read_bytes())
        return
    target.mkdir(exist_ok=True)
    for entry in source.iterdir():
        if entry.name not in ignored:
            _copy(entry, target / entry.name, ignored)


def test_files_with_an_underscore_are_no_contributions(drop: Drop) -> None:
    drop("_shared", "x = 1")
    assert "_shared" not in plugins.names("method")
    with pytest.raises(UnknownName):
        plugins.load("method", "_shared")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (MIRROR + "\n\nclass Second(Mirror):\n    pass\n", "Mirror, Second"),
        ("x = 1", "given: none"),
        ("from fedcxr.methods.noise import Noise", "given: none"),
    ],
)
def test_one_file_holds_exactly_one_contribution(drop: Drop, text: str, said: str) -> None:
    drop("odd", text)
    with pytest.raises(ConfigError, match=f"exactly one public Method; {said}|{said}; one contribution per file"):
        plugins.load("method", "odd")


def test_a_private_base_class_beside_the_contribution_is_fine(drop: Drop) -> None:
    drop("pair", MIRROR.replace("class Mirror", "class _Base") + "\n\nclass Pair(_Base):\n    pass\n")
    assert plugins.load("method", "pair").__name__ == "Pair"


def test_a_contribution_that_lacks_a_verb_says_which(drop: Drop) -> None:
    drop("idle", "from fedcxr.methods import ImageMethod\n\nclass Idle(ImageMethod):\n    pass\n")
    with pytest.raises(ConfigError, match=r"method idle.*protect") as caught:
        plugins.build("method", "idle")
    assert "only numbers" not in str(caught.value)


def test_a_class_from_outside(outside: Callable[[str], None]) -> None:
    outside(MIRROR)
    method = plugins.build("method", {"name": "ours:Mirror", "axis": 1})
    assert method.spec() == {"name": "ours:Mirror", "axis": 1}
    assert plugins.build("method", method.spec()) == method
    scenario = Scenario.from_yaml("{method: {name: 'ours:Mirror', axis: 1}, tasks: {}, adversaries: {}}")
    assert scenario.id.startswith("ours.Mirror-")
    assert Scenario.from_yaml(scenario.to_yaml()) == scenario


def test_a_class_of_the_folder_goes_by_its_short_name() -> None:
    assert plugins.build("method", "fedcxr.methods.noise:Noise") == Noise()
    assert Noise().spec()["name"] == "noise"


@pytest.mark.parametrize(
    "name",
    ["nowhere:Class", "json:Nothing", ":", "a:", ":b", ".a:b", "a..b:c", "json:dumps", "a\0b:c", "json:JSONDecoder"],
)
def test_what_cannot_be_loaded_from_outside(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plugins.build("method", name)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["def f(:", "raise RuntimeError('no licence')", "import nowhere", "raise SystemExit(0)"]
)
def test_a_module_from_outside_that_does_not_import(outside: Callable[[str], None], text: str) -> None:
    outside(text)
    with pytest.raises(ConfigError, match="cannot load the method; given: ours:Mirror"):
        plugins.build("method", "ours:Mirror")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("noize", r"unknown method; given: noize; allowed: .*none.*; did you mean 'noise'\?"),
        ({"name": "noise", "scael": 1}, r"unknown key in method noise; given: scael; .*did you mean 'scale'\?"),
        ({"name": "noise", "scale": -1}, r"method noise: scale: .*greater than or equal to 0; given: -1"),
        ({"name": "noise", "scale": float("nan")}, "method noise: scale: .*finite"),
        ({"name": "noise", "scale": "0.1"}, "method noise: scale: .*number; given: 0.1"),
        ({"name": "noise", "scale": True}, "method noise: scale: .*number; given: True"),
        ({"name": "noise", "scale": None}, "method noise: scale: .*number"),
        ({"name": "noise", "distribution": "gauss"}, "method noise: distribution: .*'gaussian'.*; given: gauss"),
        ({"name": "noise", "scale": {1}}, "method noise: only numbers, text, lists and mappings"),
        ({"name": "noise", "a.scale": 1}, r"unknown key in method noise; given: a\.scale;"),
        ({"scale": 1}, "a method needs a name; allowed: .*noise"),
        ({"name": 3}, "a method needs a name; given: 3"),
        ({"name": ""}, "unknown method"),
        ({"name": "../methods/noise"}, "unknown method"),
    ],
)
def test_wrong_names_and_parameters(spec: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        plugins.build("method", spec)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_wrong_names_name_the_nearest() -> None:
    for spec in ("noize", {"name": "noise", "scael": 1}):
        with pytest.raises(UnknownName):
            plugins.build("method", spec)


def test_an_unknown_key_deep_inside_is_told_with_the_keys_of_its_place() -> None:
    class Inner(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="forbid")
        depth: int = 1

    class Outer(pydantic.BaseModel):
        inner: Inner = Inner()

    with pytest.raises(UnknownName, match=r"key in outer: inner; given: dept; allowed: depth; did you mean 'depth'"):
        plugins.validate(Outer, {"inner": {"dept": 2}}, "outer")


def test_names_imports_nothing(root: Path) -> None:
    code = "import sys; from fedcxr import plugins; plugins.names('method'); print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert "fedcxr.methods" in said.stdout.split()
    assert not [m for m in said.stdout.split() if m.startswith("fedcxr.methods.") and ".methods._" not in m]


def test_plugins_are_frozen() -> None:
    with pytest.raises(pydantic.ValidationError):
        Noise().scale = 1.0  # type: ignore[misc]


def free_texts(annotation: object) -> bool:
    """Whether a parameter may be any text at all; a pattern, choices and files are none."""
    if get_origin(annotation) is Annotated:
        return False
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return any(free_texts(field.annotation) for field in annotation.model_fields.values())
    return annotation is str or any(map(free_texts, get_args(annotation)))


@pytest.mark.parametrize("kind", [kind for kind in get_args(plugins.Kind) if kind != "source"])
def test_a_text_that_may_be_a_path_is_a_file(kind: plugins.Kind) -> None:
    """A hospital finds the files that a scenario names by their type. Its sources are in no scenario but as `own`."""
    found = {
        f"{name}.{field}"
        for name in plugins.names(kind)
        for field, told in plugins.load(kind, name).model_fields.items()
        if free_texts(told.annotation) and not told.metadata  # where pydantic puts what an Annotated says
    }
    assert not found


@given(st.text(), st.text())
def test_a_file_is_used_by_its_path_and_written_down_by_its_name(path: str, name: str) -> None:
    method = Noise(weights=File(path, name))
    for file in (method, method.model_copy(), copy.deepcopy(method), pickle.loads(pickle.dumps(method))):
        assert file.weights == path
        assert file.spec()["weights"] == file.model_dump(mode="json")["weights"] == name
    again = plugins.build("method", {"name": "noise", "weights": path})
    assert isinstance(again, Noise)
    assert isinstance(again.weights, File)
    assert again.spec()["weights"] == path


def test_a_choice_beside_a_file_is_a_choice() -> None:
    for text, kind in (("imagenet", str), ("none", str), ("images", File)):
        task = plugins.build("task", {"name": "findings", "network": "resnet50", "pretrained": text})
        assert type(task.pretrained) is kind  # type: ignore[attr-defined]
        assert task.spec()["pretrained"] == text

"""Who may import whom, that the science works without the frameworks, and that help comes at once."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TREES = ("fedcxr", "sites", "server")

# A part of the library imports from parts further left only. `import fedcxr` itself imports nothing.
LINE = (
    "errors rng answer < cohort partition plugins release steps storage fence pairs metrics models < learning wire "
    "label_noise alike < keys training data table page < verdict < codes context view < methods < world reading "
    "sealed_update < knowledge < questions < adversaries tasks < scenario < deployment < protocol runs "
    "< audit report simulation < orders < cli < python"
)
LAYERS = [layer.split() for layer in LINE.split(" < ")]
LAYER = {part: depth for depth, layer in enumerate(LAYERS) for part in layer}

FILES = sorted(path for tree in TREES for path in (ROOT / tree).rglob("*.py"))
IDS = [str(path.relative_to(ROOT)) for path in FILES]


def imported(path: Path) -> set[str]:
    """Every module a file imports, at its top or anywhere below, for types or for good, and by name as text."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            assert node.module is not None
            # `from fedcxr import plugins` imports fedcxr.plugins; a class in a module is of that module.
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def part_of(module: str) -> str | None:
    """`fedcxr.methods.noise.Noise` is of the part `methods`; `fedcxr.__version__` of none."""
    parts = module.split(".")
    return parts[1] if parts[0] == "fedcxr" and len(parts) > 1 and not parts[1].startswith("__") else None


def roots_of(path: Path) -> set[str]:
    return {module.split(".")[0] for module in imported(path)}


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_sites_and_server_stand_on_the_library_and_not_on_each_other(path: Path) -> None:
    tree = path.relative_to(ROOT).parts[0]
    foreign = {"fedcxr": {"sites", "server"}, "sites": {"server"}, "server": {"sites"}}[tree]
    assert not roots_of(path) & (foreign | {"tests", "scripts"})


@pytest.mark.parametrize("path", [p for p in FILES if p.is_relative_to(ROOT / "sites")], ids=str)
def test_a_hospital_imports_no_simulation(path: Path) -> None:
    assert "simulation" not in {part_of(module) for module in imported(path)}


@pytest.mark.parametrize("path", [p for p in FILES if p.is_relative_to(ROOT / "fedcxr")], ids=str)
def test_inside_the_library_imports_go_down(path: Path) -> None:
    own = path.relative_to(ROOT / "fedcxr").with_suffix("").parts[0]
    own = "cli" if own == "__main__" else own  # where its commands begin
    if own.startswith("__"):  # `import fedcxr` imports nothing, and says to type checkers what it has
        assert {part_of(module) for module in imported(path) if module.split(".")[0] in TREES} <= {"errors", "python"}
        return
    assert own in LAYER, f"give {own} its place in LINE"
    for module in imported(path):
        part = part_of(module)
        if part is not None and part != own:
            assert part in LAYER, f"{module}: no such part"
            assert LAYER[part] < LAYER[own], f"{own} must not import {module}"


def test_the_architecture_is_drawn_as_it_is_tested() -> None:
    (drawn,) = re.findall(r"^```\n(errors .*?)^```", (ROOT / "docs" / "architecture.md").read_text(), re.M | re.S)
    assert drawn.split() == LINE.split()


def test_every_part_of_the_library_has_its_layer() -> None:
    parts = {p.stem if p.is_file() else p.name for p in (ROOT / "fedcxr").iterdir() if p.suffix in ("", ".py")}
    assert {part for part in parts if not part.startswith("_")} - {"presets"} <= LAYER.keys()


MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}


def needed_by(module: str) -> set[str]:
    """The modules that a module imports anywhere; a class counts for the module it is taken from."""
    owners = (name if name in MODULES else name.rpartition(".")[0] for name in imported(MODULES[module]))
    return {owner for owner in owners if owner in MODULES and owner != module}


def circles(needed: Mapping[str, set[str]]) -> set[frozenset[str]]:
    """The largest groups of modules of which each needs, directly or not, every other."""
    reached = {module: set(direct) for module, direct in needed.items()}
    for through in needed:
        for onward in reached.values():
            if through in onward:
                onward.update(reached[through])
    return {
        frozenset(other for other in reached[module] if module in reached[other])
        for module in needed
        if module in reached[module]
    }


def test_no_modules_import_each_other() -> None:
    """Also inside functions: a circle is one idea in two files, and nobody can tell which of them to read first."""
    ours = MODULES.keys() - {"fedcxr"}  # which imports nothing: what stands there is for type checkers
    assert circles({module: needed_by(module) - {"fedcxr"} for module in ours}) == set()


def test_circles_are_found() -> None:
    needed = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": set(), "f": {"a", "g"}, "g": {"f"}}
    assert circles(needed) == {frozenset("abc"), frozenset("fg")}


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_frameworks_stay_in_their_places(path: Path) -> None:
    where = path.relative_to(ROOT).as_posix()
    roots = roots_of(path)
    if where.startswith("fedcxr/") and where != "fedcxr/wire.py":
        assert "flwr" not in roots
    if where not in ("server/simulate.py", "server/cluster.py"):
        assert "ray" not in roots
        assert not [text for text in _texts(path) if text.startswith("RAY_")]
    assert "pickle" not in roots


def _texts(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_randomness_and_devices_are_arguments(path: Path) -> None:
    """House rules 8 and 9: no global generator, no device chosen in passing."""
    where = path.relative_to(ROOT).as_posix()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Attribute):
            continue
        name = ast.unparse(node)
        if name.startswith(("np.random.", "numpy.random.")) and name.split(".")[2] not in ("Generator", "Philox"):
            pytest.fail(f"{where}: {name}")
        if node.attr == "manual_seed" and not name.startswith("generator"):
            pytest.fail(f"{where}: {name}")
    assert "random" not in roots_of(path)


def test_the_rule_is_tested_on_something() -> None:
    """The walk finds what it should: absolute names of modules, also inside functions and for types only."""
    assert len(FILES) > 40
    assert "fedcxr.methods.none.Unprotected" in imported(ROOT / "fedcxr" / "world.py")
    assert "fedcxr.training.compute.Compute" in imported(ROOT / "fedcxr" / "adversaries" / "verifier.py")
    assert "flwr.app.Message" in imported(ROOT / "server" / "exchange.py")


# In fresh processes ---------------------------------------------------------------------------------------------------


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *arguments],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_science_works_without_the_frameworks() -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in FILES
        if path.is_relative_to(ROOT / "fedcxr") and path.name not in ("wire.py", "__main__.py")
    ]
    ran = python(
        "import importlib, sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('flwr', 'ray', 'opacus'):\n"
        "            raise ModuleNotFoundError(f'{name} is not installed')\n"
        "sys.meta_path.insert(0, Missing())\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "try:\n"
        "    import fedcxr.wire\n"
        "except ModuleNotFoundError as error: print(error)\n",
        *modules,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "flwr is not installed\n" or "flwr" in ran.stdout


@pytest.mark.parametrize(
    ("tree", "foreign"), [("sites", ("fedcxr.simulation", "server")), ("server", ("sites",))], ids=["sites", "server"]
)
def test_nothing_foreign_comes_along(tree: str, foreign: tuple[str, ...]) -> None:
    """Not even by way of something else: a hospital never loads what the experimenter or the coordinator runs."""
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in FILES
        if path.is_relative_to(ROOT / tree)
    ]
    ran = python(
        "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\nprint(*sorted(sys.modules))\n",
        *modules,
    )
    assert ran.returncode == 0, ran.stderr
    loaded = ran.stdout.split()
    assert f"{tree}.app" in loaded
    assert not [name for name in loaded for root in foreign if name == root or name.startswith(f"{root}.")]


def test_importing_the_library_imports_nothing() -> None:
    ran = python("import sys; before = set(sys.modules); import fedcxr; print(*(set(sys.modules) - before))")
    assert set(ran.stdout.split()) <= {"fedcxr", "__future__"}


@pytest.mark.parametrize("command", [["--version"], ["--help"], ["simulate", "--help"], ["methods", "--help"]])
def test_help_imports_nothing_that_takes_time(command: list[str]) -> None:
    ran = python(
        "import json, sys\n"
        "from fedcxr import cli\n"
        "try:\n"
        "    cli.main()\n"
        "except SystemExit as end:\n"
        "    print(json.dumps([end.code, sorted({m.split('.')[0] for m in sys.modules})]), file=sys.stderr)\n",
        *command,
    )
    code, modules = json.loads(ran.stderr.splitlines()[-1])
    assert code == 0
    assert ran.stdout.startswith(("Usage: fedcxr", "fedcxr "))
    slow = {"torch", "torchvision", "flwr", "ray", "numpy", "pandas", "sklearn", "scipy", "matplotlib", "yaml"}
    assert not slow & set(modules)


def test_a_scenario_is_read_and_refused_without_torch() -> None:
    ran = python(
        "import sys\n"
        "from fedcxr.scenario import Scenario\n"
        "Scenario.from_yaml('')\n"
        "print(*sorted({m.split('.')[0] for m in sys.modules}))\n"
    )
    assert ran.returncode == 0, ran.stderr
    assert not {"torch", "flwr", "ray", "sklearn", "matplotlib"} & set(ran.stdout.split())


def test_importing_touches_no_files_no_seeds_and_no_network(tmp_path: Path) -> None:
    """House rule 15, for everything that is not a plug-in's heavy part."""
    ran = python(
        "import random, socket, sys, warnings\n"
        "import numpy as np\n"
        "warnings.simplefilter('ignore')\n"
        "touched = []\n"
        "def watch(event, arguments):\n"
        "    writes = event == 'open' and isinstance(arguments[2], int) and arguments[2] & 3\n"
        "    if writes and '__pycache__' not in str(arguments[0]):\n"
        "        touched.append((event, arguments[0]))\n"
        "    if event in ('os.mkdir', 'os.remove', 'os.rename', 'socket.connect', 'subprocess.Popen'):\n"
        "        touched.append((event, arguments[0]))\n"
        "import yaml, pydantic, pandas, msgpack, zstandard, rich.console, psutil, typer, PIL\n"
        "state = repr(random.getstate()), repr(np.random.get_state())\n"
        "sys.addaudithook(watch)\n"
        "import fedcxr.protocol, fedcxr.runs.pictures, fedcxr.cli.console, fedcxr.cli.catalogue\n"
        "import server.sandbox, server.leak, server.scorer, server.attack, server.meter\n"
        "assert (repr(random.getstate()), repr(np.random.get_state())) == state\n"
        "print(touched)\n"
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "[]\n"

"""A file tree of one's own: what is given is where it was, and nothing else is."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from fenced import Fenced
from hypothesis import given
from hypothesis import strategies as st

from server import tree

LEAVE = """
folder = Path(plan["folder"])
base = [Path("/proc"), *places.system(sandbox.OURS)]
sandbox._leave_others()
def leave(*paths):
    if not tree.leave([*base, *paths]):
        print("refused"); sys.exit(0)
"""
MADE = """
folder = Path(plan["folder"])
(folder / "a" / "b").mkdir(parents=True); (folder / "a" / "b" / "file").write_text("found")
(folder / "one").symlink_to("two"); (folder / "two").symlink_to(folder / "a"); (folder / "up").symlink_to("a/b/../b")
"""


def said(inside: Fenced) -> list[str]:
    lines = inside.run().splitlines()
    if lines == ["refused"]:
        pytest.skip("this machine lends this user no mount namespace")
    return lines


def test_only_what_is_given_is_there(fenced: Callable[..., Fenced]) -> None:
    code = LEAVE + (
        "leave(own, outcome / 'kept')\n"
        "print(sorted(os.listdir(folder)), os.listdir(folder.parent), os.getcwd())\n"
        "print((own / 'film.npy').read_text(), (outcome / 'kept').read_text())\n"
        "(own / 'new').write_text('x'); print(sorted(os.listdir('/')))\n"
    )
    inside = fenced(code)
    first, second, third = said(inside)
    assert first == f"['outcome', 'own'] ['{inside.folder.name}'] /"
    assert second == "contents contents"
    assert (inside.folder / "own" / "new").read_text() == "x"  # the same folder, not a copy
    assert "home" not in third


def test_a_path_from_the_working_folder_leads_where_it_did(fenced: Callable[..., Fenced]) -> None:
    code = LEAVE + (
        "os.chdir(folder); leave(Path('own'), Path('outcome'))\n"
        "print(os.getcwd() == str(folder), Path('own', 'film.npy').read_text(), sorted(os.listdir('.')))\n"
    )
    assert said(fenced(code)) == ["True contents ['outcome', 'own']"]


def test_links_on_the_way_are_kept(fenced: Callable[..., Fenced]) -> None:
    code = MADE + LEAVE + (
        "leave(folder / 'one' / 'b', folder / 'up')\n"
        "print((folder / 'one' / 'b' / 'file').read_text(), (folder / 'up' / 'file').read_text())\n"
        "print(sorted(os.listdir(folder)), os.path.lexists(folder / 'own'))\n"
    )  # fmt: skip
    assert said(fenced(code)) == ["found found", "['a', 'one', 'two', 'up'] False"]


@pytest.mark.parametrize("order", ["folder / 'a', folder / 'a' / 'b'", "folder / 'a' / 'b', folder / 'a'"])
def test_a_folder_within_a_folder_is_given_once(order: str, fenced: Callable[..., Fenced]) -> None:
    code = MADE + LEAVE + f"leave({order})\nprint((folder / 'a' / 'b' / 'file').read_text(), os.listdir(folder))"
    assert said(fenced(code)) == ["found ['a']"]


@pytest.mark.parametrize(
    "broken",
    [
        "tree.PIVOT_ROOT = dict.fromkeys(tree.PIVOT_ROOT, 100_000)",
        "tree.MOVE_MOUNT = 100_000",
        "tree.OPEN_TREE = 100_000",
    ],
)
def test_where_it_is_refused_all_is_still_there(broken: str, fenced: Callable[..., Fenced]) -> None:
    code = LEAVE + (
        f"{broken}\nprint(tree.leave([*base, own]))\n"
        "print(Path('/proc/self/status').exists(), (folder / 'answers' / 'key').exists(), os.getcwd())"
    )
    assert said(fenced(code)) == ["False", "True True /"]


def test_nothing_happens_to_the_tree_of_others(fenced: Callable[..., Fenced]) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    said(fenced(LEAVE + "leave(own)\nprint('left')"))
    assert Path("/proc/self/mountinfo").read_text() == before


def test_without_a_mount_namespace_nothing_is_mounted(fenced: Callable[..., Fenced]) -> None:
    code = (
        "from fedcxr.fence import kernel\n"
        "kernel.unshare = lambda kinds: False; kernel.mount = lambda *how: print('mounted')\n"
        "print(tree.leave([own]))\n"
    )
    assert fenced(code).run() == "False\n"


NAMES = st.sampled_from(["a", "b", "c"])


@given(st.lists(st.lists(NAMES, min_size=1, max_size=4), min_size=1, max_size=8))
def test_the_outermost_folders_hold_all_and_none_holds_another(paths: list[list[str]]) -> None:
    given = [Path("/", *path) for path in paths]
    kept = tree._outermost(given)
    assert all(any(path.is_relative_to(one) for one in kept) for path in given)
    assert not any(one != other and one.is_relative_to(other) for one in kept for other in kept)
    assert set(kept) <= set(given)


@given(
    st.lists(st.tuples(NAMES, st.lists(st.sampled_from(["a", "b", "c", ".."]), min_size=1, max_size=3)), max_size=4),
    st.lists(st.sampled_from(["a", "b", "c", ".."]), min_size=1, max_size=3),
)
def test_links_on_the_way_are_those_that_the_kernel_follows(
    links: list[tuple[str, list[str]]], path: list[str]
) -> None:
    """All links on the way are found, each in its real folder, as it is."""
    with tempfile.TemporaryDirectory() as name:
        top = Path(os.path.realpath(name)) / "x" / "y" / "z" / "top"
        for part in ("a", "b", "c"):
            (top / part).mkdir(parents=True)
        for at, to in links:
            if not os.path.lexists(top / "a" / at):
                (top / "a" / at).symlink_to("/".join(to))
        asked = top.joinpath("a", *path)
        if not asked.exists():
            return
        found = tree._links(asked)
        assert all(link.is_symlink() and str(link.readlink()) == to for link, to in found.items())
        assert all(os.path.realpath(link.parent) == str(link.parent) for link in found)
        if ".." not in path:
            assert bool(found) == (os.path.realpath(asked) != str(asked))

"""A hospital's profile: strict, its own, and every key of it explained in the example that is shipped."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from nodes import COORDINATOR, card_in, permissive

from fedcxr.data._vocabulary import VOCABULARY
from fedcxr.errors import BadSignature, ConfigError, DataError, FedcxrError, Refused
from fedcxr.scenario.document import read_yaml
from sites.check import main
from sites.codes import Code, Denied
from sites.findings import released
from sites.policy import admitted
from sites.profile import Bounds, Profile


def own(folder: Path, **changes: Any) -> dict[str, Any]:
    """What a profile says that is read, with everything that it names."""
    return permissive(coordinator=card_in(folder), **changes)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "hospital.yaml"
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(own(tmp_path)))
    return path


def example(root: Path) -> str:
    return (root / "configs" / "sites" / "hospital.yaml").read_text()


def test_the_example_has_every_key(root: Path) -> None:
    document = read_yaml(example(root))
    assert Profile.parse(document).site == "charite"
    assert document.keys() == Profile.model_fields.keys()


SCENARIO = "sites: {charite: own}\ntasks: {}\nadversaries: {}\nmethod: "


@pytest.mark.parametrize(
    ("method", "code"),
    [
        ("none", Code.METHOD),
        ("{name: noise, scale: 0}", Code.PARAMETER),
        ("{name: noise, scale: 1, where: inside_lungs}", Code.PARAMETER),
        ("{name: dp_pix, eps: 1.0e+9}", Code.PARAMETER),
        ("{name: dp_pix, b: 1}", Code.PARAMETER),
        ("{name: sca, ambiguation: published}", Code.PARAMETER),
        ("{name: sca, findings: clear}", Code.PARAMETER),
        ("{name: prichexy_net, weights: /etc/shadow}", Code.FILE),
    ],
)
def test_what_protects_nothing_is_refused_under_the_example(root: Path, method: str, code: Code) -> None:
    profile = Profile.parse(read_yaml(example(root)))
    with pytest.raises(Denied) as refusal:
        admitted(SCENARIO + method, profile)
    assert refusal.value.code is code


@pytest.mark.parametrize("method", ["noise", "dp_pix", "sca", "{name: prichexy_net, weights: generator-2026}"])
def test_what_the_example_allows_is_done(root: Path, method: str) -> None:
    admitted(SCENARIO + method, Profile.parse(read_yaml(example(root))))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"metods": {}}, "unknown key in profile; given: metods.*did you mean 'methods'"),
        ({"methods": {"nois": {}}}, "unknown method; given: nois"),
        ({"methods": {"noise": {"scal": {"at_least": 0.2}}}}, "noise has no such parameter; given: scal"),
        ({"methods": {"noise": {"scale": {"at_leats": 0.2}}}}, "at_leats"),
        ({"methods": {"noise": {"scale": {}}}}, "at_least, at_most or one_of"),
        ({"methods": {"noise": {"scale": {"at_least": 2.0, "at_most": 1.0}}}}, "more than at_most"),
        ({"methods": {"noise": {"scale": {"at_least": "0.2"}}}}, "valid number"),
        ({"methods": ["noise"]}, "methods"),
        ({"methods": {"a.b:C": {}}}, "unknown method; given: a.b:C"),
        ({"tasks": ["finding"]}, "unknown task"),
        ({"outside": ["a.b.C"]}, "module:Class"),
        ({"budget": {"release": 3}}, "unknown key"),
        ({"budget": {"releases": -1}}, "budget.releases"),
        ({"smallest": 0}, "smallest"),
        ({"smallest": 2.5}, "smallest"),
        ({"files": {"x": "weights.safetensors"}}, "depends on where one stands"),
        ({"vault": "vault"}, "depends on where one stands"),
        ({"coordinator": "coordinator.card"}, "depends on where one stands"),
        ({"coordinator": []}, "coordinator"),
        ({"coordinator": 7}, "coordinator"),
        ({"coordinator": None}, "which coordinator this hospital answers.*FILE.card.*telephone"),
        ({"cohort": "own"}, "says here"),
        ({"cohort": {"source": "phantom", "patients": 8, "sise": 16}}, "unknown key in source phantom; given: sise"),
        ({"cohort": None}, "."),
        ({"site": "server"}, "coordinator's"),
        ({"site": "a/b"}, "no name for a site"),
        ({"findings": "Effusion"}, "findings"),
    ],
    ids=str,
)
def test_a_slip_of_the_pen_refuses_to_start(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Profile.parse(permissive(**changes))


@pytest.mark.parametrize("key", ["site", "vault", "cohort"])
def test_what_must_be_said_must_be_said(key: str) -> None:
    with pytest.raises(ConfigError, match=f"profile: {key}"):
        Profile.parse({k: v for k, v in permissive().items() if k != key})


def test_what_is_not_said_is_not_allowed() -> None:
    profile = Profile.parse({k: v for k, v in permissive().items() if k in ("site", "vault", "cohort", "coordinator")})
    assert (profile.methods, profile.tasks, profile.outside, profile.files) == ({}, (), (), {})
    assert profile.smallest > 1
    with pytest.raises(Denied, match="method is not allowed"):
        admitted("sites: {site-1: own}", profile)


@given(
    st.text(max_size=60) | st.dictionaries(st.sampled_from([*permissive(), "x"]), st.integers() | st.text()).map(str)
)
def test_any_text_is_a_profile_or_an_error_of_ours(text: str) -> None:
    with contextlib.suppress(FedcxrError):
        Profile.parse(read_yaml(text))


@pytest.mark.parametrize("folder", ["theirs", "everybodys"])
def test_a_stranger_does_not_choose_which_of_our_profiles_counts(tmp_path: Path, folder: str) -> None:
    """By a link of theirs that a link of ours leads to: both ends of the way are our own."""
    if os.geteuid() != 0:
        pytest.skip("only root can play another user")
    earlier, ours, between = (tmp_path / name for name in ("earlier.yaml", "profile.yaml", folder))
    earlier.write_text(yaml.safe_dump(own(tmp_path)))
    earlier.chmod(0o600)
    between.mkdir(mode=0o700)
    link = between / "link"
    link.symlink_to(earlier)
    ours.symlink_to(link)
    Profile.read(ours)
    if folder == "theirs":
        os.chown(between, 65534, 65534)
    else:
        between.chmod(0o1777)
        os.chown(link, 65534, 65534, follow_symlinks=False)
    with pytest.raises(Refused, match="others may write"):
        Profile.read(ours)


def test_a_profile_is_its_users_own(file: Path) -> None:
    assert Profile.read(file).site == "site-1"
    for mode in (0o620, 0o602, 0o666):
        file.chmod(mode)
        with pytest.raises(Refused, match="others may write"):
            Profile.read(file)
    file.chmod(0o644)  # whoever may read it is no danger to it
    Profile.read(file)
    file.parent.chmod(0o777)
    with pytest.raises(Refused, match="or a folder that it is in"):  # or else another file takes its place
        Profile.read(file)
    file.parent.chmod(0o755)


def test_the_card_that_it_names_is_as_much_its_own(file: Path, tmp_path: Path) -> None:
    """Whoever could put another card there would be the coordinator."""
    card = Path(card_in(tmp_path))
    Profile.read(file)
    card.chmod(0o622)
    with pytest.raises(Refused, match=r"others may write the card of the coordinator.*\.card, mode 0622"):
        Profile.read(file)
    card.chmod(0o644)
    card.write_text("{}")
    with pytest.raises(BadSignature, match="no identity card"):
        Profile.read(file)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_profile_of_somebody_elses_is_refused(file: Path) -> None:
    os.chown(file, 12345, -1)
    with pytest.raises(Refused, match="user 12345"):
        Profile.read(file)


def test_a_link_is_as_good_as_what_it_leads_to(file: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = elsewhere / "link.yaml"
    link.symlink_to(file)
    Profile.read(link)
    elsewhere.chmod(0o777)
    with pytest.raises(Refused, match="or a folder that it is in"):
        Profile.read(link)


def test_what_a_profile_names_is_there(file: Path, tmp_path: Path) -> None:
    file.write_text(yaml.safe_dump(own(tmp_path, files={"x": str(tmp_path / "no")})))
    with pytest.raises(DataError, match="there is no such file"):
        Profile.read(file)
    file.write_text(yaml.safe_dump(own(tmp_path, cohort={"source": "folder", "root": str(tmp_path / "no")})))
    with pytest.raises(DataError, match="no such folder"):
        Profile.read(file)
    file.write_text(yaml.safe_dump(permissive()))
    with pytest.raises(DataError, match=r"no such card of the coordinator; given: /nowhere/coordinator.card"):
        Profile.read(file)
    for gone, said in ((tmp_path / "none.yaml", "no such profile"), (tmp_path, "cannot read")):
        with pytest.raises(DataError, match=said):
            Profile.read(gone)
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not text"):
        Profile.read(file)


NUMBERS = st.floats(-10, 10) | st.integers(-10, 10)


@given(NUMBERS | st.booleans() | st.none() | st.text(max_size=2) | st.just(math.nan), NUMBERS, NUMBERS)
def test_within_bounds_is_a_number_between_them(value: Any, one: float, other: float) -> None:
    low, high = sorted((one, other))
    bounds = Bounds(at_least=low, at_most=high)
    assert bounds.allow(value) == (
        isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
    )
    assert bounds.allow(low)
    assert bounds.allow(high)


def test_one_of_means_just_these() -> None:
    bounds = Bounds(one_of=("all", 1, None))
    assert all(bounds.allow(value) for value in ("all", 1, None))
    assert not any(bounds.allow(value) for value in ("al", True, 0, "1", ("all",)))
    assert not Bounds(one_of=(True,)).allow(1)


def test_findings_that_nobody_has_are_a_slip_of_the_pen(make_cohort: Any) -> None:
    cohort = make_cohort((1,) * 4)
    assert released(cohort, None).findings == cohort.findings
    assert released(cohort, ["Pleural Effusion", "Fracture"]).findings == ("Effusion",)  # in any spelling
    assert released(cohort, []).findings == ()
    with pytest.raises(ConfigError, match="given: Efusion"):
        released(cohort, ["Efusion"])


def test_boxes_are_of_findings_that_leave(make_cohort: Any, annotated: Any) -> None:
    cohort = annotated(make_cohort((1,) * 12))
    before = sorted(set(cohort.boxes()["finding"]))
    assert len(before) > 1
    kept = released(cohort, before[:1])
    assert set(kept.boxes()["finding"]) == {before[0]}
    assert set(kept.index.columns) & set(VOCABULARY) == {before[0]}


def test_whoever_writes_a_profile_can_try_it(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(yaml.safe_dump(own(tmp_path, methods={"noise": {"scale": {"at_least": 0.2}}}, smallest=1000)))
    assert main([str(file)]) == 0
    said = capsys.readouterr().out
    assert "methods: noise (scale at least 0.2)" in said
    assert "too few films" in said
    whole = COORDINATOR.public.fingerprint
    assert f"\ncoordinator: server, {' '.join(whole[i : i + 8] for i in range(0, 64, 8))}\n" in said
    assert "\nprivacy: nothing is promised, and nothing may be spent\n" in said
    for privacy, told in (
        (None, "privacy: no limit is promised"),
        ({"epsilon": 2, "delta": 1e-3}, "privacy: epsilon 2 at delta 0.001 per patient"),
    ):
        file.write_text(yaml.safe_dump(own(tmp_path, budget={"privacy": privacy})))
        assert main([str(file)]) == 0
        said = capsys.readouterr().out
        assert told in said
        assert "told outright" not in said
    few = {"source": "phantom", "patients": 150, "size": 16}
    file.write_text(yaml.safe_dump(own(tmp_path, cohort=few, budget={"privacy": {"epsilon": 2, "delta": 0.01}})))
    assert main([str(file)]) == 0
    assert "delta lets one of the patients be told outright" in capsys.readouterr().out
    file.write_text(yaml.safe_dump(own(tmp_path, metods={})))
    assert main([str(file)]) == 2
    assert capsys.readouterr().err == (
        "error: unknown key in profile; given: metods; allowed: "
        + ", ".join(sorted(Profile.model_fields))
        + "; did you mean 'methods'?\n"
    )

"""One place says which backbones there are, and every network of the project takes its choice from there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from fedcxr import plugins
from fedcxr.errors import ConfigError
from fedcxr.models.architectures import ARCHITECTURES, Architecture, named
from fedcxr.models.backbone import Design, ImagenetBackbone
from fedcxr.models.classifier import classifier
from fedcxr.models.initialise import build
from fedcxr.models.pretrained import find
from fedcxr.rng import stream
from fedcxr.scenario import Scenario

# Where a scenario says a backbone's name: every field of the project that takes one.
NAMED = """
method: {{name: prichexy_net, classifier: {0}, verifier: {0}}}
tasks: {{findings: {{network: {0}}}, frozen_findings: {{network: {0}, pretrained: none}}}}
adversaries: {{verifier: {{network: {0}}}}}
"""


def test_one_line_adds_a_backbone_to_every_network(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="Input should be 'narrow', 'resnet18', 'resnet50'"):
        Scenario.from_yaml(NAMED.format("resnet34"))
    monkeypatch.setitem(ARCHITECTURES, "resnet34", Architecture("torchvision.models:resnet34", "fc", 224))
    scenario = Scenario.from_yaml(NAMED.format("resnet34"))
    assert scenario.tasks["findings"].spec()["network"] == "resnet34"
    plugins.build("method", {"name": "fedavg", "network": "resnet34"})
    fields: dict[str, plugins.Kind] = {"findings": "task", "verifier": "adversary", "dp_sgd": "method"}
    for name, kind in fields.items():
        told = plugins.load(kind, name).model_json_schema()["properties"]["network"]
        assert told["enum"] == list(ARCHITECTURES), "an editor offers it, too"
    with torch.device("meta"):
        assert Design("resnet34").backbone().features == 512


def test_no_field_has_a_list_of_its_own() -> None:
    """Whoever offers one of them offers all."""
    kinds: tuple[plugins.Kind, ...] = ("method", "task", "adversary")
    for kind in kinds:
        for name in plugins.names(kind):
            for field, told in plugins.load(kind, name).model_json_schema().get("properties", {}).items():
                if set(told.get("enum", ())) & set(ARCHITECTURES):
                    assert told["enum"] == list(ARCHITECTURES), f"{name}.{field}"


def test_reading_a_scenario_imports_no_torch() -> None:
    code = f"import sys; from fedcxr.scenario import Scenario; Scenario.from_yaml({NAMED.format('vit_b_16')!r})"
    told = f"{code}; print('torch' in sys.modules, 'torchvision' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", told], check=False, capture_output=True, text=True, timeout=120)
    assert ran.stdout.split() == ["False", "False"], ran.stderr


@pytest.mark.parametrize("name", [name for name, known in ARCHITECTURES.items() if known.made_by is not None])
def test_what_is_said_of_a_backbone_is_so(name: str) -> None:
    """Its last layer ends it, and what is left has the features that this layer reads."""
    known = named(name)
    with torch.device("meta"):
        whole = getattr(torchvision.models, name)(weights=None)
        bare = ImagenetBackbone(name)
    assert whole.get_submodule(known.last).in_features == bare.features
    assert not any(key.startswith(f"{known.last}.") for key in bare.network.state_dict())
    assert hasattr(torchvision.models.get_model_weights(name), known.imagenet or "")


def test_a_transformer_is_shown_films_of_its_one_size() -> None:
    """Whatever size they have; others are shown films as large as these are."""
    with torch.device("meta"):
        transformer, other = ImagenetBackbone("vit_b_16"), ImagenetBackbone("resnet18")
    transformer.network = other.network = torch.nn.Identity()
    films = torch.full((2, 1, 64, 48), 0.485)
    assert transformer(films).shape == (2, 3, 224, 224)
    assert other(films).shape == (2, 3, 64, 48)
    torch.testing.assert_close(transformer(films)[:, 0], torch.zeros(2, 224, 224))


def test_no_differential_privacy_without_gradients_of_single_films() -> None:
    with pytest.raises(ConfigError, match="gradients of single films cannot be had of vit_b_16"):
        plugins.build("method", {"name": "dp_sgd", "network": "vit_b_16"})
    plugins.build("method", {"name": "dp_sgd", "network": "vit_b_16", "train": "head", "start": "public"})


# Weights --------------------------------------------------------------------------------------------------------------


def test_weights_of_another_network_are_refused_by_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(build(lambda: torchvision.models.resnet18(weights=None), stream(1)).state_dict(), path)
    for name, wrong in (
        ("resnet50", "it lacks layer1.0.conv3.weight"),
        ("densenet121", "it has bn1.bias, which is no part"),
    ):
        with pytest.raises(ConfigError, match=f"do not fit {name}.*{wrong}") as caught:
            classifier(Design(name, pretrained=str(path)), 2, stream(1))
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == 2


@pytest.mark.parametrize("design", [Design(width=4), Design("resnet18")])
def test_what_an_earlier_run_has_learnt_is_taken_on(design: Design, tmp_path: Path) -> None:
    path = tmp_path / "learnt.safetensors"
    learnt = classifier(design, 3, stream(7))
    save_file({k: v for k, v in learnt.state_dict().items() if not k.endswith("num_batches_tracked")}, path)
    begun = classifier(Design(design.architecture, design.width, pretrained=str(path)), 5, stream(8)).eval()
    films = torch.from_numpy(stream(2).random((2, 1, 32, 32), dtype="float32"))
    with torch.inference_mode():
        torch.testing.assert_close(begun.backbone(films), learnt.eval().backbone(films))


def test_a_narrow_networks_file_of_another_width_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "learnt.safetensors"
    save_file(classifier(Design(width=4), 3, stream(7)).state_dict(), path)
    with pytest.raises(ConfigError, match=r"do not fit narrow.*instead of .*of a network of that width"):
        classifier(Design(width=8, pretrained=str(path)), 3, stream(1))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for name, how in (("narrow", "left in learnt/"), ("vit_b_16", "import vit_b_16")):
        with pytest.raises(ConfigError, match=how):
            find(name, str(tmp_path / "absent.safetensors"))

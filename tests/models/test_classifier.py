"""The classifier, its loss with unknown labels, and where pretrained weights come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file

from fedcxr.errors import ConfigError
from fedcxr.models.backbone import Design, ImagenetBackbone
from fedcxr.models.classifier import classifier, findings_loss
from fedcxr.models.initialise import build
from fedcxr.models.narrow import Stride
from fedcxr.rng import stream


@pytest.mark.parametrize("stride", [2, 4])
@pytest.mark.parametrize("size", [(64, 64), (50, 70)])
def test_one_logit_per_finding_for_any_size(size: tuple[int, int], stride: Stride) -> None:
    network = classifier(Design(width=4, stride=stride), 14, stream(1)).eval()
    assert network(torch.rand(2, 1, *size)).shape == (2, 14)


def test_a_films_exposure_does_not_matter_to_the_narrow_network() -> None:
    network = classifier(Design(width=4), 3, stream(1)).eval()
    films = torch.rand(2, 1, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(network(0.5 * films + 0.2), network(films), atol=1e-2, rtol=1e-2)


def test_an_unknown_label_has_no_loss_and_no_gradient() -> None:
    logits = torch.tensor([[0.3, -0.2], [1.0, 2.0]], requires_grad=True)
    labels = torch.tensor([[1.0, float("nan")], [float("nan"), 0.0]])
    loss = findings_loss(logits, labels, torch.tensor([3.0, 1.0]))
    loss.backward()
    assert logits.grad is not None
    assert (logits.grad != 0).tolist() == [[True, False], [False, True]]
    by_hand = (3 * np.log1p(np.exp(-0.3)) + np.log1p(np.exp(2.0))) / 2
    assert loss.item() == pytest.approx(by_hand, rel=1e-5)


def test_no_known_label_at_all_is_no_loss() -> None:
    logits = torch.zeros(2, 2, requires_grad=True)
    loss = findings_loss(logits, torch.full((2, 2), float("nan")), torch.ones(2))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_imagenet_weights_are_never_downloaded_and_the_error_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDCXR_WEIGHTS", str(tmp_path))
    with pytest.raises(ConfigError) as caught:
        classifier(Design("resnet50", pretrained="imagenet"), 14, stream(1))
    message = str(caught.value)
    assert str(tmp_path / "resnet50.safetensors") in message
    assert "python -c 'from torchvision.models import resnet50" in message
    command = message.partition("python -c '")[2].rpartition("'")[0]
    compile(command, "the command in the error", "exec")


def test_the_file_made_as_the_error_says_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDCXR_WEIGHTS", str(tmp_path))
    theirs = build(lambda: torchvision.models.densenet121(weights=None), stream(9))
    save_file(theirs.state_dict(), tmp_path / "densenet121.safetensors")
    network = classifier(Design("densenet121", pretrained="imagenet"), 14, stream(1)).eval()
    assert isinstance(network.backbone, ImagenetBackbone)
    films = torch.rand(1, 1, 64, 64)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    theirs.classifier = torch.nn.Identity()
    with torch.inference_mode():
        expected = theirs.eval()((films.repeat(1, 3, 1, 1) - mean[:, None, None]) / std[:, None, None])
        torch.testing.assert_close(network.backbone(films), expected)


@pytest.mark.parametrize("content", [b"\x80\x04pickle", None])
def test_a_file_that_does_not_fit_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    if content is None:
        save_file({"conv1.weight": torch.zeros(1)}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match="do not fit resnet50"):
        classifier(Design("resnet50", pretrained=str(path)), 14, stream(1))


def test_the_narrow_network_has_no_pretrained_weights() -> None:
    with pytest.raises(ConfigError, match="narrow network has no pretrained weights"):
        classifier(Design(pretrained="imagenet"), 14, stream(1))


def test_smoothing_draws_labels_towards_one_half() -> None:
    logits = torch.tensor([[0.4, -1.0]])
    smooth = findings_loss(logits, torch.tensor([[1.0, 0.0]]), torch.ones(2), smoothing=0.2).item()
    by_hand = [0.9 * np.log1p(np.exp(-z)) + 0.1 * np.log1p(np.exp(z)) for z in (0.4, 1.0)]
    assert smooth == pytest.approx(np.mean(by_hand), rel=1e-5)

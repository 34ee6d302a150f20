"""What attackers make of releases: the figures of Shiri et al., table 4, and a picture of original, released, restored.

scripts/evidence reconstruction --methods noise dp_pix --attackers copy mean unet --picture docs/pictures/restored.png
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedcxr.adversaries.reconstruction import Reconstruction
from fedcxr.data import cache_folder
from fedcxr.protocol import site_step
from fedcxr.questions import Heard
from fedcxr.runs.pictures import reconstructions, stacked
from fedcxr.scenario import Scenario
from fedcxr.simulation.experiment import Experiment
from fedcxr.simulation.keys import simulated
from fedcxr.simulation.threat import Threat
from fedcxr.training.compute import Compute
from fedcxr.view import Films, Shared

SHORT = {"steps_classifier": 50, "steps_verifier": 80, "steps": 60}  # as in the quick preset
METHODS: Mapping[str, dict[str, Any]] = {
    "noise": {"name": "noise", "scale": 0.2},
    "dp_pix": {"name": "dp_pix", "b": 8},
    "prichexy_net": {"name": "prichexy_net", "mu": 0.16, **SHORT},
    "privacy_net": {"name": "privacy_net", "steps_autoencoder": 60, **SHORT},
    "sca": {"name": "sca"},
    "sca_published": {"name": "sca", "ambiguation": "published"},
}
FIGURES = ("ssim", "psnr", "rmse", "me", "mae", "over_mean_db", "link_rate")
SHOWN = 3  # films of each method


@dataclass(frozen=True)
class Attacked:
    """One method's releases, and what became of them."""

    films: Films
    made: Mapping[str, Films]  # by attacker
    entries: Sequence[Mapping[str, Any]]


def attacked(method: Mapping[str, Any], attack: Reconstruction, patients: int, seed: int, compute: Compute) -> Attacked:
    """One hospital releases phantoms, and the attackers are asked what these look like."""
    scenario = Scenario.parse(
        {
            "sites": 1,
            "seed": seed,
            "cohort": {"source": "phantom", "patients": patients, "size": 64},
            "method": dict(method),
            "tasks": {},
            "adversaries": {"reconstruction": {}},
            "compute": {"device": compute.device.type},
        }
    )
    experiment = Experiment.open(scenario, cache_folder())
    releases = [site_step(scenario, s, experiment.site(s), simulated(scenario, s)) for s in experiment.dealt]
    put = Threat(experiment).put(Shared(releases))["reconstruction"]
    heard = {}
    for world, one in put.items():
        adversary = attack.on_smoke_budget() if one.setting.smoke else attack
        answers = adversary.answer("reconstruction", one.leak, {}, seed, compute, lambda stage, done, total: None)
        heard[world] = Heard(one.asked.key, answers, 0.0)
    made = {attacker: answer["pictures"] for attacker, answer in heard["protected"].answers.items()}
    entries = scenario.questions["reconstruction"].score(heard, seed)
    return Attacked(heard["protected"].key.films, made, entries)


def main() -> None:
    """Print a row for each method and attacker, and draw if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--attackers", nargs="+", default=["copy", "mean", "unet"])
    parser.add_argument("--patients", type=int, default=400)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--picture", type=Path, help="file to draw to; none unless given")
    chosen = parser.parse_args()
    attack = Reconstruction(attackers=tuple(chosen.attackers), steps=chosen.steps)
    compute, sheets = Compute.choose(chosen.device), []
    heads = ("method", "attacker", *FIGURES, "AUC by picture", "of the release", "converged", "conclusive")
    print("|", " | ".join(heads), "|\n|", " | ".join(["---"] * len(heads)), "|")
    for name in chosen.methods:
        found = attacked(METHODS[name], attack, chosen.patients, chosen.seed, compute)
        for entry in found.entries:
            links = entry["known_films"]
            figures = [*(entry[figure] for figure in FIGURES), links["auc"], links["auc_released"]]
            cells = [name, entry["attacker"], *map(_cell, figures), str(entry["converged"]), str(entry["conclusive"])]
            print("|", " | ".join(cells), "|", flush=True)
        some = np.linspace(0, len(found.films) - 1, SHOWN).astype(int)
        made = {attacker: films[some] for attacker, films in found.made.items() if attacker != "copy"}
        released = found.made.get("copy")
        sheets.append(reconstructions(found.films[some], None if released is None else released[some], made, name))
    if chosen.picture:
        chosen.picture.parent.mkdir(parents=True, exist_ok=True)
        stacked(sheets).save(chosen.picture, optimize=True)


def _cell(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return "-"
    ends = "" if figure["ci95"] is None else " ({:.2f} to {:.2f})".format(*figure["ci95"])
    return f"{figure['value']:.2f}{ends}"


if __name__ == "__main__":
    main()

"""What an attack costs, beside the same done as one would first write it.

    scripts/bench attack

`evaluation`  the score of every pair of a released and a known film: each film embedded once, or each pair on its own
`bootstrap`   1000 draws of patients: all at once, or scikit-learn's AUC in a loop; both on the same draws
`training`    of a verifier: this machine's fastest precision and channels last, or float32 as it comes
`attackers`   of one verifier that ask together, or `retrained` alone: what they learn is learnt once

Both sides of a ratio run in turn, and the ratio is that of the same turn. On a CPU, time is the process's own.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from statistics import median

import numpy as np
import numpy.typing as npt
import torch
from sklearn.metrics import roc_auc_score

from fedcxr.adversaries import Leak
from fedcxr.adversaries._sampler import OwnPairSampler
from fedcxr.adversaries.verifier import Attacker, Verifier
from fedcxr.data import cache_folder
from fedcxr.data.phantom import Phantom
from fedcxr.knowledge import Holding
from fedcxr.knowledge.own_films import Owned
from fedcxr.methods import Films
from fedcxr.methods.noise import Noise
from fedcxr.metrics import bootstrap
from fedcxr.models.backbone import Design
from fedcxr.models.siamese import Siamese, partner_loss, siamese
from fedcxr.rng import stream
from fedcxr.training import predict, shifted, to_device, to_tensor
from fedcxr.training.compute import Compute
from fedcxr.view import View

PEOPLE = 24  # in a batch, with two films each
DRAWS = 1000


def main() -> None:
    """Time everything and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=400)
    parser.add_argument("--size", type=int, default=64, help="pixels of a film's side")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20, help="of training, in each turn")
    parser.add_argument("--budget", type=int, default=400, help="steps of an attacker, half of them on clean films")
    options = parser.parse_args()
    cohort = Phantom(patients=options.patients, size=options.size).open(cache_folder(), workers=2)
    films, patients = cohort.films(), np.unique(cohort.patients, return_inverse=True)[1].astype(np.int64)
    compute = Compute.choose()
    print(f"{len(films)} films of {options.size} px, {compute.device.type}, {compute.precision}, threads: 1\n")
    with compute.session():
        _evaluation(films, compute, options.turns)
        _bootstrap(patients, options.turns)
        _training(films, patients, compute, options)
    _attackers(films, patients, compute, options)


def _clock() -> float:
    """Seconds of the process's own, or of the wall where a card works beside it."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def _took(work: Callable[[], object]) -> float:
    before = _clock()
    work()
    return _clock() - before


def _told(what: str, ours: Sequence[float], plain: Sequence[float], unit: str) -> None:
    """The median of both, in so much per second, and of their ratio."""
    ratio = median(slow / fast for fast, slow in zip(ours, plain, strict=True))
    rates = f"{1 / median(ours):12,.0f} {1 / median(plain):12,.0f}"
    print(f"{what:34}{rates} {unit:22}{ratio:8.1f} x")


def _network(compute: Compute) -> Siamese:
    return to_device(siamese(Design(width=24, stride=4), 128, stream(0, "weights")), compute)


# Evaluation -----------------------------------------------------------------------------------------------------------


def _evaluation(films: Films, compute: Compute, turns: int) -> None:
    network, few = _network(compute).eval(), films[:128]

    @torch.inference_mode()
    def at_once() -> npt.NDArray[np.float32]:
        first, second = (torch.from_numpy(predict(network, some, compute)) for some in (films, few))
        logits = network.compare(first.to(compute.device), second.to(compute.device))
        scores: npt.NDArray[np.float32] = logits.cpu().numpy()
        return scores

    @torch.inference_mode()
    def by_pair(rows: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
        with compute.autocast():
            embedded = [network.embed(to_tensor(some, compute)) for some in (films[rows], few[rows % len(few)])]
        logits = (embedded[0] - embedded[1]).abs() @ network.head.weight[0] + network.head.bias
        paired: npt.NDArray[np.float32] = logits.float().cpu().numpy()
        return paired

    rows = np.arange(256)
    apart = np.abs(at_once()[rows, rows % len(few)] - by_pair(rows)).max()
    ours = [_took(at_once) / (len(films) * len(few)) for _ in range(turns)]
    plain = [_took(lambda: by_pair(rows)) / len(rows) for _ in range(turns)]
    _told("evaluation, against pair by pair", ours, plain, "pairs/s")
    print(f"{'':34}the same scores but for {apart:.1e}")


# Intervals ------------------------------------------------------------------------------------------------------------


def _bootstrap(patients: npt.NDArray[np.int64], turns: int) -> None:
    a, b = (axis.ravel() for axis in np.indices((len(patients) // 4, len(patients) // 4)))
    first, second = patients[2 * a], patients[2 * b + 1]  # neighbours are films of one patient
    genuine = first == second
    scores = (stream(0, "scores").standard_normal(len(a)) + genuine).astype(np.float32)
    plain_draws = 5

    def at_once() -> tuple[float, float] | None:
        return bootstrap.auc_interval(scores, genuine, first, second, stream(0, "draws"), replicates=DRAWS)

    owners = np.unique(np.concatenate([first, second]))
    place = np.searchsorted(owners, first), np.searchsorted(owners, second)
    [times] = bootstrap._draws(len(owners), plain_draws, stream(0, "draws"), 1)

    def looped() -> list[float]:
        weights = (
            np.where(place[0] == place[1], times[place[0], k], times[place[0], k] * times[place[1], k])
            for k in range(plain_draws)
        )
        return [float(roc_auc_score(genuine, scores, sample_weight=weight)) for weight in weights]

    same = bootstrap._replicates([scores], genuine, (first, second), None, stream(0, "draws"), plain_draws)[0]
    apart = max(abs(one - other) for one, other in zip(same, looped(), strict=True))
    ours = [_took(at_once) / DRAWS for _ in range(turns)]
    plain = [_took(looped) / plain_draws for _ in range(turns)]
    _told("bootstrap, against a loop", ours, plain, f"draws/s of {len(a):,}")
    print(f"{'':34}the same AUC but for {apart:.1e}")


# Training -------------------------------------------------------------------------------------------------------------


def _training(films: Films, patients: npt.NDArray[np.int64], compute: Compute, options: argparse.Namespace) -> None:
    own = Owned(films, patients, np.zeros_like(patients), np.zeros(len(films), dtype=np.bool_))
    plain = Compute(compute.device, "fp32")

    def trained(where: Compute, fast: bool) -> float:
        """Seconds per film."""
        rng, network = stream(0, "training"), _network(where).train()
        if not fast:
            network = network.to(memory_format=torch.contiguous_format)
        sampler = OwnPairSampler.owned(own)
        optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=fast)

        def steps(number: int) -> None:
            for _ in range(number):
                rows = sampler.draw(PEOPLE, 0.9, rng)
                pixels = to_tensor(np.concatenate([shifted(films[r], 1, rng) for r in rows]), where)
                with where.autocast():
                    embedded = network.embed(pixels if fast else pixels.contiguous())
                    first, second = embedded.chunk(2)
                    loss = partner_loss(network.compare(first, second), 8.0)
                optimiser.zero_grad(set_to_none=True)
                torch.autograd.backward(loss)
                optimiser.step()

        steps(3)
        seconds: float = _took(lambda: steps(options.steps)) / (options.steps * 2 * PEOPLE)
        return seconds

    pairs = [(trained(compute, fast=True), trained(plain, fast=False)) for _ in range(options.turns)]
    ours, others = zip(*pairs, strict=True)
    _told("training, against plain float32", ours, others, "films/s")


# Attackers ------------------------------------------------------------------------------------------------------------


def _attackers(films: Films, patients: npt.NDArray[np.int64], compute: Compute, options: argparse.Namespace) -> None:
    """Films under noise, of a quarter of the people, by those who own all films of the others."""
    method, attacked = Noise(), patients % 4 == 0
    mine = np.flatnonzero(~attacked)
    own = Owned(films[mine], patients[mine], np.zeros_like(mine), patients[mine] % 10 == 1)
    theirs = np.flatnonzero(attacked)
    released = method.protect(films[theirs[::2]], stream(0, "release"))
    everybody = np.ones(len(released), dtype=np.bool_)
    view = View({"films": released}, everybody, np.zeros(len(released), dtype=np.int64))
    known = Holding({"films": films[theirs[1::2]]})
    mechanism = Holding({}, {"method": method.spec()})
    leak = Leak(view, {"own_films": Holding(vars(own)), "known_films": known, "mechanism": mechanism})

    def attacked_by(*attackers: Attacker) -> float:
        """Seconds."""
        steps = options.budget // 2
        verifier = Verifier(attackers=attackers, steps_clean=steps, steps_retrain=steps)

        def attack() -> None:
            with compute.session():
                prepared = verifier.prepare(own, 0, compute, _silent)
                verifier.answer("linkage", leak, prepared, 0, compute, _silent)

        return _took(attack)

    alone = attacked_by("retrained")
    print(f"{'one attacker, retrained':34}{alone:12,.1f} s")
    for attackers in (("naive", "retrained", "linear"), Verifier().attackers):
        seconds = attacked_by(*attackers)
        print(f"{', '.join(attackers):34}{seconds:12,.1f} s{'':34}{seconds / alone:8.2f} x")


def _silent(stage: str, step: int, steps: int) -> None:
    """Nobody watches."""


if __name__ == "__main__":
    main()

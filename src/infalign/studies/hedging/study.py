"""How hard to select by an imperfect reward: hacking, hedges and their theory."""

from __future__ import annotations

from infalign.presentation.figure import FigureEntry
from infalign.records.config import Config
from infalign.records.responses import (
    ModelTraining,
    ResponseSet,
    ScoreSet,
    reference_responses,
    reward_and_judge,
    shared,
)
from infalign.studies.hedging.block import HedgedPool, Proxy, pool_sampling, pools_problems, proxy_model
from infalign.studies.hedging.claims import ExtremaSlack, HedgeGain, PoissonGap
from infalign.study import Study

DRAW = "infalign.studies.hedging.figures"
CAPTIONS = {
    "hacking": "**Reward hacking and hedging, task {task}** (Khalaf et al., inference-time reward hacking). Expected "
    "true reward (thick) and proxy (thin) of each procedure against its KL, on a square root scale, on one half of the "
    "prompts. Both are less the reference's mean, in units of the reference's spread within a prompt. Each proxy that "
    "selects has a panel. Markers: the hedge, the parameter at which the expected true reward is best on the other "
    "half of the prompts. All numbers are exact for independent draws from many scored responses of the reference. "
    "Near the right end best-of-n draws as many as there are, so that draws repeat.",
    "tradeoff": "**Reward and distortion, task {task}** (Khalaf et al., inference-time reward hacking). Expected true "
    "reward of each procedure over the reference's, in its own units, against its KL, on a square root scale, on one "
    "half of the prompts. Bands are bootstrap intervals over prompts, paired with the reference. Each proxy has a "
    "panel. Markers: the hedges, chosen on the other half, with their intervals. Crosses: the largest parameter of "
    "each procedure.",
    "regimes": "**The four regimes** (Khalaf et al., inference-time reward hacking, theorem). Expected true reward of "
    "four procedures against their KL, for true rewards that change direction at most once as functions of the "
    "proxy's quantile u. Then it has at most one extremum in the parameter: it rises or falls throughout, rises "
    "and then falls (hacking), or falls and then rises. No language model is involved.",
    "poisson_tilt": "**Best-of-Poisson and the tilt** (Khalaf et al., inference-time reward hacking). The exact "
    "tilt has the least KL of all policies with its mean quantile u, but cannot be sampled from a few responses. "
    "Left: the KL that best-of-Poisson, the best of 1 + Poisson(μ) responses, spends over it at the same mean of "
    "u. Right: the mean of u that it gives up at the same KL. These are exact numbers of the continuous model.",
}


def _pool_path(config: Config, pool: HedgedPool, name: str) -> str:
    return shared(config, pool.task, f"pools/{pool.folder}/{name}")


def _proxy_folder(config: Config, pool: HedgedPool, proxy: Proxy, path: str) -> str:
    return shared(config, pool.task, f"{'models' if proxy.is_own else 'proxies'}/{path}")


def _responses(pools: list[HedgedPool], config: Config) -> dict[str, ResponseSet]:
    sets = {}
    for pool in pools:
        sampling, prompts = pool_sampling(config.tasks[pool.task], pool), {"n_prompts": pool.n_prompts}
        entry = reference_responses(config, pool.task, sampling, "pools", split="evaluation", **prompts)
        sets[_pool_path(config, pool, "samples")] = entry
    return sets


def _scores(pools: list[HedgedPool], config: Config) -> dict[str, ScoreSet]:
    sets = {}
    for pool in pools:
        samples = _pool_path(config, pool, "samples")
        for name, path in pool.proxy_names.items():
            model = _proxy_folder(config, pool, pool.proxies[name], path)
            entry = reward_and_judge(config, pool.task, samples, reward_model=model)
            sets[_pool_path(config, pool, path)] = entry
    return sets


def _trainings(pools: list[HedgedPool], config: Config) -> dict[str, ModelTraining]:
    return {
        _proxy_folder(config, pool, proxy, path): ModelTraining(
            pool.task, proxy_model(config.tasks[pool.task], proxy), "reward", proxy.n_pairs, proxy.flipped
        )
        for pool in pools
        for proxy, path in zip(pool.proxies.values(), pool.proxy_names.values(), strict=True)
        if not proxy.is_own
    }


def _figures(pools: list[HedgedPool], config: Config) -> list[FigureEntry]:
    theory = [FigureEntry(name, f"{DRAW}:draw_{name}", (name,), CAPTIONS[name]) for name in ("regimes", "poisson_tilt")]
    return theory + [_task_figure(kind, pool.task) for pool in pools for kind in ("hacking", "tradeoff")]


def _task_figure(kind: str, task: str) -> FigureEntry:
    draw, caption = f"{DRAW}:draw_{kind}", CAPTIONS[kind].format(task=task)
    return FigureEntry(f"{kind}_{task}", draw, ("hacking", "hedges"), caption, {"task": task})


STUDY = Study(
    "hedging",
    kind=list[HedgedPool],
    default=[],
    description="default: nothing is hedged",
    problems=lambda pools, config: pools_problems(pools, config.tasks),
    responses=_responses,
    scores=_scores,
    trainings=_trainings,
    figures=_figures,
    claims=(HedgeGain, ExtremaSlack, PoissonGap),
)

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
from infalign.studies.hedging.block import HedgedPool, Proxy, pool_sampling, pools_problems
from infalign.studies.hedging.claims import ExtremaSlack, HedgeGain, PoissonGap
from infalign.studies.hedging.pools import pool_name, proxy_model, proxy_names
from infalign.study import Study

DRAW = "infalign.studies.hedging.figures"
CAPTIONS = {
    "hacking": "**Reward hacking and hedging, task {task}** (Khalaf et al., inference-time reward hacking). Expected "
    "true reward (thick) and proxy (thin) of each procedure against its KL, less the reference's mean and in units of "
    "its mean spread within a prompt, on one half of the prompts. Each proxy that selects has a panel. Markers: the "
    "hedge, the parameter at which the expected true reward is best on the other half of the prompts. Everything is "
    "computed from many scored responses of the reference, without bootstrap. Near the right end best-of-n of as "
    "many as there are repeats draws.",
    "tradeoff": "**Reward and distortion, task {task}** (Khalaf et al., inference-time reward hacking). Expected true "
    "reward of each procedure over the reference's, in its own units, against its KL, with bootstrap intervals over "
    "prompts, paired, on one half of the prompts. Each proxy has a panel. Markers: the hedges, chosen on the other "
    "half, with their intervals. Crosses: the largest parameter of each procedure.",
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
    return shared(config, pool.task, f"pools/{pool_name(pool)}/{name}")


def _proxy_folder(config: Config, pool: HedgedPool, proxy: Proxy, path: str) -> str:
    return shared(config, pool.task, f"{'models' if proxy.is_own else 'proxies'}/{path}")


def responses(pools: list[HedgedPool], config: Config) -> dict[str, ResponseSet]:
    return {
        _pool_path(config, pool, "samples"): reference_responses(
            config,
            pool.task,
            pool_sampling(config.tasks[pool.task], pool),
            "pools",
            split="evaluation",
            n_prompts=pool.n_prompts,
        )
        for pool in pools
    }


def scores(pools: list[HedgedPool], config: Config) -> dict[str, ScoreSet]:
    return {
        _pool_path(config, pool, path): reward_and_judge(
            config,
            pool.task,
            _pool_path(config, pool, "samples"),
            reward_model=_proxy_folder(config, pool, pool.proxies[name], path),
        )
        for pool in pools
        for name, path in proxy_names(pool).items()
    }


def trainings(pools: list[HedgedPool], config: Config) -> dict[str, ModelTraining]:
    return {
        _proxy_folder(config, pool, proxy, path): ModelTraining(
            pool.task, proxy_model(config.tasks[pool.task], proxy), "reward", proxy.n_pairs, proxy.flipped
        )
        for pool in pools
        for proxy, path in zip(pool.proxies.values(), proxy_names(pool).values(), strict=True)
        if not proxy.is_own
    }


def figures(pools: list[HedgedPool], config: Config) -> list[FigureEntry]:
    theory = [FigureEntry(name, f"{DRAW}:draw_{name}", (name,), CAPTIONS[name]) for name in ("regimes", "poisson_tilt")]
    return theory + [
        FigureEntry(
            f"{kind}_{pool.task}",
            f"{DRAW}:draw_{kind}",
            ("hacking", "hedges"),
            CAPTIONS[kind].format(task=pool.task),
            {"task": pool.task},
        )
        for pool in pools
        for kind in ("hacking", "tradeoff")
    ]


STUDY = Study(
    "hedging",
    kind=list[HedgedPool],
    default=[],
    description="default: nothing is hedged",
    problems=lambda pools, config: pools_problems(pools, config.tasks),
    responses=responses,
    scores=scores,
    trainings=trainings,
    figures=figures,
    claims=(HedgeGain, ExtremaSlack, PoissonGap),
)

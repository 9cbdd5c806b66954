"""Pools of the reference's responses and the proxies that score them: their folders and changed pairs."""

from __future__ import annotations

from infalign.mathematics.families import Family
from infalign.records.block import settings_json, short_hash
from infalign.records.task import PreferenceModel, Task
from infalign.studies.hedging.block import HedgedPool, Proxy, proxy_block

OWN = "reward_model"


def pool_name(pool: HedgedPool) -> str:
    """Name of a pool's folder below its task's `pools/`; another number of responses or prompts has another.

    Examples
    --------
    >>> pool_name(HedgedPool(task="t", true_reward="gold", n_samples=1000, n_prompts=64, proxies={"a": {}}))
    'n1000-p64'
    """
    return f"n{pool.n_samples}-p{pool.n_prompts or 'all'}"


def proxy_names(pool: HedgedPool) -> dict[str, str]:
    """Proxy to its name in paths, which for all but the task's own reward model ends with its settings' hash.

    Examples
    --------
    >>> proxies = {"own": {}, "flipped": {"flipped": 0.25}}
    >>> names = proxy_names(HedgedPool(task="t", true_reward="gold", proxies=proxies))
    >>> names["own"], names["flipped"].startswith("flipped-")
    ('reward_model', True)
    """
    return {
        name: OWN if proxy.is_own else f"{name}-{short_hash(settings_json(proxy))}"
        for name, proxy in pool.proxies.items()
    }


def proxy_model(task: Task, proxy: Proxy) -> PreferenceModel:
    """The block by which a proxy is trained: the task's own or that of the proxy."""
    return PreferenceModel.model_validate(proxy_block(task, proxy))


def families(pool: HedgedPool) -> list[Family]:
    """The procedures of a pool in the order of its methods, sbon once for each n.

    Examples
    --------
    >>> pool = HedgedPool(task="t", true_reward="gold", methods=["bon", "sbon"], sbon_n=[4, 16], proxies={"a": {}})
    >>> families(pool)
    [Family(method='bon', n=None), Family(method='sbon', n=4), Family(method='sbon', n=16)]
    """
    return [Family(method, n) for method in pool.methods for n in (pool.sbon_n if method == "sbon" else [None])]

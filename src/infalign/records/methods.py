"""Settings of the alignment methods; the configuration and the trainers share these models."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field, model_validator

from infalign.records.block import Block, Count, Positive

NotNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
Strength = Literal["kl", "beta", "n"]
ENGINE_MEMORY = 0.3  # of a GPU that the training needs for itself


class Method(Block):
    """What configuration, workflow and figures read of a method; each method states it in its settings' class."""

    display_name: ClassVar[str]  # in legends and tables
    marker: ClassVar[str | None] = None  # matplotlib's; None: that of the transform
    color: ClassVar[str | None] = None  # of a method without a reward (Tol's muted palette)
    script: ClassVar[str]  # trains one policy; its command line is `alignment.job.PolicyJob`
    several_processes: ClassVar[bool] = False  # whether the script can share the work among several
    takes_reward: ClassVar[bool] = False  # whether a policy of it names a reward, e.g. exp(10)
    estimates_quantiles: ClassVar[bool] = False  # whether it takes n_rollouts although it takes no reward
    strengths: ClassVar[tuple[Strength, ...]] = ("n",)  # the kinds of strength that its policies may have


class Optimisation(Method):
    """What every method that takes gradient steps has.

    Defaults are those of variational best-of-N (Amini et al. 2025, appendix D), the paper of this family
    that prints its table; where it is silent the field says whose default stands there.
    """

    kind: str
    updates: Count = Field(312, description="batches; 10,000 episodes of 32 (vBoN, appendix D)")
    learning_rate: Positive = Field(3e-6, description="at the first update (vBoN, appendix D)")
    schedule: Literal["linear", "constant"] = Field(
        "linear", description="linear: falls to 0 over the updates (vBoN, appendix D)"
    )
    adam_epsilon: Positive = Field(1e-5, description="vBoN, appendix D")
    adam_betas: tuple[Decay, Decay] = Field((0.9, 0.999), description="torch's default")
    weight_decay: NotNegative = Field(0.0, description="of AdamW; TRL's default")
    max_gradient_norm: Positive = Field(1.0, description="the gradient is scaled down to it; TRL's default")
    weight_average: Fraction = Field(
        0.0,
        description="the policy saved is the mean of the weights after this last fraction of the updates "
        "(Polyak and Juditsky 1992); 0: the weights after the last update",
    )
    chunk_size: Count = Field(64, description="responses in one forward pass; changes speed and memory only")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="of the matrix products; bfloat16 is for GPUs"
    )
    checkpoint_every: Count = Field(25, description="updates between checkpoints")


class Lora(Block):
    """Low-rank adapters, trained in place of the weights (Hu et al. 2022); the saved policy holds them merged."""

    rank: Count = Field(16, description="of the two matrices beside each weight")
    alpha: Positive = Field(32.0, description="what they add is multiplied by alpha / rank")
    dropout: Decay = Field(0.0, description="of what the adapters read, while gradients are taken")
    target_modules: Annotated[list[str], Field(min_length=1)] | Literal["all-linear"] = Field(
        "all-linear",
        description="ends of the names of linear layers, e.g. [q_proj, v_proj]; all-linear: every one",
    )


class PPOSettings(Optimisation):
    """Proximal policy optimisation with the KL to the reference inside the reward."""

    display_name: ClassVar[str] = "PPO"
    script: ClassVar[str] = "train_ppo.py"
    several_processes: ClassVar[bool] = True
    takes_reward: ClassVar[bool] = True
    strengths: ClassVar[tuple[Strength, ...]] = ("kl", "beta")

    kind: Literal["ppo"] = "ppo"
    prompts_per_update: Count = Field(32, description="prompts in a batch (vBoN, appendix D: batch size 32)")
    samples_per_prompt: Count = Field(1, description="responses drawn to each prompt of a batch (vBoN: 1)")
    epochs: Count = Field(4, description="passes over each batch (vBoN, appendix D: 4)")
    minibatches: Count = Field(1, description="optimiser steps a pass (the paper names none: 1)")
    clip: Positive = Field(0.2, description="how far the probability ratio may leave 1 (vBoN, appendix D)")
    value_clip: Positive | None = Field(
        0.2, description="how far a value may move from its old one; null: unclipped (vBoN, appendix D)"
    )
    value_coefficient: NotNegative = Field(0.2, description="weight of the value loss (vBoN, appendix D)")
    discount: Fraction = Field(1.0, description="gamma of the returns (vBoN, appendix D)")
    gae_lambda: Fraction = Field(0.95, description="lambda of generalised advantage estimation (vBoN, appendix D)")
    kl_penalty: Literal["log_ratio", "full_vocabulary"] = Field(
        "log_ratio",
        description="KL in the reward: log-ratio of the sampled token (Ziegler et al. 2019), or the exact KL "
        "of each position, its gradient taken directly (Rao-Blackwellised: same mean, lower variance)",
    )
    group_baseline: bool = Field(
        False,
        description="subtract the mean return of the prompt's other samples before the value head's part "
        "(RLOO: Ahmadian et al. 2024); needs samples_per_prompt >= 2",
    )
    lora: Lora | None = Field(
        None,
        description="train low-rank adapters; null: all weights",
        exclude_if=lambda lora: lora is None,  # policies without adapters keep their hash
    )
    engine: Literal["transformers", "vllm"] = Field(
        "transformers",
        description="who draws the responses of training (docs/several-gpus.md)",
        exclude_if=lambda engine: engine == "transformers",  # policies that do not name one keep their hash
    )
    engine_memory: Share | None = Field(
        None,
        description="share of the GPU's memory that vLLM may take beside the training, only for engine: vllm; "
        f"null: {ENGINE_MEMORY}",
        exclude_if=lambda share: share is None,
    )

    @model_validator(mode="after")
    def _settings_fit_together(self) -> PPOSettings:
        size = self.prompts_per_update * self.samples_per_prompt
        problems = {
            f"engine_memory is vLLM's share of the GPU, got {self.engine_memory} with engine: {self.engine}; "
            "leave it out or set engine: vllm": self.engine_memory is not None and self.engine != "vllm",
            "weight_average is a mean of weights, and the mean of two adapters is not the adapter of the mean; "
            "leave out lora or weight_average": self.lora is not None and self.weight_average > 0,
            f"group_baseline needs samples_per_prompt >= 2, got {self.samples_per_prompt}; "
            "raise it or leave group_baseline out": self.group_baseline and self.samples_per_prompt < 2,
            f"minibatches must be <= prompts_per_update * samples_per_prompt = {size}, "
            f"got {self.minibatches}": self.minibatches > size,
        }
        if any(problems.values()):
            raise ValueError("; ".join(problem for problem, is_there in problems.items() if is_there))
        return self


class VBoNSettings(PPOSettings):
    """Variational best-of-N: PPO towards the best-of-N distribution itself (Amini et al. 2025)."""

    display_name: ClassVar[str] = "vBoN"
    marker: ClassVar[str | None] = "p"
    color: ClassVar[str | None] = "#117733"
    takes_reward: ClassVar[bool] = False
    estimates_quantiles: ClassVar[bool] = True
    strengths: ClassVar[tuple[Strength, ...]] = ("n",)

    kind: Literal["vbon"] = "vbon"  # type: ignore[assignment]
    objective: Literal["exact", "bound"] = Field(
        "exact", description="exact: eq. 5, the log-probability under best-of-N; bound: L of theorem 2"
    )
    smooth: bool = Field(False, description="log F from the least-squares fit -a exp(-b x) of each prompt (section 6)")


class AnchoredSettings(PPOSettings):
    """A method that distils best-of-n of an anchor, a second policy that draws and whose weights are whole."""

    script: ClassVar[str] = "train_bond.py"
    several_processes: ClassVar[bool] = False
    takes_reward: ClassVar[bool] = False
    strengths: ClassVar[tuple[Strength, ...]] = ("n",)

    samples_per_prompt: Count = Field(2, description="the fewest that a leave-one-out baseline takes")
    epochs: Count = Field(1, description="1: the gradient is that of the divergence")
    lora: None = Field(  # type: ignore[assignment]
        None,
        description="none: the anchor's weights follow the policy's",
        exclude_if=lambda lora: lora is None,
    )
    engine: Literal["transformers"] = Field(  # type: ignore[assignment]
        "transformers",
        description="transformers: the anchor draws too",
        exclude_if=lambda engine: engine == "transformers",
    )
    engine_memory: None = Field(  # type: ignore[assignment]
        None, description="of vLLM only", exclude_if=lambda share: share is None
    )


class BONDSettings(AnchoredSettings):
    """Best-of-N distillation by a Jeffreys divergence, in stages of best-of-`n_each` (Sessa et al. 2024)."""

    display_name: ClassVar[str] = "BOND"
    marker: ClassVar[str | None] = "*"
    color: ClassVar[str | None] = "#AA4499"

    kind: Literal["bond"] = "bond"  # type: ignore[assignment]
    updates: Count = Field(312, description="of each stage; one schedule runs through all stages")
    group_baseline: bool = Field(True, description="leave-one-out baseline, as BOND's")
    jeffreys: Fraction = Field(0.5, description="weight of the backward divergence (BOND: 0.5)")
    n_each: Annotated[int, Field(ge=2)] = Field(
        2, description="each stage distils best-of-n_each of the stage before; n is a power of it"
    )
    quantile_samples: Annotated[int, Field(ge=2)] = Field(
        32, description="responses of each stage's anchor that estimate the quantiles of a prompt"
    )


class JBONDSettings(AnchoredSettings):
    """J-BOND: best-of-2 of a moving anchor, its quantile from two samples (Sessa et al. 2024)."""

    display_name: ClassVar[str] = "J-BOND"
    marker: ClassVar[str | None] = "v"
    color: ClassVar[str | None] = "#CC6677"

    kind: Literal["jbond"] = "jbond"  # type: ignore[assignment]
    updates: Count = Field(
        35,
        description="for each doubling of n; the anchor's weights move to the policy's by "
        "eta = 2^(1/updates) - 1 at each update (35: eta = 0.02)",
    )
    group_baseline: bool = Field(True, description="leave-one-out baseline, as J-BOND's")
    jeffreys: Fraction = Field(0.5, description="weight of the backward divergence (J-BOND: 0.5)")

    @property
    def anchor_rate(self) -> float:
        """Eta: the anchor of a policy that always is best-of-2 of it doubles its n in `updates` updates.

        Where weights add like exponents of F (anchor F^a, policy F^2a), a grows by 1 + eta an update. After
        `updates`·log2 n updates such an anchor is at n, and its policy at 2n. A policy that lags its target
        ends lower. On the toy policy of the tests (35 updates a doubling), by win rate: nominal n of 2, 4, 8,
        16 ended at 3.7, 7.0, 13.0, 21.8 (anchor 2.0, 3.5, 6.5, 12.5) at a constant learning rate of 0.003, at
        3.2, 5.4, 9.0, 15.0 where it falls to 0; from 0.001 falling to 0, 4 ended at 4.1 and 16 at 9.7. So the
        nominal n names the run: read how far it went from its KL and win rate.
        """
        return 2.0 ** (1 / self.updates) - 1


class RLOOSettings(Method):
    """REINFORCE with a leave-one-out baseline: TRL's trainer, the second solver of every reward of PPO."""

    display_name: ClassVar[str] = "RLOO"
    marker: ClassVar[str | None] = "H"
    script: ClassVar[str] = "train_rloo.py"
    takes_reward: ClassVar[bool] = True
    strengths: ClassVar[tuple[Strength, ...]] = ("kl", "beta")

    kind: Literal["rloo"] = "rloo"
    updates: Count = Field(312, description="batches sampled; as PPO's")
    prompts_per_update: Count = Field(32, description="prompts in a batch")
    samples_per_prompt: Annotated[int, Field(ge=2)] = Field(
        2, description="responses to each prompt of a batch; TRL's default"
    )
    learning_rate: Positive = Field(1e-6, description="at the first update; TRL's default")
    schedule: Literal["linear", "constant"] = "linear"
    adam_epsilon: Positive = Field(1e-8, description="TRL's default")
    adam_betas: tuple[Decay, Decay] = Field((0.9, 0.999), description="TRL's default")
    weight_decay: NotNegative = 0.0
    max_gradient_norm: Positive = 1.0
    chunk_size: Count = Field(
        256,
        description="most responses in one forward pass; the batch is cut into equal parts; changes speed and "
        "memory only",
    )


class OfflineSettings(Optimisation):
    """A method that learns from stored responses."""

    script: ClassVar[str] = "train_offline.py"

    examples_per_update: Count = Field(
        32, description="responses or pairs in a batch (vBoN, appendix D: batch size 32)"
    )


class RegressionSettings(OfflineSettings):
    """Quantile reward regression: the log-ratio is regressed on its known optimum (Matrenok et al. 2025)."""

    display_name: ClassVar[str] = "regression"
    marker: ClassVar[str | None] = "^"
    takes_reward: ClassVar[bool] = True
    strengths: ClassVar[tuple[Strength, ...]] = ("kl", "beta")

    kind: Literal["regression"] = "regression"


class BoNSFTSettings(OfflineSettings):
    """Maximum likelihood on the best of n reference responses."""

    display_name: ClassVar[str] = "BoN-SFT"
    marker: ClassVar[str | None] = "d"
    color: ClassVar[str | None] = "#44AA99"

    kind: Literal["bon_sft"] = "bon_sft"


class BoNBoNSettings(OfflineSettings):
    """BoNBoN: likelihood of the best of n, and the known log-ratio of best against worst (Gui et al. 2024)."""

    display_name: ClassVar[str] = "BoNBoN"
    marker: ClassVar[str | None] = "h"
    color: ClassVar[str | None] = "#332288"

    kind: Literal["bonbon"] = "bonbon"
    alpha: Fraction | Literal["balanced"] = Field(
        0.005,
        description="weight of the likelihood (BoNBoN: 0.005); balanced: such that both terms weigh alike at "
        "the first batch (vBoN, footnote 11)",
    )


class PairSettings(OfflineSettings):
    """A method that learns from pairs of responses."""

    pairs: Literal["rollouts", "dataset"] = Field(
        "rollouts", description="reference rollouts labelled by the reward model, or the corpus' own pairs"
    )
    n_responses: Annotated[int, Field(ge=2)] = Field(6, description="rollouts of a prompt that are compared (vBoN: 6)")
    n_comparisons: Count = Field(
        12, description="pairs of a prompt, drawn without replacement from all of its responses (vBoN: 12)"
    )
    logprob: Literal["sum", "mean"] = Field(
        "sum",
        description="log-probabilities summed over tokens, as the published targets assume, or averaged",
    )

    @model_validator(mode="after")
    def _pairs_exist(self) -> PairSettings:
        most = self.n_responses * (self.n_responses - 1) // 2
        if self.n_comparisons > most:
            raise ValueError(
                f"n_comparisons must be <= {most}, the pairs of n_responses = {self.n_responses}, "
                f"got {self.n_comparisons}; lower it or raise n_responses"
            )
        return self


class DPOSettings(PairSettings):
    """Direct preference optimisation (Rafailov et al. 2023)."""

    display_name: ClassVar[str] = "DPO"
    marker: ClassVar[str | None] = ">"
    color: ClassVar[str | None] = "#999933"
    strengths: ClassVar[tuple[Strength, ...]] = ("beta",)

    kind: Literal["dpo"] = "dpo"


class IPOSettings(PairSettings):
    """Identity preference optimisation (Azar et al. 2023); beta is its tau, a KL is that of the identity tilt."""

    display_name: ClassVar[str] = "IPO"
    marker: ClassVar[str | None] = "<"
    color: ClassVar[str | None] = "#882255"
    strengths: ClassVar[tuple[Strength, ...]] = ("kl", "beta")

    kind: Literal["ipo"] = "ipo"


MethodSettings = Annotated[
    PPOSettings
    | RLOOSettings
    | RegressionSettings
    | DPOSettings
    | IPOSettings
    | BoNSFTSettings
    | BoNBoNSettings
    | BONDSettings
    | JBONDSettings
    | VBoNSettings,
    Field(discriminator="kind"),
]
METHODS: dict[str, type[Method]] = {
    method.model_fields["kind"].default: method for method in get_args(get_args(MethodSettings)[0])
}

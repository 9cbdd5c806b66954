"""How well few rollouts estimate the distribution of the reward."""

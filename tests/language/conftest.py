import polars as pl
import pytest
import torch
from tiny_models import TEXTS, sizes, widen

from infalign.language.models import new_language_model, train_tokenizer
from infalign.language.reward_models import reward_model_from

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizer():
    return train_tokenizer(TEXTS, 130)


@pytest.fixture
def language_model(tokenizer):
    return widen(new_language_model(sizes(), tokenizer, seed=0), 8.0)


@pytest.fixture
def reference(tokenizer):
    return widen(new_language_model(sizes(), tokenizer, seed=1), 8.0)


@pytest.fixture
def reward_model(language_model, tokenizer):
    return reward_model_from(language_model, tokenizer, seed=2)


@pytest.fixture
def prompts():
    return pl.DataFrame({"prompt_id": ["a", "b", "c"], "prompt": [TEXTS[0], "Tea?\n", "Please, the leaves?\n"]})

"""Example responses: which are picked, and how they are shown."""

import polars as pl

from infalign.presentation.examples import EXAMPLES_SCHEMA, example_rows
from infalign.presentation.published import examples_markdown
from infalign.presentation.report import examples_html
from infalign.records.sweep import Condition


def responses(rewards, prompt=None):
    """Scored responses to two prompts; the text says which it is."""
    rows = [
        {"prompt_id": name, "prompt": prompt, "sample_id": i, "response": f"{name} {i}", "reward": r, "judge": -r}
        for name in ("b", "a") for i, r in enumerate(rewards)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema_overrides={"prompt": pl.String})


def test_examples_show_the_first_responses_and_the_best_of_the_first_n():
    rows = example_rows(
        "summaries", Condition("evaluation", 0.5), responses([1.0, 3.0, 2.0, 9.0], "A post."),
        [("vBoN", responses([5.0, 6.0]))], n=3, n_prompts=1,
    )  # fmt: skip
    table = pl.DataFrame(rows, schema=EXAMPLES_SCHEMA)
    assert table.select("prompt_id", "source", "response", "reward", "judge").rows() == [
        ("a", "reference", "a 0", 1.0, -1.0), ("a", "best-of-3", "a 1", 3.0, -3.0), ("a", "vBoN", "a 0", 5.0, -5.0),
    ]  # fmt: skip
    page = examples_html(table)
    assert "Task summaries, evaluation, temperature 0.5" in page and "A post." in page and "3.00" in page
    text = examples_markdown(table)
    assert "## summaries, evaluation, temperature 0.5\n\n> A post.\n\n| source |" in text
    assert "| best-of-3 | a 1 | 3.00 | -3.00 |" in text


def test_examples_of_a_data_set_show_no_prompt_and_keep_their_characters():
    condition = Condition("evaluation", 1.0)
    rows = example_rows("summaries", condition, responses([1.0, 2.0]), [], n=None, n_prompts=2)
    table = pl.DataFrame(rows, schema=EXAMPLES_SCHEMA).with_columns(response=pl.lit("a < b"))
    assert table["prompt"].null_count() == table.height == 2
    page = examples_html(table)
    assert "prompt a" in page and "a &lt; b" in page
    text = examples_markdown(table)
    assert text.count("Prompt of a data set, not shown.") == 2 and "a < b" in text

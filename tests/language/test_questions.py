"""MMLU-Pro and GPQA: files in the hub's layout, written here, become prompts with their answers."""

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
from tiny_models import sizes

from infalign.errors import InputError
from infalign.language.context import fit_to_context, take_prompts
from infalign.language.models import new_language_model, save_model
from infalign.language.questions import LETTERS, read_questions
from infalign.language.reward_models import reward_model_from
from infalign.records.block import parse_block
from infalign.records.corpus import QuestionCorpus
from infalign.records.tables import read_manifest, weights_sha256, write_table
from infalign.records.task import Task

SCRIPTS = Path(__file__).parents[2] / "scripts"
TEMPLATE = "Q: {question}\nA:"


def mmlu(numbers, n_options=10) -> pl.DataFrame:
    """Questions whose right option says so."""
    rows = []
    for number in numbers:
        right = number % n_options
        options = [f"{'right' if i == right else 'wrong'} {i}" for i in range(n_options)]
        rows.append((number, f"Question {number}?", options, LETTERS[right], right, "physics"))
    schema = ["question_id", "question", "options", "answer", "answer_index", "category"]
    return pl.DataFrame(rows, schema=schema, orient="row")


def gpqa(numbers) -> pl.DataFrame:
    rows = [(f"Which, {n}?", "right", "no", "never,\nnot", '"wrong"', "x") for n in numbers]
    options = [f"Incorrect Answer {i}" for i in (1, 2, 3)]
    return pl.DataFrame(rows, schema=["Question", "Correct Answer", *options, "Explanation"], orient="row")


def write_mmlu(root, **parts):
    (root / "MMLU-Pro" / "data").mkdir(parents=True, exist_ok=True)
    for part, frame in parts.items():
        frame.write_parquet(root / "MMLU-Pro" / "data" / f"{part}-00000-of-00001.parquet")


def write_gpqa(root, frame, name="gpqa_main"):
    (root / "gpqa").mkdir(exist_ok=True)
    frame.write_csv(root / "gpqa" / f"{name}.csv")


@pytest.fixture
def data_root(tmp_path):
    write_mmlu(tmp_path, validation=mmlu(range(20), 4), test=mmlu(range(100, 300)))
    write_gpqa(tmp_path, gpqa(range(200)))
    return tmp_path


def options_of(prompt: str) -> dict[str, str]:
    lines = prompt.removeprefix("Q: ").removesuffix("\nA:").split("\n")
    return dict(line.split(". ", 1) for line in lines if line[1:3] == ". ")


def test_the_answer_is_the_letter_of_the_right_option(data_root):
    corpus, counts = read_questions("mmlu_pro", template=TEMPLATE, data_root=data_root)
    assert counts["read"] == corpus.prompts.height == 220
    assert corpus.prompts.columns == ["prompt_id", "prompt", "split", "answer"]
    assert corpus.prompts["prompt_id"].is_unique().all()
    for prompt, answer in corpus.prompts.select("prompt", "answer").iter_rows():
        right = [letter for letter, option in options_of(prompt).items() if option.startswith("right")]
        assert right == [answer] and len(options_of(prompt)) in (4, 10)
    assert set(corpus.prompts["answer"]) == set(LETTERS)
    assert corpus.demonstrations.is_empty() and corpus.pairs.is_empty() and corpus.labels.is_empty()


def test_options_of_gpqa_come_in_an_order_of_their_own(data_root):
    corpus, counts = read_questions("gpqa_main", template=TEMPLATE, data_root=data_root)
    assert counts["read"] == corpus.prompts.height == 200
    for prompt, answer in corpus.prompts.select("prompt", "answer").iter_rows():
        assert options_of(prompt.replace("never,\nnot", "never"))[answer] == "right"
    shares = corpus.prompts["answer"].value_counts(normalize=True)
    assert sorted(shares["answer"]) == [*"ABCD"]
    assert shares["proportion"].is_between(0.12, 0.38).all()  # 4 standard errors about a quarter
    again, _ = read_questions("gpqa_main", template=TEMPLATE, data_root=data_root)
    other, _ = read_questions("gpqa_main", template=TEMPLATE, data_root=data_root, seed=1)
    assert again.prompts.equals(corpus.prompts) and not other.prompts["prompt"].equals(corpus.prompts["prompt"])


def test_groups_are_cut_by_question_and_do_not_depend_on_the_other_rows(data_root):
    variants = mmlu(range(100, 300)).with_columns(pl.col("options").list.eval(pl.element() + "."))
    before, _ = read_questions("mmlu_pro", template=TEMPLATE, data_root=data_root)
    write_mmlu(data_root, test=pl.concat([mmlu(range(1000, 1100)), variants, mmlu(range(100, 300))]))
    after, counts = read_questions("mmlu_pro", template=TEMPLATE, data_root=data_root)
    assert counts["prompts_train"] + counts["prompts_evaluation"] == after.prompts.height == 520
    same = before.prompts.join(after.prompts, on="prompt_id", suffix="_after")
    assert same.height == 220 and (same["split"] == same["split_after"]).all()
    stems = after.prompts.with_columns(stem=pl.col("prompt").str.extract(r"^Q: (.*)\n"))
    assert stems.group_by("stem").agg(pl.col("split").n_unique())["split"].max() == 1
    assert 0.4 < (after.prompts["split"] == "train").mean() < 0.6


def test_what_cannot_be_asked_is_counted(data_root):
    bad = gpqa(range(6)).with_columns(
        pl.Series("Question", ["Which, 0?", "Which, 0?", None, " ", "Which, 4?", "Which, 5?"]),
        pl.Series("Incorrect Answer 2", ["a", "a", "a", "a", " right ", None]),
    )
    write_gpqa(data_root, bad, "gpqa_diamond")
    corpus, counts = read_questions("gpqa_diamond", template=TEMPLATE, data_root=data_root)
    assert corpus.prompts.height == 1
    assert [counts[key] for key in ("read", "incomplete", "ambiguous", "repeated")] == [6, 3, 1, 1]


@pytest.mark.parametrize("changes", [{"answer": "K"}, {"answer": None}, {"answer": "AB"}, {"answer": ""}])
def test_an_answer_that_is_no_option_is_named(data_root, changes):
    write_mmlu(data_root, test=mmlu([7]).with_columns(**{k: pl.lit(v, pl.String) for k, v in changes.items()}))
    message = rf"test-00000-of-00001\.parquet: row 0 has 10 options and the answer {changes['answer']!r}; needed"
    with pytest.raises(InputError, match=message):
        read_questions("mmlu_pro", template=TEMPLATE, data_root=data_root)


def test_more_options_than_letters_are_named(data_root):
    more = mmlu([7]).with_columns(options=pl.concat_list("options", "options"))
    write_mmlu(data_root, test=more)
    with pytest.raises(InputError, match="row 0 has 20 options and the answer 'H'; needed are at most 10"):
        read_questions("mmlu_pro", template=TEMPLATE, data_root=data_root)


def test_missing_files_and_columns_are_named(data_root):
    write_mmlu(data_root, test=mmlu([7]).rename({"options": "choices"}))
    with pytest.raises(InputError, match=r"test-.*parquet: no column options \(List\(String\)\); it has question_id"):
        read_questions("mmlu_pro", template=TEMPLATE, data_root=data_root)
    (data_root / "MMLU-Pro" / "data" / "test-00000-of-00001.parquet").unlink()
    with pytest.raises(InputError, match=r"MMLU-Pro: no test\*\.parquet; data_root must hold the files of TIGER-Lab"):
        read_questions("mmlu_pro", template=TEMPLATE, data_root=data_root)
    with pytest.raises(InputError, match=r"gpqa_diamond\.csv: no such file; data_root must hold"):
        read_questions("gpqa_diamond", template=TEMPLATE, data_root=data_root)
    write_gpqa(data_root, gpqa([1]).drop("Correct Answer"))
    with pytest.raises(InputError, match=r"gpqa_main\.csv: no column Correct Answer \(String\); it has Question"):
        read_questions("gpqa_main", template=TEMPLATE, data_root=data_root)
    (data_root / "gpqa" / "gpqa_main.csv").write_text("")
    with pytest.raises(InputError, match=r"gpqa_main\.csv: not readable as CSV"):
        read_questions("gpqa_main", template=TEMPLATE, data_root=data_root)


def test_the_hub_gives_the_same_corpus(data_root, monkeypatch):
    """The hub's loader is replaced by one that reads the local files and notes what it was asked for."""
    asked = []

    def load_dataset(name, *, revision, split, data_files=None):
        asked.append((name, revision, split, data_files))
        folder = data_root / name.partition("/")[2]
        frame = (
            pl.read_csv(folder / data_files) if data_files else pl.read_parquet(folder / "data" / f"{split}-*.parquet")
        )
        return SimpleNamespace(to_polars=lambda: frame)

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    for name in ("mmlu_pro", "gpqa_main"):
        hub, counts = read_questions(name, template=TEMPLATE, revision="abc")
        local, local_counts = read_questions(name, template=TEMPLATE, data_root=data_root)
        assert hub.prompts.equals(local.prompts) and counts == local_counts
    assert asked == [
        ("TIGER-Lab/MMLU-Pro", "abc", "validation", None), ("TIGER-Lab/MMLU-Pro", "abc", "test", None),
        ("Idavidrein/gpqa", "abc", "train", "gpqa_main.csv"),
    ]  # fmt: skip


def test_a_hub_that_does_not_answer_is_an_input_error(monkeypatch):
    def load_dataset(*arguments, **options):
        raise ConnectionError("no network")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    with pytest.raises(InputError, match=r"Idavidrein/gpqa \(gpqa_diamond\.csv, train, revision main\) cannot be"):
        read_questions("gpqa_diamond", template=TEMPLATE)


def test_long_prompts_are_dropped_and_answers_stay_with_theirs(data_root, tokenizer):
    write_mmlu(data_root, test=pl.concat([mmlu(range(100, 200)), mmlu(range(200, 300), 6)]))
    corpus, _ = read_questions("mmlu_pro", template=TEMPLATE, data_root=data_root)
    sizes = [len(ids) for ids in tokenizer(corpus.prompts["prompt"].to_list())["input_ids"]]
    limit = sorted(sizes)[115]
    fitted, counts = fit_to_context(corpus, tokenizer, limit, 1, "drop")
    assert counts["prompts_too_long_dropped"] == sum(size > limit for size in sizes) > 0
    taken = take_prompts(fitted, 5, 4)
    assert dict(taken.prompts["split"].value_counts().iter_rows()) == {"train": 5, "evaluation": 4}
    assert taken.prompts.join(corpus.prompts, on=["prompt_id", "prompt", "split", "answer"]).height == 9
    with pytest.raises(InputError, match="raise max_prompt_tokens"):
        fit_to_context(corpus, tokenizer, limit, 1, "error")


def question_task(folder: Path, **changes) -> dict:
    """A task whose models are folders of trained ones."""
    corpus = {
        "source": "questions", "name": "mmlu_pro", "n_train_prompts": 6, "n_evaluation_prompts": 5,
        "max_prompt_tokens": 200, "template": TEMPLATE,
    }  # fmt: skip
    reward = {"base": {"path": str(folder / "reward")}}
    task = {"corpus": corpus, "reference": {"base": {"path": str(folder / "reference")}}}
    task |= {"reward_model": reward, "judge": reward, "rollouts": {"n_rollouts": 3, "max_new_tokens": 8}}
    return task | changes


def refused(task: dict) -> str:
    with pytest.raises(InputError) as caught:
        parse_block(Task, json.dumps(task))
    return str(caught.value)


def test_questions_have_nothing_to_train_on(tmp_path):
    task = question_task(tmp_path)
    classifier = {**task["judge"], "learns": "labels"}
    assert parse_block(Task, json.dumps({**task, "judge": classifier})).corpus.files == ("MMLU-Pro/**/*.parquet",)
    training = {"learning_rate": 0.1, "epochs": 1, "batch_size": 2}
    trained = {**task["reference"], "training": training}
    message = refused({**task, "reference": trained, "judge": {"base": {"reference": True}, "training": training}})
    assert "source questions has prompts and answers only, nothing to train on" in message
    assert "remove reference.training, judge.training and name published models" in message
    scratch = {"from_config": vars(sizes())}
    message = refused({**task, "reference": {"base": scratch}, "vocabulary_size": 200})
    assert "has no demonstrations, so reference.base must be a trained language model: hub or path" in message


@pytest.mark.parametrize("template", ["Answer this.", "{question} or {question}?"])
def test_a_template_holds_the_question_once(tmp_path, template):
    task = question_task(tmp_path)
    task["corpus"]["template"] = template
    assert "template must have {question} in it once" in refused(task)


def test_the_default_template_asks_for_the_form_that_is_read():
    template = QuestionCorpus.model_fields["template"].default
    assert template.count("{question}") == 1 and '"Answer: A"' in template


def script(name: str):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


@pytest.fixture
def task(data_root, tmp_path, tokenizer):
    """A task of questions with its data and models made by the scripts, below tmp_path."""
    model = new_language_model(sizes(context=256), tokenizer, seed=0)
    save_model(model, tokenizer, tmp_path / "reference")
    save_model(reward_model_from(model, tokenizer, seed=1), tokenizer, tmp_path / "reward")
    block = parse_block(Task, json.dumps(question_task(tmp_path)))
    data, models = tmp_path / "data", tmp_path / "models"
    script("prepare_data")(task=block.model_dump_json(), data_root=data_root, out=data)
    shared = {"tokenizer": data / "tokenizer", "seed": 0}
    script("train_reference")(
        data / "demonstrations.parquet",
        settings=block.reference.model_dump_json(),
        out=models / "reference",
        **shared,
    )
    script("train_preference_model")(
        data / "pairs.parquet",
        labels=data / "labels.parquet",
        split="reward",
        demonstrations=data / "demonstrations.parquet",
        reference=models / "reference",
        settings=block.reward_model.model_dump_json(),
        out=models / "reward_model",
        **shared,
    )
    return block


def test_published_models_are_taken_as_they_are(task, tmp_path):
    for name, source in (("reference", "reference"), ("reward_model", "reward")):
        assert weights_sha256(tmp_path / "models" / name) == weights_sha256(tmp_path / source)
    manifest = json.loads((tmp_path / "models" / "reward_model" / "manifest.json").read_text())
    assert not [key for key in manifest if key.startswith("held_out")]


def test_answers_travel_from_the_files_to_the_scores(task, tmp_path, tokenizer):
    prompts = pl.read_parquet(tmp_path / "data" / "prompts.parquet")
    assert dict(prompts["split"].value_counts().iter_rows()) == {"train": 6, "evaluation": 5}
    texts = [
        (name, sample_id, text)
        for name, answer in prompts.select("prompt_id", "answer").iter_rows()
        for sample_id, text in enumerate([f"So. Answer: {answer}", "Answer: A", "No idea."])
    ]
    rows = [(*row, tokenizer(row[2])["input_ids"], True) for row in texts]
    columns = ["prompt_id", "sample_id", "response", "tokens", "finished"]
    write_table(pl.DataFrame(rows, schema=columns, orient="row"), tmp_path / "rows.parquet", {"model_sha256": "0"})
    script("score")(
        tmp_path / "rows.parquet",
        tmp_path / "data" / "prompts.parquet",
        reward_model=tmp_path / "models" / "reward_model",
        judge=tmp_path / "reward",
        corpus=task.corpus.model_dump_json(),
        out=tmp_path / "scores.parquet",
    )
    scores, manifest = (
        pl.read_parquet(tmp_path / "scores.parquet"),
        read_manifest(tmp_path / "scores.parquet"),
    )
    assert scores.columns == [*columns, "reward", "judge", "gold"]
    expected = [gold for answer in prompts["answer"] for gold in (1.0, float(answer == "A"), 0.0)]
    assert scores["gold"].to_list() == expected
    assert manifest["responses_without_answer"] == 11
    assert set(manifest["agreement"]) == {"reward_judge", "reward_gold", "judge_gold"}

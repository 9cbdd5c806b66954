import pytest
from hypothesis import given
from hypothesis import strategies as st

from infalign.language.answers import answer_letter, final_answer


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("Well. Answer: 17. Bye.", "17"),
        ("Answer: 1. Answer: 2.", "2"),
        ("Answer: -4.", "-4"),
        ("No doubt! Answer: B. Good luck.", "B"),
        ("Answer 17.", None),
        ("Answer: ", None),
        ("", None),
    ],
)
def test_an_embedded_response_answers_after_its_last_mark(response, answer):
    assert final_answer(response) == answer


@pytest.mark.parametrize(
    ("response", "letter"),
    [
        ("Work.\n\nAnswer: D", "D"),
        ("**Answer: D**", "D"),
        ("**Answer:** D.", "D"),
        ("ANSWER: (D)", "D"),
        ("Thus the answer is D because it rusts.", "D"),
        ("The correct answer is: **(D)**", "D"),
        (r"Answer: $\boxed{D}$", "D"),
        (r"The answer is \boxed{\text{D}}.", "D"),
        ("Answer:\nD", "D"),
        ("Answer: A. On second thoughts, answer: J", "J"),
        ("Answer: Denmark", None),
        ("The answer is I'd say hard", None),
        ("Answer: K", None),
        ("Option D is best.", None),
        ("Answers vary: some say D.", None),
        ("answered: D", None),
        ("Answer: d", None),
        ("", None),
    ],
)
def test_the_letter_of_free_text(response, letter):
    assert answer_letter(response) == letter


@given(st.text(), st.sampled_from("ABCDEFGHIJ"))
def test_the_form_asked_for_is_read_after_any_text(text, letter):
    assert answer_letter(f"{text}\nAnswer: {letter}") == letter


@given(st.text(), st.integers(-99, 99))
def test_a_final_number_is_read_after_any_text(text, number):
    assert final_answer(f"{text} Answer: {number}. Bye.") == str(number)

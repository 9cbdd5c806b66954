"""The words of the embedded posts and their summaries, with the values that the gold reward gives them.

Nothing here comes from a data set.
"""

from __future__ import annotations

from dataclasses import dataclass

from infalign.language.lexicon import HIGH, LOW, MIDDLE

TRAINED_COMMUNITIES = ("relationships", "work")  # in distribution: policies are trained on these

# fmt: off
MOODS = {  # scale and offset of the reward
    "Not a big deal.": (LOW, 2.4), "Funny story.": (LOW, 2.0), "Hello all.": (MIDDLE, 0.0),
    "New here.": (MIDDLE, 0.2), "I am in tears!": (HIGH, -2.4), "Please help now!": (HIGH, -2.0),
}

QUESTIONS = {  # skew of the reward
    "Is that fair?": -0.4, "Am I wrong?": -0.3, "What now?": -0.1, "Any advice?": 0.1, "Who is right?": 0.3,
    "What next?": 0.4,
}
# fmt: on


@dataclass(frozen=True)
class Community:
    """Where a post is written.

    `offset` is added to the reward, and so is the value of the person whom the post is about. The deeds have `{my}` for
    the point of view.
    """

    offset: float
    people: dict[str, float]
    deeds: tuple[str, ...]


# fmt: off
COMMUNITIES = {
    "relationships": Community(0.6, {"wife": 1.7, "husband": -1.4, "ex": -2.2, "fiance": 1.9},
        ("forgot {my} birthday", "read {my} diary", "hid {my} ring", "kissed {my} friend", "left {my} party")),
    "work": Community(-0.6, {"boss": 1.6, "client": -1.8, "intern": 2.1, "manager": -1.5},
        ("read {my} mail", "took {my} desk", "cut {my} hours", "lost {my} report", "sold {my} idea")),
    "family": Community(0.9, {"mother": -1.6, "brother": 1.8, "cousin": 2.0, "uncle": -2.1},
        ("sold {my} toys", "broke {my} lamp", "read {my} letters", "took {my} bed", "lost {my} coat")),
    "money": Community(-0.9, {"bank": 1.5, "lender": -1.9, "lawyer": 2.2, "agent": -1.6},
        ("kept {my} card", "sold {my} debt", "took {my} savings", "lost {my} loan", "raised {my} fees")),
    "school": Community(0.3, {"tutor": 2.0, "dean": -1.7, "classmate": -2.0, "coach": 1.6},
        ("lost {my} essay", "read {my} notes", "broke {my} pen", "took {my} lunch", "missed {my} talk")),
    "housing": Community(-0.3, {"landlord": -2.1, "neighbour": 1.7, "tenant": -1.4, "plumber": 1.9},
        ("kept {my} deposit", "raised {my} rent", "broke {my} door", "cut {my} tree", "lost {my} keys")),
    "pets": Community(0.7, {"vet": 1.8, "sitter": -1.5, "breeder": -2.2, "groomer": 2.0},
        ("shaved {my} cat", "lost {my} dog", "scared {my} horse", "took {my} fish", "sold {my} parrot")),
    "travel": Community(-0.7, {"guide": -1.8, "driver": 1.5, "pilot": 2.2, "host": -1.7},
        ("lost {my} bag", "missed {my} flight", "kept {my} ticket", "sold {my} room", "took {my} car")),
}

TIMES = ("last night", "on Monday", "in May", "at noon", "at dawn", "today")
FEELINGS = ("hurt", "angry", "scared", "guilty", "sad", "tired")
PLANS = ("leave", "talk", "wait", "forgive", "complain", "hide")

# Choices of a summary, with their values before standardisation.
OPENINGS = {
    "In short:": 2.04, "Brief:": 1.41, "Summed up:": 1.09, "The gist:": 0.68, "So:": 0.36, "My notes:": 0.04,
    "Okay, so": -0.31, "As I said:": -0.72, "Well, um,": -1.08, "Blah, blah,": -1.61, "Did not read,": -2.19,
}
VIEWS = {"my": 0.71, "their": 0.12, "your": -0.83}  # the poster's own view is the best
SUBJECTS = {"my": "I", "their": "They", "your": "You"}
FILLERS = {  # between the person and the deed
    "": 0.62, "simply": 0.37, "just": 0.21, "really": -0.04, "sort of": -0.38, "maybe": -0.61,
    "somehow": -0.82, "totally": -1.09,
}
RAMBLES = {  # a sentence that says nothing
    "Yes": -0.24, "Oh well": -0.42, "No idea": -0.63, "Ha ha": -0.78, "More later": -0.97,
    "Wait, what": -1.18,
}
CLOSINGS = {
    "Advice welcome.": 1.62, "Do help.": 1.21, "Tell me.": 0.93, "Thank you.": 0.61, "Your thoughts?": 0.37,
    "That is it.": 0.09, "The end.": -0.27, "Or so.": -0.64, "And so on.": -1.03, "Whatever.": -1.47,
    "Boring stuff.": -2.01,
}
# fmt: on


@dataclass(frozen=True)
class Fact:
    """Values of a fact that a summary tells right, leaves out or tells wrong, and how often it does each."""

    right: float
    left_out: float
    wrong: float
    p_right: float
    p_left_out: float


FACTS = {  # the person and the deed are always told; leaving them out counts as wrong
    "person": Fact(0.4, -1.2, -1.2, 0.85, 0.0),
    "deed": Fact(0.6, -1.6, -1.6, 0.8, 0.0),
    "time": Fact(0.3, 0.0, -0.9, 0.45, 0.35),
    "feeling": Fact(0.4, -0.1, -1.0, 0.5, 0.25),
    "plan": Fact(0.5, -0.2, -1.1, 0.5, 0.25),
}

"""What workflow and figures read of a method stands in the class of its settings."""

from pathlib import Path
from typing import ClassVar, Literal

import pytest

from infalign.presentation.style import Series, method_name
from infalign.records.methods import METHODS, OfflineSettings

ROOT = Path(__file__).parents[2]


def test_kinds_are_those_of_the_settings():
    assert {kind: method().kind for kind, method in METHODS.items()} == {kind: kind for kind in METHODS}


@pytest.mark.parametrize("kind", METHODS)
def test_every_method_states_what_others_read(kind):
    method = METHODS[kind]
    assert (ROOT / "scripts" / method.script).is_file()
    assert method.takes_reward or (method.marker and method.color)


@pytest.mark.parametrize("name", ["display_name", "marker", "color"])
def test_no_two_methods_look_alike(name):
    values = [getattr(method, name) for method in METHODS.values() if getattr(method, name)]
    assert len(set(values)) == len(values)


def test_a_new_class_is_all_that_the_figures_need(monkeypatch):
    class NewSettings(OfflineSettings):
        display_name: ClassVar[str] = "New-BoN"
        marker: ClassVar[str | None] = "8"
        color: ClassVar[str | None] = "#123456"
        kind: Literal["new_bon"] = "new_bon"

    monkeypatch.setitem(METHODS, "new_bon", NewSettings)
    assert method_name("new_bon_long") == "New-BoN long"
    look = Series("new_bon", None).look
    assert (look.color, look.marker, NewSettings.script) == ("#123456", "8", "train_offline.py")

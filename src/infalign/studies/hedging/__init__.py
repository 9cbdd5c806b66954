"""How hard to select by an imperfect reward."""

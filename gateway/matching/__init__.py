"""Pure decisions of matching: normalise, keys, changes, rules, rank, what to publish (spec 3)."""

"""Settings: typed, frozen, read from `config/*.toml`; nobody below imports them (spec 1, Partners)."""

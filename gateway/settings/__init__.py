"""Settings: typed, frozen, read from `config/*.toml`; nobody below imports them (spec 1, Partners)."""

from gateway.settings.home import Home
from gateway.settings.load import Settings, build, digest_of, load_settings, other_policy, read_files

__all__ = ["Home", "Settings", "build", "digest_of", "load_settings", "other_policy", "read_files"]

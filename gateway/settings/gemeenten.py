"""The municipalities of the Netherlands: code and name, from CBS by way of GeoNames (CC BY 4.0)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources

from gateway.matching.municipality import read_names, read_pc4

#: Whose table of four-digit postcodes ships, and under which licence (gateway/data/README.md).
PC4_SOURCE = "GeoNames (https://www.geonames.org), CC BY 4.0"


@cache
def gemeente_names() -> Mapping[str, str]:
    """Municipality code (`GM1731`) -> name."""
    text = (resources.files("gateway") / "data" / "gemeenten_342.csv").read_text("utf-8")
    return read_names(text.splitlines())


@cache
def pc4_gemeenten() -> Mapping[str, tuple[str, ...]]:
    """First four digits of a postcode -> the municipalities that have them."""
    text = (resources.files("gateway") / "data" / "pc4_gemeente.csv").read_text("utf-8")
    return read_pc4(text.splitlines())

"""Pins: refuse a library whose private methods are no longer those that our code was written against."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

from schemas.errors import Misconfigured


def fingerprint(function: Callable[..., Any]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a function's source text."""
    return sha256(inspect.getsource(function).encode()).hexdigest()[:16]


def check_pins(package: str, version: str, pins: Mapping[Callable[..., Any], str]) -> None:
    """Compare each function with its fingerprint. Raises Misconfigured that names the ones which differ."""
    changed = sorted(function.__qualname__ for function, pin in pins.items() if fingerprint(function) != pin)
    if changed:
        raise Misconfigured(
            package,
            f"is not the version that the stream worker was written against: {', '.join(changed)} differ",
            fix=f"install {package}=={version}, or read the changed methods, adapt streams/transport.py and its PINS",
        )

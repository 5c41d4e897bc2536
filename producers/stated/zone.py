"""The zone of moments that a stated kind's rows give without one."""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from schemas.errors import Misconfigured


def zone_of(time_zone: str, name: str) -> ZoneInfo:
    """By the option `time_zone` of the source of this name. Raises Misconfigured."""
    try:
        return ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        problem = f"{time_zone!r} is no time zone"
        raise Misconfigured(
            f"source {name}, time_zone", problem, fix="write one such as Asia/Shanghai or UTC"
        ) from None

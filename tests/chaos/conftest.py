"""What the kill tests share with the broker tests."""

from tests.broker.conftest import registry

__all__ = ["registry"]

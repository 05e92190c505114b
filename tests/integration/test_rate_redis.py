"""Requests counted in a real Redis: one limit for all services, and none of them stops when it is gone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx2 as httpx
import pytest

from tests.redis_server import Redis
from tests.service import Service


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with Redis(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(scope="module")
def services(redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Service]]:
    """Two services on one folder, whose requests are counted together."""
    folder = tmp_path_factory.mktemp("service")
    rates = {
        "PIPELINE_RATE_STORAGE": redis.url,
        "PIPELINE_RATE_ROUTES": "GET /usage=4/hour, GET /models=3/hour, GET /jobs=2/hour",
    }
    with ExitStack() as stack:
        first, second = (stack.enter_context(Service(folder, **rates)) for _ in range(2))
        yield first, second


def statuses(services: tuple[Service, Service], path: str, times: int) -> list[int]:
    """What both services answer, in turn."""
    first, second = (service.client() for service in services)
    with first, second:
        return [(first, second)[n % 2].get(path).status_code for n in range(times)]


def test_two_services_share_one_limit(services: tuple[Service, Service]) -> None:
    assert statuses(services, "/usage", 6) == [200] * 4 + [429] * 2
    refused = httpx.get(f"{services[0].url}/usage", headers={"X-API-Key": services[0].environment["API_KEY"]})
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.json()["code"] == "rate_limited"
    assert int(refused.headers["Retry-After"]) > 3000


def test_without_redis_each_service_counts_for_itself_and_with_it_both_count_together(
    services: tuple[Service, Service], redis: Redis
) -> None:
    assert statuses(services, "/models", 1) == [200]
    redis.kill()
    assert statuses(services, "/models", 8) == [200] * 6 + [429] * 2
    redis.start()
    deadline = time.monotonic() + 60
    # Its counts went with it. Each service finds out by itself that it is there again.
    while (found := statuses(services, "/jobs", 6)) != [200, 200, 429, 429, 429, 429]:
        assert set(found) <= {200, 429}
        assert time.monotonic() < deadline
        time.sleep(0.5)
        redis.kill()
        redis.start()

"""How often a key may ask: slowapi's limits, applied before the body of a request is read."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from limits import RateLimitItem, parse_many
from limits.errors import ConfigurationError, StorageError
from slowapi import Limiter
from slowapi.errors import RateLimitExceeded
from starlette.requests import Request

from api.clocks import ClockWatch
from api.errors import RateLimited, SettingsInvalid
from api.security.access import ROUTE_SCOPES, Rule
from api.security.address import UNKNOWN, neighbourhood
from api.settings import Settings

_BACK_S = 60.0
"""Seconds that a clock may be set back without anybody's being kept waiting for longer than it is worth."""
_REFUSED = "refused"
_SUBMIT = "POST /process"


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a limit after a request.

    Attributes:
        name: of the limit.
        policy: all limits of that name.
        limit: requests allowed in the window of the one that is nearest to its end.
        remaining: of these, how many are left.
        reset_s: seconds until the next one is given back.
    """

    name: str
    policy: tuple[RateLimitItem, ...]
    limit: int
    remaining: int
    reset_s: int

    @property
    def headers(self) -> dict[str, str]:
        """RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-10), and their elders."""
        windows = ", ".join(f'"{self.name}";q={item.amount};w={item.get_expiry()}' for item in self.policy)
        return {
            "RateLimit-Policy": windows,
            "RateLimit": f'"{self.name}";r={self.remaining};t={self.reset_s}',
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(self.reset_s),
        }


class LimitExceeded(RateLimited):
    """Too many requests in a time.

    Attributes:
        allowance: what is left of the limit.
    """

    def __init__(self, allowance: Allowance) -> None:
        item = min(allowance.policy, key=lambda one: abs(one.amount - allowance.limit))
        super().__init__(
            f"Only {item} are allowed.",
            f"Try again in {allowance.reset_s} s.",
            retry_after_s=allowance.reset_s,
        )
        self.allowance = allowance


class _Limiter(Limiter):
    def get_app_config(self, key: str, default_value: Any = None) -> Any:
        # slowapi would take RATELIMIT_* from the environment: only entry points read that.
        return default_value


class RateLimits:
    """The limits of every route.

    Args:
        settings: ``rate_*``.
        rules: the routes that there are.

    Raises:
        SettingsInvalid: a limit is for a route that there is not, or its storage is of no known kind.
    """

    def __init__(self, settings: Settings, rules: Mapping[str, Rule] = ROUTE_SCOPES) -> None:
        storage = settings.rate_storage.get_secret_value()
        remote = {"socket_timeout": 1, "socket_connect_timeout": 1, "wrap_exceptions": True}
        options: dict[str, Any] = {} if storage.startswith("memory") else remote
        try:
            self._limiter = _Limiter(
                key_func=_who,
                storage_uri=storage,
                storage_options=options,
                # The last hour, not the hour by the clock: at its turn nobody gets twice as many.
                strategy="moving-window",
                # A counter that is out of reach must not stop the service.
                in_memory_fallback_enabled=True,
                key_style="endpoint",
            )
        except (ConfigurationError, ValueError) as exc:
            raise SettingsInvalid(
                f"PIPELINE_RATE_STORAGE: {exc}.", "Use memory:// or redis://host:port."
            ) from exc
        self.blocks = not storage.startswith("memory")
        self._watch = ClockWatch()
        self._policies: dict[str, tuple[RateLimitItem, ...]] = {}
        self._checks: dict[str, Callable[[Request], None]] = {}
        for name, rate in _rates(settings, rules).items():
            if rate is not None:
                self._policies[name] = tuple(parse_many(rate))
                self._checks[name] = self._limiter.limit(rate)(_named(name))

    def take(self, scope: Mapping[str, Any], route: str) -> Allowance | None:
        """Count a request of a key.

        Args:
            scope: of the connection; its state holds ``principal``, ``address`` or both.
            route: as in `ROUTE_SCOPES`.

        Returns:
            What is left; None where there is no limit.

        Raises:
            LimitExceeded: nothing is left; the request does not count.
        """
        check = self._checks.get(route)
        if check is None:
            return None
        if not self.blocks and self._watch.moved_s(time.time()) < -_BACK_S:
            self._limiter.reset()  # Requests of the future would count until the clock has caught up.
        request = Request({**scope, "type": "http", "state": dict(scope["state"])})
        try:
            check(request)
        except RateLimitExceeded as exc:
            raise LimitExceeded(self._allowance(request, route)) from exc
        return self._allowance(request, route)

    def take_refusal(self, scope: Mapping[str, Any]) -> None:
        """Count a request that is refused for its key, against its address.

        Raises:
            LimitExceeded: it has been refused too often.
        """
        self.take({**scope, "state": {**scope["state"], "principal": None}}, _REFUSED)

    def _allowance(self, request: Request, route: str) -> Allowance:
        item, args = request.state.view_rate_limit
        try:
            reset_at, remaining = self._limiter.limiter.get_window_stats(item, *args)
        except StorageError:  # It was there a moment ago, when the request was counted.
            reset_at, remaining = time.time() + item.get_expiry(), 0
        reset_s = max(1, math.ceil(reset_at - time.time()))
        name = "process" if route == _SUBMIT else "requests"
        return Allowance(name, self._policies[route], item.amount, remaining, reset_s)


def _rates(settings: Settings, rules: Mapping[str, Rule]) -> dict[str, str | None]:
    rates = {route: settings.rate_default for route, rule in rules.items() if rule.scope is not None}
    if _SUBMIT in rates:
        rates[_SUBMIT] = settings.rate_process
    for part in settings.rate_routes:
        route, _, rate = (text.strip() for text in part.partition("="))
        if route not in rates:
            raise SettingsInvalid(
                f"PIPELINE_RATE_ROUTES: there is no route {route!r} that needs a key.",
                "docs/settings.md shows how routes are written.",
            )
        rates[route] = None if rate.lower() in {"off", "none"} else rate
    return {**rates, _REFUSED: settings.rate_refused}


def _named(name: str) -> Callable[[Request], None]:
    """What slowapi takes for an endpoint: it counts by its name."""

    def endpoint(request: Request) -> None:
        del request

    endpoint.__name__ = name
    return endpoint


def _who(request: Request) -> str:
    principal = getattr(request.state, "principal", None)
    if principal is not None:
        return f"key:{principal.key_id}"
    return f"address:{neighbourhood(getattr(request.state, 'address', UNKNOWN))}"

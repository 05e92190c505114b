from __future__ import annotations

import socket

import pytest

from api.connections import listen
from api.errors import SettingsInvalid


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_free_port_is_found_and_kept(host: str) -> None:
    with listen(host, 0) as door:
        address, port = door.getsockname()
        assert address == "127.0.0.1" and port > 0
        with pytest.raises(SettingsInvalid, match=f"{host} port {port} .*Address already in use"):
            listen(host, port)
        with socket.create_connection((address, port)):
            pass


@pytest.mark.parametrize(("host", "reason"), [("192.0.2.1", "Cannot assign"), ("no such host", "no name")])
def test_an_address_that_is_not_here_is_refused_in_one_line(host: str, reason: str) -> None:
    with pytest.raises(SettingsInvalid, match=reason) as refused:
        listen(host, 8000)
    assert "\n" not in refused.value.message

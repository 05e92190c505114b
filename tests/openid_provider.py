"""A small OpenID provider on this machine: redirects, codes, PKCE, tokens (OpenID Connect Core 1.0)."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from dataclasses import dataclass
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT_ID, CLIENT_SECRET = "audio-pipeline", "a-secret-of-the-tests"


@dataclass(frozen=True)
class Account:
    """Who can sign in.

    Attributes:
        email: the address.
        verified: what the provider says of it; None: nothing.
    """

    email: str
    verified: bool | str | None = True


class OpenIdProvider:
    """Listens on a free port; a context manager. Its page offers each account as a link.

    Args:
        accounts: who can sign in.

    Attributes:
        ended: how often somebody was sent here to end a session.
    """

    def __init__(self, *accounts: Account) -> None:
        self._accounts = {account.email: account for account in accounts}
        self._key = RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})
        self._codes: dict[str, tuple[Account, dict[str, str]]] = {}
        self.ended = 0
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = urlsplit(self.path)
                provider._get(self, asked.path, _flat(asked.query))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                provider._token(self, _flat(body))

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("localhost", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.url = f"http://localhost:{self._server.server_address[1]}"

    def secrets(self, redirect_uri: str, keys: dict[str, str]) -> str:
        """What the UI's ``secrets.toml`` has to say."""
        auth = {
            "redirect_uri": redirect_uri,
            "cookie_secret": secrets.token_hex(16),
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "server_metadata_url": f"{self.url}/.well-known/openid-configuration",
        }
        lines = ["[auth]", *(f"{name} = {json.dumps(value)}" for name, value in auth.items())]
        return "\n".join([*lines, "[keys]", *(f"{json.dumps(k)} = {json.dumps(v)}" for k, v in keys.items())])

    def _get(self, handler: BaseHTTPRequestHandler, path: str, query: dict[str, str]) -> None:
        if path == "/.well-known/openid-configuration":
            _answer(handler, json.dumps(self._metadata()))
        elif path == "/jwks":
            _answer(handler, json.dumps({"keys": [self._key.as_dict(private=False)]}))
        elif path == "/authorize" and "as" not in query:
            links = "".join(
                f'<p><a href="/authorize?{escape(urlencode({**query, "as": email}))}">{escape(email)}</a></p>'
                for email in self._accounts
            )
            _answer(handler, f"<title>Provider</title><h1>Choose an account</h1>{links}", "text/html")
        elif path == "/authorize":
            assert query["client_id"] == CLIENT_ID
            code = secrets.token_urlsafe(16)
            self._codes[code] = self._accounts[query["as"]], query
            back = urlencode({"code": code, "state": query["state"]})
            _redirect(handler, f"{query['redirect_uri']}?{back}")
        elif path == "/end":
            self.ended += 1
            _redirect(handler, query["post_logout_redirect_uri"])
        else:
            handler.send_error(404)

    def _token(self, handler: BaseHTTPRequestHandler, form: dict[str, str]) -> None:
        account, asked = self._codes.pop(form["code"])
        basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        assert handler.headers["authorization"] == f"Basic {basic}"
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == asked["code_challenge"]
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": self.url,
            "sub": hashlib.sha256(account.email.encode()).hexdigest(),
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 600,
            "nonce": asked["nonce"],
            "email": account.email,
        }
        if account.verified is not None:
            claims["email_verified"] = account.verified
        token = jwt.encode({"alg": "RS256", "kid": "one"}, claims, self._key)
        said = {"access_token": secrets.token_urlsafe(16), "token_type": "Bearer", "expires_in": 600}
        _answer(handler, json.dumps({**said, "id_token": token}))

    def _metadata(self) -> dict[str, Any]:
        places = {
            "authorization_endpoint": "authorize",
            "token_endpoint": "token",
            "jwks_uri": "jwks",
            "end_session_endpoint": "end",
        }
        return {
            "issuer": self.url,
            **{name: f"{self.url}/{place}" for name, place in places.items()},
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
        }

    def __enter__(self) -> OpenIdProvider:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(60)


def _flat(query: str) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(query).items()}


def _answer(handler: BaseHTTPRequestHandler, body: str, kind: str = "application/json") -> None:
    data = body.encode()
    handler.send_response(200)
    handler.send_header("Content-Type", f"{kind}; charset=utf-8")
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


def _redirect(handler: BaseHTTPRequestHandler, address: str) -> None:
    handler.send_response(302)
    handler.send_header("Location", address)
    handler.send_header("Content-Length", "0")
    handler.end_headers()

"""Behind a gateway browsers are told the same as behind nginx."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
SITE = (ROOT / "nginx" / "site.conf.template").read_text(encoding="utf-8")
NGINX = (ROOT / "nginx" / "nginx.conf.template").read_text(encoding="utf-8")
GATEWAY = ROOT / "deploy" / "kubernetes" / "base" / "gateway.yaml"
OF_NGINX_ITSELF = {"Retry-After", "Cache-Control", "X-Request-ID"}
"""Only on what nginx refuses."""


def nginx_says(path: str) -> dict[str, str]:
    """The headers of an answer by HTTPS."""
    said = dict(re.findall(r"^add_header (\S+) \"?([^\"\n]+?)\"? always;$", SITE, re.MULTILINE))
    (policies,) = re.findall(r"map \$uri \$content_security_policy \{(.*?)\n    \}", NGINX, re.DOTALL)
    by_path = dict(re.findall(r'(\S+) "([^"]+)";', re.sub(r'"(~\S+)"', r"\1", policies)))
    (hsts,) = re.findall(r'on "(max-age=\d+)";', NGINX)
    said["Content-Security-Policy"] = by_path["~^/api(/|$)" if path == "/api" else "default"]
    said["Strict-Transport-Security"] = hsts
    return {name: value for name, value in said.items() if name not in OF_NGINX_ITSELF}


def test_a_gateway_sends_the_headers_that_nginx_sends() -> None:
    (site,) = (
        one
        for one in yaml.safe_load_all(GATEWAY.read_text(encoding="utf-8"))
        if one["metadata"]["name"] == "site"
    )
    checked = set()
    for rule in site["spec"]["rules"]:
        for one in rule.get("filters", ()):
            if one["type"] == "ResponseHeaderModifier":
                path = rule["matches"][0]["path"]["value"]
                sent = {header["name"]: header["value"] for header in one["responseHeaderModifier"]["set"]}
                assert sent == nginx_says(path)
                checked.add(path)
    assert checked == {"/api", "/"}

"""Small models, and a web server that misbehaves on demand, for the tests of weights."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import pickle
import random
import subprocess
import sys
import tarfile
import threading
import types
from collections.abc import Callable, Mapping
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

from pipeline.weights.spec import Licence, Member, ModelSpec, PinnedFile, Quality

ROOT = Path(__file__).parent.parent
SIGNATURE = "0f0f0f0f"
STEMS = ("drums", "bass", "other", "vocals")
TINY = {
    "sources": list(STEMS),
    "channels": 8,
    "depth": 2,
    "nfft": 256,
    "dconv_comp": 2,
    "t_layers": 1,
    "t_heads": 2,
    "bottom_channels": 16,
}
"""Arguments that make HTDemucs a network of 27 thousand numbers."""
FREE = Licence("test licence", "https://example.org/licence", True, "")


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that look like weights."""
    return random.Random(seed).randbytes(size)


def pin(name: str, content: bytes) -> PinnedFile:
    return PinnedFile(name, len(content), f"sha256:{hashlib.sha256(content).hexdigest()}")


def legacy_pin(content: bytes, signature: str = SIGNATURE) -> PinnedFile:
    return pin(f"{signature}-{hashlib.sha256(content).hexdigest()[:8]}.th", content)


def model(*members: Member, **changes: Any) -> ModelSpec:
    fields = {"summary": "", "stems": STEMS, "licence": FREE, "quality": Quality("draft", None, "", "")}
    return ModelSpec(name="tiny", members=members, **{**fields, **changes})


def one_file(content: bytes, signature: str = SIGNATURE) -> ModelSpec:
    """A model of one network, whose only file has this content."""
    return model(Member(signature, (1.0,) * len(STEMS), legacy_pin(content, signature)))


def file_name(spec: ModelSpec) -> str:
    return spec.members[0].legacy.name


def tiny_network(seed: int = 0, **changes: Any) -> Any:
    """An HTDemucs with random weights that float16 can hold, as published weights are."""
    import torch
    from demucs.htdemucs import HTDemucs

    torch.manual_seed(seed)
    network = HTDemucs(**{**TINY, "segment": Fraction(39, 5), **changes})
    network.load_state_dict({name: value.half() for name, value in network.state_dict().items()})
    return network


def safetensors(network: Any, **changes: Any) -> bytes:
    """A network as the hub has it."""
    from pipeline.weights.onnx import safetensors_file

    arguments = {**TINY, "segment": {"_type": "fraction", "numerator": 39, "denominator": 5}, **changes}
    tensors = {name: value.half().numpy() for name, value in network.state_dict().items()}
    return b"".join(safetensors_file(tensors, arguments))


def checkpoint(network: Any, *, pickler: type = pickle.Pickler, **changes: Any) -> bytes:
    """A network as Demucs published it before."""
    import torch

    args, kwargs = network._init_args_kwargs
    state = {name: value.half() for name, value in network.state_dict().items()}
    package = {"klass": type(network), "args": args, "kwargs": kwargs, "state": state, "training_args": {}}
    buffer = io.BytesIO()
    module = types.SimpleNamespace(__name__="pickle", Pickler=pickler)
    torch.save({**package, **changes}, buffer, pickle_module=module)
    return buffer.getvalue()


Fault = Callable[["Handler"], None]
"""Answers one request in place of the server."""


class Handler(BaseHTTPRequestHandler):
    """Serves `WeightsServer.files`, with ranges."""

    server: WeightsServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        self.content = self.server.files.get(name, b"")
        wanted = self.headers.get("Range", "")
        self.start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        with self.server.lock:
            self.server.requests.append((name, self.start))
            faults = self.server.faults.get(name, [])
            fault = faults.pop(0) if faults else None
        if fault is not None:
            fault(self)
        elif name not in self.server.files:
            self.answer(404, b"")
        elif self.start > 0 and self.start >= len(self.content):
            self.answer(416, b"")
        elif self.start:
            span = f"bytes {self.start}-{len(self.content) - 1}/{len(self.content)}"
            self.answer(206, self.content[self.start :], {"Content-Range": span})
        else:
            self.answer(200, self.content)

    def answer(
        self, status: int, body: bytes, headers: Mapping[str, str] | None = None, *, sent: int | None = None
    ) -> None:
        """Answer with this body, of which only ``sent`` bytes follow before the line goes dead."""
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            if value:
                self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body[:sent])
        if sent is not None or (headers and not headers.get("Content-Length", "1")):
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass


class WeightsServer(ThreadingHTTPServer):
    """A web server on this machine, for as long as it is a context.

    Attributes:
        files: content by name.
        faults: by name, what the next requests get instead.
        requests: name and first byte of every request so far.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, files: Mapping[str, bytes] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = dict(files or {})
        self.faults: dict[str, list[Fault]] = {}
        self.requests: list[tuple[str, int]] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are part of the tests."""

    def __enter__(self) -> WeightsServer:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
        self.server_close()


def drop_after(sent: int) -> Fault:
    """Promise everything that was asked for, send this much, hang up."""

    def fault(handler: Handler) -> None:
        body = handler.content[handler.start :]
        span = f"bytes {handler.start}-{len(handler.content) - 1}/{len(handler.content)}"
        headers = {"Content-Range": span} if handler.start else {}
        handler.answer(206 if handler.start else 200, body, headers, sent=sent)

    return fault


def status(code: int) -> Fault:
    return lambda handler: handler.answer(code, b"")


def body(content: bytes, **headers: str) -> Fault:
    """Answer 200 with this; an empty header leaves the usual one out."""
    names = {key.replace("_", "-"): value for key, value in headers.items()}
    return lambda handler: handler.answer(200, content, names)


_CHILD = """
import json, resource, signal, sys
from pathlib import Path
from pipeline.config import WeightsConfig
from pipeline.errors import PipelineError
from pipeline.weights.fetch import ensure
from tests.weights_support import member_of
folder, mirror, largest, described = sys.argv[1:]
if largest:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest), int(largest)))
say = lambda *words: print(*words, flush=True)
try:
    paths = ensure(
        member_of(described),
        WeightsConfig(cache_dir=Path(folder), mirror=mirror or None),
        progress=lambda step: say("received", step.received_bytes),
    )
except PipelineError as exc:
    say("error", exc.code)
else:
    say("done", *paths)
"""


def member_of(described: str) -> ModelSpec:
    """Undo what `fetching_process` does to a model of one file."""
    signature, name, size, digest, hub = json.loads(described)
    return model(Member(signature, (1.0,) * len(STEMS), PinnedFile(name, size, digest), hub=_hub(hub)))


def _hub(described: list[Any] | None) -> Any:
    from pipeline.weights.spec import HubFile

    return described and HubFile(described[0], described[1], PinnedFile(*described[2:]))


def fetching_process(
    spec: ModelSpec, folder: Path, mirror: str, *, largest: str = "", env: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start a process of its own that makes sure of a model of one file, and tells how it goes.

    Args:
        spec: the model.
        folder: its cache.
        mirror: its mirror.
        largest: size in bytes beyond which the system refuses to let a file grow.
        env: whole environment.
    """
    member = spec.members[0]
    hub = member.hub and [member.hub.repo, member.hub.revision, *_fields(member.hub.file)]
    described = json.dumps([member.signature, *_fields(member.legacy), hub])
    return subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(folder), mirror, largest, described],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        text=True,
    )


def _fields(file: PinnedFile) -> list[Any]:
    return [file.name, file.bytes, file.digest]


def onnx_model(initialisers: Mapping[str, Any], nodes: list[tuple[str, str, list[str]]]) -> bytes:
    """An ONNX file: constants by name; nodes as operator, name and inputs."""
    import onnx

    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(operator, inputs, [f"{name}_out"], name) for operator, name, inputs in nodes],
        "graph",
        [],
        [],
        [onnx.numpy_helper.from_array(value, name) for name, value in initialisers.items()],
    )
    content: bytes = onnx.helper.make_model(graph).SerializeToString()
    return content


def npm_tarball(files: Mapping[str, bytes]) -> bytes:
    """An npm package with these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def integrity(tarball: bytes) -> str:
    return f"sha512-{base64.b64encode(hashlib.sha512(tarball).digest()).decode()}"

"""How the HTTP client gets to a server: addresses and headers, refusals in words, TLS, proxies."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from raw_server import Peer, Raw, Script, always, both, ok, once

from mainstay.core.errors import ConfigError, CutOff, ModelError, Unreachable
from mainstay.parts.http import Endpoint, Http


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxies of the machine that runs the tests are not ours."""
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@asynccontextmanager
async def at(url: str, **headers: str) -> AsyncIterator[Endpoint]:
    """An endpoint of a client of its own."""
    http = Http()
    yield http.endpoint(url, headers)
    await http.close()


async def ask(url: str) -> tuple[int, bytes]:
    """Fetch once, with a client of its own."""
    async with at(url) as endpoint:
        return await endpoint.get()


def unused() -> int:
    """A port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# Addresses


@both
@pytest.mark.parametrize(
    ("suffix", "target"),
    [
        ("", "/"),
        ("?a=b", "/?a=b"),
        ("/v1/chat?key=a%20b&x=/?", "/v1/chat?key=a%20b&x=/?"),
        ("/models/gemini-2.0:generate?alt=sse", "/models/gemini-2.0:generate?alt=sse"),
        ("/a b/ä/%2F#fragment", "/a%20b/%C3%A4/%2F"),
        ('/"<>\\^`{|}?q="ü"', "/%22%3C%3E%5C%5E%60%7B%7C%7D?q=%22%C3%BC%22"),
        ("/line\r\nx: y", "/linex:%20y"),
        ("/deployments/a/../b;c=d,e", "/deployments/a/../b;c=d,e"),
        ("/nul\0", "/nul%00"),
    ],
)
async def test_paths_and_queries(suffix, target):
    """Whatever an address holds, the request line holds one path, percent-encoded where it must be."""
    async with Raw(always(ok())) as server:
        assert await ask(server.url + suffix) == (200, b"ok")
        lines = server.requests[0].splitlines()
        assert lines[0] == f"GET {target} HTTP/1.1"
        assert lines[1] == f"host: 127.0.0.1:{server.port}"


@both
async def test_the_request_as_it_is_sent():
    """Exactly these bytes: one head, a length, the body; headers of the project replace ours."""
    async with Raw(always(ok())) as server, at(server.url, Accept="a/b", **{"User-Agent": "shop"}) as endpoint:
        async with endpoint.post(b"body") as reply:
            assert await reply.read() == b"ok"
        assert server.requests == [
            f"POST / HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\nuser-agent: shop\r\naccept-encoding: identity\r\n"
            "accept: a/b\r\ncontent-length: 4\r\n\r\n"
        ]


@both
async def test_ipv6():
    """An IPv6 address stands in brackets, in the address and in the host header."""
    with contextlib.closing(socket.socket(socket.AF_INET6)) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6 loopback")
    async with Raw(always(ok()), host="::1") as server:
        assert await ask(f"http://[::1]:{server.port}/x") == (200, b"ok")
        assert f"\r\nhost: [::1]:{server.port}\r\n" in server.requests[0]
    with pytest.raises(Unreachable, match=r"connection refused by \[::1\]:"):
        await ask(f"http://[::1]:{unused()}/")


@both
async def test_user_and_password_in_an_address():
    """They are sent as the authorization, and no error repeats them; nor a query, where some providers want their key."""
    async with Raw(once(b"")) as server:
        url = f"http://us%40er:s%C3%A9cret@127.0.0.1:{server.port}/v1?key=hidden"
        with pytest.raises(Unreachable) as caught:
            await ask(url)
        assert caught.value.where == f"http://127.0.0.1:{server.port}/v1"
        assert "cret" not in str(caught.value)
        assert "hidden" not in str(caught.value)
        assert server.requests[0].splitlines()[1] == f"host: 127.0.0.1:{server.port}"
        assert "authorization: Basic " + base64.b64encode("us@er:sécret".encode()).decode() in server.requests[0]


def test_international_host_names():
    """A host name beyond ASCII is asked for in its ASCII form, everywhere."""
    endpoint = Http().endpoint("http://münchen.example:8080/v1", {})
    assert endpoint.origin[:3] == (False, "xn--mnchen-3ya.example", 8080)
    assert endpoint.url == "http://xn--mnchen-3ya.example:8080/v1"


def test_the_usual_port_is_not_named():
    """The host header of an address with its scheme's own port has none, as servers expect."""
    for url in ("https://api.example/v1", "https://api.example:443/v1", "HTTPS://API.example/v1"):
        assert Http().endpoint(url, {}).url == "https://api.example/v1"


@pytest.mark.parametrize(
    "url",
    [
        "", "api.example", "api.example/v1", "ftp://a/b", "http://", "http:///path", "http://:80/", "http://a:port/", "http://a:99999/",
        "http://[::1/", "http://[nope]/", "http://a b/", "http://a\0b/", "http://a..b/", "http://" + "a" * 64 + ".example/", "file:///etc",
        "http://user:secret@a b/", "http://user:secret@a:port/", "//user:secret@host/",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_at_load(url):
    """A wrong address is found when the project is loaded, in words, and without the password that it may hold."""
    with pytest.raises(ConfigError, match="address") as caught:
        Http().endpoint(url, {})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x", "a\r\nb: c"), ("x", "a\nb"), ("x", "a\0"), ("x", "€"), ("x", "\x7f"), ("authorization", "Bearer secret\n"),
        ("a\r\nb", "c"), ("a b", "c"), ("a:", "c"), ("", "c"), ("é", "c"),
        ("Content-Length", "5"), ("transfer-encoding", "chunked"), ("Connection", "close"), ("expect", "100-continue"),
    ],
)  # fmt: skip
def test_headers_that_cannot_be_sent_are_refused_at_load(name, value):
    """No header can begin another one or change where the request ends; the message does not repeat the value."""
    with pytest.raises(ConfigError, match="the header") as caught:
        Http().endpoint("http://host/", {name: value})
    assert "secret" not in str(caught.value)


# Refusals


@both
async def test_nobody_is_listening():
    """A refused connection is named as what it is, with its place and what to look at."""
    port = unused()
    with pytest.raises(Unreachable) as caught:
        await ask(f"http://127.0.0.1:{port}/v1")
    assert str(caught.value) == (
        f"http://127.0.0.1:{port}/v1: connection refused by 127.0.0.1:{port}\n  next: see whether the server is running there"
    )
    with pytest.raises(Unreachable, match=f"connection refused by localhost:{port}"):
        await ask(f"http://localhost:{port}/v1")


@both
async def test_a_name_that_nobody_knows():
    """A host that has no address is said to have none."""
    with pytest.raises(Unreachable, match=r"the name of nowhere\.invalid:80 cannot be resolved: ") as caught:
        await ask("http://nowhere.invalid/v1")
    assert caught.value.next == "correct the address"


@both
async def test_cancelling_a_connection_that_is_never_accepted():
    """A server whose queue is full leaves us connecting; whoever stops waiting leaves nothing open."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with contextlib.ExitStack() as stack:
            for _ in range(4):
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(full.getsockname())
            async with at(f"http://127.0.0.1:{full.getsockname()[1]}/") as endpoint:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(endpoint.get(), 0.1)


# TLS

NEW_KEY = "-nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1"


class Authority:
    """A certificate authority made for these tests, and the certificates that it gave."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        extensions = "-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign"
        self._openssl(f"req -x509 {NEW_KEY} -days 2 -subj /CN=authority {extensions} -keyout ca.key -out ca.pem")
        self.file = str(folder / "ca.pem")

    def server(self, name: str) -> ssl.SSLContext:
        """A server's side, with a certificate for this `DNS:` or `IP:`."""
        file = name.replace(":", "_")
        (self._folder / "ext").write_text(f"subjectAltName={name}\nauthorityKeyIdentifier=keyid\n")
        self._openssl(f"req {NEW_KEY} -subj /CN=x -keyout {file}.key -out {file}.csr")
        self._openssl(f"x509 -req -in {file}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out {file}.pem")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._folder / f"{file}.pem", self._folder / f"{file}.key")
        return context

    def _openssl(self, command: str) -> None:
        subprocess.run(["openssl", *command.split()], cwd=self._folder, check=True, capture_output=True, timeout=30)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority."""
    if shutil.which("openssl") is None:
        pytest.skip("the openssl command is not installed")
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """The same, trusted by this process."""
    monkeypatch.setenv("SSL_CERT_FILE", authority.file)
    return authority


@both
async def test_https(trusted):
    """With a certificate that the environment trusts, an https address works as an http one: reused, streamed, large."""
    large = b"x" * 3_000_000
    async with Raw(always(ok(large)), tls=trusted.server("IP:127.0.0.1")) as server:
        async with at(server.url) as endpoint:
            for _ in range(2):
                async with endpoint.post(large) as reply:
                    await asyncio.sleep(0.05)
                    assert await reply.read() == large
            assert await endpoint.get() == (200, large)
        assert server.connections == 1


@both
@pytest.mark.parametrize(
    ("answer", "error", "body"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", None, b"until the end"),
        (ok(b"12345")[:-1], CutOff, b""),
        (b"HTTP/1.1 200", Unreachable, b""),
        (b"", Unreachable, b""),
    ],
)
async def test_https_that_ends(trusted, answer, error, body):
    """The end of a TLS connection is told apart in the same way."""
    async with Raw(once(answer), tls=trusted.server("IP:127.0.0.1")) as server:
        if error is None:
            assert await ask(server.url) == (200, body)
        else:
            with pytest.raises(error, match="the connection was"):
                await ask(server.url)


@both
async def test_an_unknown_authority_is_not_accepted(authority, monkeypatch, tmp_path):
    """A certificate that nobody here trusts is refused, with the reason and the variable that would mend it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    async with Raw(always(ok()), tls=authority.server("IP:127.0.0.1")) as server:
        with pytest.raises(Unreachable) as caught:
            await ask(server.url)
        assert f"the certificate of 127.0.0.1:{server.port} is not accepted: unable to get local issuer" in str(caught.value)
        assert "SSL_CERT_FILE" in caught.value.next
        assert server.requests == []


@both
async def test_a_certificate_for_another_host_is_not_accepted(trusted):
    """A trusted certificate proves its own host only."""
    async with Raw(always(ok()), tls=trusted.server("DNS:other.example")) as server:
        with pytest.raises(Unreachable, match=r"certificate of 127.0.0.1:\d+ is not accepted: IP address mismatch") as caught:
            await ask(server.url)
        assert caught.value.next == "correct the host in the address"
        with pytest.raises(Unreachable, match=r"certificate of localhost:\d+ is not accepted: Hostname mismatch"):
            await ask(server.url.replace("127.0.0.1", "localhost"))
        assert server.requests == []


@both
@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x28", b"\x16\x03\x03\xff\xff", b"", None]
)
async def test_a_server_that_does_not_speak_tls(answer):
    """https:// to a server that answers something else, or nothing, is an error in words, on every loop."""

    async def script(peer: Peer) -> None:
        await peer.reader.read(1)
        if answer is None:
            peer.reset()
        else:
            await peer.say(answer)

    async with Raw(script) as server:
        url = server.url.replace("http", "https")
        with pytest.raises(Unreachable, match=rf"no (TLS with|connection to) 127.0.0.1:{server.port}: ."):
            await ask(url)


@both
async def test_cancelling_a_handshake(trusted):
    """A server that never answers in TLS leaves nothing behind when the caller goes."""

    async def script(peer: Peer) -> None:
        await asyncio.sleep(20)

    async with Raw(script) as server, at(server.url.replace("http", "https")) as endpoint:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(endpoint.get(), 0.1)


@both
async def test_leaving_a_tls_stream(trusted):
    """A cancelled answer over TLS closes its connection and leaves nothing."""
    gone = asyncio.Event()

    async def script(peer: Peer) -> None:
        try:
            await peer.request()
            await peer.say(b"HTTP/1.1 200 OK\r\n\r\nfirst")
            await peer.gone()
        finally:
            gone.set()

    async with Raw(script, tls=trusted.server("IP:127.0.0.1")) as server, at(server.url) as endpoint:
        async with endpoint.post(b"") as reply:
            async for data in reply.chunks():
                assert data == b"first"
                break
        await gone.wait()


# Proxies


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the end."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


def tunnelling(answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n") -> Script:
    """A proxy that does what CONNECT says."""

    async def script(peer: Peer) -> None:
        line = (await peer.head()).split()
        host, _, port = line[1].rpartition(":")
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        await peer.say(answer)
        try:
            await asyncio.gather(pipe(peer.reader, writer), pipe(reader, peer.writer))
        finally:
            writer.transport.abort()

    return script


@both
async def test_http_through_a_proxy(monkeypatch):
    """A plain address goes to the proxy whole, with the credentials for it, over a connection that is reused."""
    async with Raw(always(ok(b"from the proxy"))) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://user:p%40ss@127.0.0.1:{proxy.port}/")
        async with at("http://api.example/v1/x?y=z") as endpoint:
            for _ in range(2):
                assert await endpoint.get() == (200, b"from the proxy")
        assert proxy.connections == 1
        lines = proxy.requests[0].splitlines()
        assert lines[:2] == ["GET http://api.example/v1/x?y=z HTTP/1.1", "host: api.example"]
        assert "proxy-authorization: Basic " + base64.b64encode(b"user:p@ss").decode() in lines


@both
@pytest.mark.parametrize(
    "established", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\nvia: 1.0 x\r\n\r\n"]
)
async def test_https_through_a_proxy(trusted, monkeypatch, established):
    """A TLS address goes through a tunnel; the proxy sees no more than where it leads, and the tunnel is reused."""
    large = b"x" * 3_000_000
    async with Raw(always(ok(large)), tls=trusted.server("IP:127.0.0.1")) as server, Raw(tunnelling(established)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"user:pass@127.0.0.1:{proxy.port}")
        async with at(server.url, Authorization="Bearer secret") as endpoint:
            for _ in range(3):
                async with endpoint.post(large) as reply:
                    assert await reply.read() == large
        assert (proxy.connections, server.connections) == (1, 1)
        place = f"127.0.0.1:{server.port}"
        assert proxy.requests == [
            f"CONNECT {place} HTTP/1.1\r\nhost: {place}\r\nuser-agent: mainstay\r\n"
            f"proxy-authorization: Basic {base64.b64encode(b'user:pass').decode()}\r\n\r\n"
        ]
        assert "proxy-authorization" not in server.requests[0]
        assert "secret" in server.requests[0]


@both
async def test_a_certificate_is_checked_through_a_proxy_too(trusted, monkeypatch):
    """The tunnel's other end has to prove that it is the host that was asked for, not the proxy."""
    async with Raw(always(ok()), tls=trusted.server("DNS:other.example")) as server, Raw(tunnelling()) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(Unreachable, match=rf"certificate of 127.0.0.1:{server.port} through the proxy .* is not accepted"):
            await ask(server.url)


@both
async def test_addresses_that_need_no_proxy(monkeypatch):
    """NO_PROXY keeps hosts, domains and single ports away from the proxy."""
    async with Raw(always(ok())) as server, Raw(always(ok(b"proxied"))) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        for exempt, body in (
            ("127.0.0.1", b"ok"),
            (f"127.0.0.1:{server.port}", b"ok"),
            ("*", b"ok"),
            ("127.0.0.1:9", b"proxied"),
        ):
            monkeypatch.setenv("NO_PROXY", exempt)
            assert await ask(server.url) == (200, body)


@both
@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (b"HTTP/1.1 407 Who?\r\ncontent-length: 3\r\n\r\nwho", "answers 407 to CONNECT api.example:443"),
        (b"HTTP/1.1 502 Bad gateway\r\n\r\n", "answers 502 to CONNECT api.example:443"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "through the proxy"),
        (b"HTTP/1.1 200 OK\r\n\r\nThis is not TLS at all", "through the proxy"),
        (b"HTTP/1.1 200", "no tunnel through the proxy .*: the connection was closed"),
        (b"", "no tunnel through the proxy .*: the connection was closed"),
        (b"garbage\r\n\r\n", "no tunnel through the proxy .*: the answer is not HTTP"),
        (None, "through the proxy .*: .*reset"),
    ],
)
async def test_a_proxy_that_does_not_help(monkeypatch, answer, what):
    """A proxy that refuses, dies or babbles is named, with what it said; its connection is closed."""

    async def script(peer: Peer) -> None:
        await peer.head()
        if answer is None:
            peer.reset()
        else:
            await peer.say(answer)

    async with Raw(script) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(Unreachable, match=f"(?i){what}") as caught:
            await ask("https://api.example/v1")
        assert f"127.0.0.1:{proxy.port}" in caught.value.what
        assert caught.value.where == "https://api.example/v1"


@both
@pytest.mark.parametrize("stage", ["head", "handshake"])
async def test_cancelling_a_tunnel(monkeypatch, stage):
    """Whoever goes while the tunnel is being made leaves nothing open."""

    async def script(peer: Peer) -> None:
        await peer.head()
        if stage == "handshake":
            await peer.say(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.sleep(20)

    async with Raw(script) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        async with at("https://api.example/v1") as endpoint:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(endpoint.get(), 0.1)


@both
async def test_a_proxy_that_is_not_there(monkeypatch):
    """The refusal names the proxy, not the provider behind it."""
    port = unused()
    for scheme in ("http", "https"):
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", f"http://127.0.0.1:{port}")
        with pytest.raises(Unreachable, match=f"connection refused by the proxy 127.0.0.1:{port}"):
            await ask(f"{scheme}://api.example/v1")


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1080", "https://127.0.0.1:8443", "http://a:port", "http://user:secret@:1"])
def test_a_proxy_that_cannot_be_used_is_refused_at_load(monkeypatch, proxy):
    """A proxy in another language is an error when the project is loaded, naming the variable, and never passed by."""
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(ConfigError) as caught:
        Http().endpoint("https://api.example/v1", {})
    assert caught.value.where == "HTTPS_PROXY"
    assert "secret" not in str(caught.value)


@both
async def test_the_provider_is_told_nothing_but_model_errors(opened):
    """Through the door: a model behind a closed port ends in the ladder's message, and the record says why in words."""
    port = unused()
    app = opened(f'[models.small]\nprovider = "openai"\nurl = "http://127.0.0.1:{port}/v1"\nmodel = "m"')
    answer = await app.run("answers", question="?")
    assert (answer.status, answer.text) == ("degraded", "Sorry.")
    record = await app.record(answer.id)
    assert f"connection refused by 127.0.0.1:{port}" in record.outcome.attempts[0].detail
    assert isinstance(Unreachable("x"), ModelError)

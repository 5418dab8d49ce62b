"""A server that does its worst, over real sockets: each time one sentence, soon, and little memory.

Every test runs on both pools.
"""

import asyncio
import gzip
import json
import ssl
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bhi_fhir.errors import Incomplete, Unreachable, UsageError
from bhi_fhir.fhir.client import ATTEMPTS, BhiClient
from bhi_fhir.fhir.connection import Connection, bearer, tls_context
from bhi_fhir.fhir.reading import read, search
from bhi_fhir.fhir.writing import put_own_id, transact

from .hostile import JSON, certificates, hostile, http, saying

MEBIBYTE = 2**20
ONE: dict[str, Any] = {"resourceType": "Bundle", "type": "transaction", "entry": [{}]}
CLAIM = {"resourceType": "Claim", "id": "c"}


@pytest.fixture(params=[True, False], ids=["aiohttp", "httpx"])
def fast(request: pytest.FixtureRequest) -> bool:
    chosen: bool = request.param
    return chosen


@contextmanager
def bounded(seconds: float = 10.0, mebibytes: float = 16.0) -> Iterator[None]:
    """What the block does is soon done and takes little memory."""
    tracemalloc.start()
    began = time.monotonic()
    try:
        yield
        assert time.monotonic() - began < seconds
        assert tracemalloc.get_traced_memory()[1] < mebibytes * MEBIBYTE
    finally:
        tracemalloc.stop()


def client(base: str, fast: bool, **more: Any) -> BhiClient:
    async def at_once(_: float) -> None:
        pass

    facts = {"max_body_bytes": MEBIBYTE, "auth": bearer("SECRET"), **more}
    return BhiClient(Connection(base, fast=fast, **facts), sleep=at_once)


def bundle(number: int, next_link: str) -> bytes:
    link = [{"relation": "next", "url": next_link}]
    entry = [{"resource": {"resourceType": "Encounter", "id": f"e{number}"}}]
    return json.dumps({"resourceType": "Bundle", "link": link, "entry": entry}).encode()


async def test_pages_without_end_are_cut_off_and_said(fast: bool) -> None:
    async def answering(line: str, writer: asyncio.StreamWriter) -> None:
        number = len(server.requests)
        writer.write(http(bundle(number, f"{server.base}/Encounter?page={number}"), JSON))

    async with hostile(answering) as server, client(server.base, fast) as asking:
        with bounded():
            found = await search(asking, "Encounter", {"patient": "maria"}, max_pages=50)
    assert (len(found.entries), len(server.requests), server.connections) == (50, 50, 1)
    assert found.withheld == ("Not all of Encounter could be read: there are more than 50 pages.",)


@pytest.mark.parametrize("link", ["{other}", "{other}/fhir/Encounter", "{other}?x={here}", "//127.0.0.1:{port}/fhir"])
async def test_a_next_link_to_another_server_is_never_asked_for(fast: bool, link: str) -> None:
    async with hostile(saying(http(b"{}"))) as other:

        async def answering(_: str, writer: asyncio.StreamWriter) -> None:
            where = link.format(other=f"http://127.0.0.1:{other.port}", here=server.base, port=other.port)
            writer.write(http(bundle(1, where), JSON))

        async with hostile(answering) as server, client(server.base, fast) as asking:
            found = await search(asking, "Encounter", {"patient": "maria"})
    assert (len(found.entries), found.complete, other.connections) == (1, False, 0)


async def test_a_body_without_end_is_not_read_to_it(fast: bool) -> None:
    sent = 0

    async def answering(_: str, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(http(b"", JSON, length=2**30))
        chunk = b" " * 65536
        while sent < 2**30:
            writer.write(chunk)
            sent += len(chunk)
            await writer.drain()

    async with hostile(answering) as server, client(server.base, fast) as asking:
        with bounded(), pytest.raises(Incomplete, match=r"^GET Encounter: the answer is larger than 1048576 bytes"):
            await search(asking, "Encounter", {"patient": "maria"})
    assert (sent < 64 * MEBIBYTE, len(server.requests)) == (True, 1)


async def test_a_gzip_bomb_is_not_unpacked(fast: bool) -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(b" " * MEBIBYTE) for _ in range(128)) + packer.flush()
    assert len(bomb) < MEBIBYTE
    says = saying(http(bomb, JSON, "Content-Encoding: gzip"))
    async with hostile(says) as server, client(server.base, fast) as asking:
        with bounded(), pytest.raises(Incomplete, match="larger than 1048576 bytes"):
            await search(asking, "Encounter", {"patient": "maria"})


async def test_an_honestly_compressed_answer_is_read(fast: bool) -> None:
    body = gzip.compress(json.dumps({"resourceType": "Claim", "id": "c"}).encode())
    says = saying(http(body, JSON, "Content-Encoding: gzip"))
    async with hostile(says) as server, client(server.base, fast) as asking:
        assert json.loads(await read(asking, "Claim/c"))["id"] == "c"


@pytest.mark.parametrize("kind", ["gzip", "deflate", "br", "gzip, gzip", "x" * 5000])
@pytest.mark.parametrize("body", [b"no gzip", gzip.compress(b"{}", mtime=0)[:-3]])
async def test_broken_or_unknown_compression_is_no_answer(fast: bool, kind: str, body: bytes) -> None:
    says = saying(http(body, JSON, f"Content-Encoding: {kind}"))
    async with hostile(says) as server, client(server.base, fast) as asking:
        with pytest.raises(Incomplete, match=r"^GET Claim: the answer is badly compressed"):
            await read(asking, "Claim/c")


DEEP = 100_000


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Sign in, Maria</html>",
        b"[" * DEEP,
        b'{"a":' * DEEP,
        b'{"resourceType":"Bundle","entry":[{"resource":' + b"[" * DEEP + b"]" * DEEP + b"}]}",
        b'{"resourceType":"Bundle","x":' + b"[" * DEEP + b"]" * DEEP + b"}",
        b'{"resourceType":"Bundle","entry":7}',
        b'{"resourceType":"Bundle","link":{"next":1}}',
        b'{"resourceType":"Bundle","total":"many"}',
        b'{"resourceType":["Bundle"]}',
        b'"Bundle"',
        b"null",
        b"\x00\xff\xfe",
        b"",
    ],
    ids=range(13),
)
async def test_what_is_no_search_result_is_one_sentence(fast: bool, body: bytes) -> None:
    async with hostile(saying(http(body, JSON))) as server, client(server.base, fast) as asking:
        with bounded(), pytest.raises(Incomplete, match=r"^GET Encounter: the server answered 200, but not with"):
            await search(asking, "Encounter", {"patient": "maria"})
        with pytest.raises(Incomplete, match=r"^GET Encounter"):
            await read(asking, "Encounter/e")
        with pytest.raises(Incomplete, match=r"^POST transaction"):
            await transact(asking, ONE)


async def test_a_slow_drip_ends_at_the_deadline_and_is_not_asked_again(fast: bool) -> None:
    async def answering(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(http(b"", JSON, length=10_000))
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with hostile(answering) as server, client(server.base, fast, deadline_s=1.5) as asking:
        with bounded(5.0), pytest.raises(Unreachable, match=r"^GET Claim: the whole answer took longer than 1\.5 s\.$"):
            await read(asking, "Claim/c")
        with pytest.raises(Unreachable, match="unknown whether the server carried it out") as caught:
            await put_own_id(asking, "Claim/c", CLAIM)
    assert caught.value.sent
    assert len(server.requests) == 2


async def test_silence_ends_at_the_timeout(fast: bool) -> None:
    async def answering(_: str, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async with hostile(answering) as server, client(server.base, fast, timeout_s=0.1) as asking:
        with bounded(5.0), pytest.raises(Unreachable, match="timed out, and it is unknown") as caught:
            await put_own_id(asking, "Claim/c", CLAIM)
    assert caught.value.sent
    assert len(server.requests) == 1


BREAKS = {
    "before the answer": b"",
    "in the head": b"HTTP/1.1 200 OK\r\nContent-",
    "in the body": http(b'{"resourceType":', JSON, length=1000),
    "in a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "a head without end": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 300_000,
}


@pytest.mark.parametrize("abort", [True, False], ids=["reset", "closed"])
@pytest.mark.parametrize("part", BREAKS.values(), ids=BREAKS)
async def test_a_connection_that_breaks_is_tried_again_for_a_read_and_never_for_a_write(
    fast: bool, part: bytes, abort: bool
) -> None:
    async def answering(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(part)
        await writer.drain()
        if abort:
            writer.transport.abort()
        writer.close()

    async with hostile(answering) as server, client(server.base, fast) as asking:
        with bounded(), pytest.raises(Unreachable, match=r"^GET Claim: the connection broke\.$"):
            await read(asking, "Claim/c")
        assert len(server.requests) == ATTEMPTS
        with pytest.raises(Unreachable, match="broke, and it is unknown") as caught:
            await put_own_id(asking, "Claim/c", CLAIM)
        assert caught.value.sent
        assert len(server.requests) == ATTEMPTS + 1


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST"])
async def test_a_write_on_a_kept_connection_that_breaks_is_not_sent_again(fast: bool, method: str) -> None:
    """aiohttp would send a PUT and a DELETE a second time."""

    async def answering(line: str, writer: asyncio.StreamWriter) -> None:
        if line.startswith("GET"):
            writer.write(http(b"{}", JSON))
        else:
            writer.close()

    async with hostile(answering) as server, client(server.base, fast) as asking:
        await asking.ask("GET", "metadata")
        with pytest.raises(Unreachable) as caught:
            await asking.ask(method, "Claim/c", data=CLAIM)
    assert caught.value.sent
    assert server.connections == 1
    assert [line.split()[0] for line in server.requests] == ["GET", method]


async def test_without_a_connection_it_is_certain_that_nothing_was_sent(fast: bool) -> None:
    async with hostile(saying()) as gone:
        pass
    async with client(gone.base, fast) as asking:
        with pytest.raises(Unreachable, match=f"no connection to {gone.base}") as caught:
            await put_own_id(asking, "Claim/c", CLAIM)
    assert not caught.value.sent


async def test_a_redirect_is_not_followed_and_no_cookie_comes_back(fast: bool) -> None:
    async with hostile(saying(http(b"{}"))) as other:
        says = saying(
            http(b"", f"Location: {other.base}/Claim/c", "Set-Cookie: a=b", status="307 Temporary Redirect"),
            http(b"{}", "Set-Cookie: a=b"),
        )
        async with hostile(says) as server, client(server.base, fast) as asking:
            with pytest.raises(Exception, match="redirects"):
                await read(asking, "Claim/c")
            await asking.ask("GET", "metadata")
            await asking.ask("GET", "metadata")
    assert other.connections == 0
    assert "cookie:" not in "".join(server.headers).lower()


async def test_an_opaque_link_is_asked_for_as_it_came(fast: bool) -> None:
    link = "Encounter?ct=a%2Bb%7C%2F%3d~+;,'()*!$:@&x=%e2%82%ac"
    async with hostile(saying(http(b"{}"))) as server, client(server.base, fast) as asking:
        await asking.ask("GET", f"{server.base}/{link}")
    assert server.requests == [f"GET /fhir/{link} HTTP/1.1"]


async def test_a_large_bundle_is_sent_whole(fast: bool) -> None:
    text = "x" * (2 * MEBIBYTE)
    async with hostile(saying(http(b"{}"))) as server, client(server.base, fast) as asking:
        await asking.ask("POST", "Binary", data={"text": text})
    assert json.loads(server.bodies[0]) == {"text": text}


async def test_the_site_s_concurrency_is_never_passed_and_its_connections_are_kept(fast: bool) -> None:
    now = most = 0

    async def answering(_: str, writer: asyncio.StreamWriter) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.002)
        now -= 1
        writer.write(http(b"{}"))

    async with hostile(answering) as server, client(server.base, fast, concurrency=3) as asking:
        await asyncio.gather(*(asking.ask("GET", "metadata") for _ in range(30)))
    assert (most, server.connections) == (3, 3)


async def test_a_server_with_a_certificate_of_the_hospital_s_own_authority_is_trusted_only_with_ca_file(
    fast: bool, tmp_path: Path
) -> None:
    files = certificates(tmp_path)
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(files.server)
    serving.load_verify_locations(files.authority)
    serving.verify_mode = ssl.CERT_REQUIRED  # mutual TLS
    async with hostile(saying(http(b"{}")), serving) as server:
        base = server.base.replace("http:", "https:")
        async with client(base, fast) as stranger:
            with pytest.raises(Unreachable, match=r"no connection.*CERTIFICATE_VERIFY_FAILED") as caught:
                await put_own_id(stranger, "Claim/c", CLAIM)
        assert not caught.value.sent
        tls = tls_context(str(files.authority), str(files.client))
        assert tls.minimum_version == ssl.TLSVersion.TLSv1_2
        async with client(base, fast, tls=tls) as known:
            assert (await known.ask("GET", "metadata")).status == 200
        async with client(base, fast, tls=tls_context(str(files.authority))) as unknown:
            with pytest.raises(Unreachable):
                await unknown.ask("GET", "metadata")
    assert server.requests == ["GET /fhir/metadata HTTP/1.1"]


async def test_tls_with_a_server_that_speaks_none_is_no_connection(fast: bool) -> None:
    async with hostile(saying(http(b"{}"))) as server:
        base = server.base.replace("http:", "https:")
        async with client(base, fast, timeout_s=0.3) as asking:
            with pytest.raises(Unreachable, match="no connection") as caught:
                await put_own_id(asking, "Claim/c", CLAIM)
    assert not caught.value.sent


@pytest.mark.parametrize("key", ["ca_file", "client_certificate", "client_key"])
def test_a_wrong_file_for_tls_is_named_by_its_key(key: str, tmp_path: Path) -> None:
    odd = tmp_path / "SECRET.pem"
    odd.write_text("SECRET")
    for path in (odd, tmp_path / "absent", tmp_path):
        with pytest.raises(UsageError, match=rf"\[fhir\] {key}") as caught:
            tls_context(**{key: str(path)})
        assert "SECRET" not in str(caught.value)


async def test_the_environment_s_proxy_carries_what_leaves_this_machine(
    fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    says = saying(http(b"", status="407 Proxy Authentication Required"))
    async with hostile(says) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:pass@127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", "other.example")
        async with client("https://ehr.example/fhir", fast) as asking:
            with pytest.raises(Unreachable) as caught:
                await put_own_id(asking, "Claim/c", CLAIM)
        async with hostile(saying(http(b"{}"))) as server, client(server.base, fast) as near:
            await near.ask("GET", "metadata")
    assert not caught.value.sent
    assert "pass" not in str(caught.value)
    assert proxy.requests == ["CONNECT ehr.example:443 HTTP/1.1"]
    assert "proxy-authorization: basic dxnlcjpwyxnz" in proxy.headers[0].lower()


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1080", "ftp://proxy.example"])
def test_a_proxy_of_another_kind_is_refused(fast: bool, proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(UsageError, match="only an http or https proxy"):
        client("https://ehr.example/fhir", fast)

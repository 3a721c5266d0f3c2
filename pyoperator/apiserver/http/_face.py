"""aiohttp in front of the core: one handler, no router."""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
from aiohttp import web

from pyoperator.apiserver import _status
from pyoperator.apiserver._request import APIRequest, APIResponse
from pyoperator.apiserver.access import CertificateSubject, Credential

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyoperator.apiserver._server import APIServer

# As in the real server: smaller answers cost more to compress than to send.
_GZIP_FROM = 128 * 1024
_LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})
_EMPTY: tuple[tuple[str, str], ...] = ()


class HTTPFace:
    """Turn HTTP requests into core requests and answers back.

    ``loopback_only``: refuse requests whose Host header names anything but this machine (a browser page that rebinds
    DNS must not reach a server without authentication). ``body_timeout``: seconds within which a body must arrive.
    """

    def __init__(self, server: APIServer, *, loopback_only: bool = False, body_timeout: float = 60.0) -> None:
        self._server = server
        self._loopback_only = loopback_only
        self._body_timeout = body_timeout

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; the handler of an aiohttp ``web.Server``."""
        try:
            if self._loopback_only:
                _check_host(request)
            api_request = await self._read(request)
        except _status.StatusError as error:
            response = web.Response(status=error.code, body=msgspec.json.encode(error.body()))
            response.content_type = "application/json"
            # The rest of a body that was not read would be taken for the next request.
            response.force_close()
            return response
        answer = await self._server.serve(api_request)
        if answer.watch is not None:
            return await _stream(request, answer)
        return _complete(request, answer)

    async def _read(self, request: web.BaseRequest) -> APIRequest:
        target = request.raw_path
        if not target.startswith("/"):
            parts = urlsplit(target)
            target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        raw_path, _, raw_query = target.partition("?")
        try:
            path = unquote(raw_path, errors="strict")
            query = (
                parse_qsl(raw_query, keep_blank_values=True, errors="strict", max_num_fields=200)
                if raw_query
                else _EMPTY
            )
        except ValueError as error:
            raise _status.bad_request("the URL is not valid: percent-encoded UTF-8 is expected") from error
        headers = _headers(request)
        return APIRequest(
            method=request.method,
            path=path,
            query=query,
            headers=headers,
            body=await self._body(request) if request.can_read_body else b"",
            credential=_credential(request, headers),
            source_address=request.remote or "",
        )

    async def _body(self, request: web.BaseRequest) -> bytes:
        limit = self._server.options.body_limit
        announced = request.content_length
        if announced is not None and announced > limit:
            raise _status.entity_too_large(limit)
        if request.content.is_eof():  # it came with the head, as small ones do: nothing to wait for
            return request.content.read_nowait()
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._body_timeout):
                async for chunk in request.content.iter_any():
                    size += len(chunk)
                    if size > limit:
                        raise _status.entity_too_large(limit)
                    chunks.append(chunk)
        except TimeoutError as error:
            raise _status.StatusError(408, "Timeout", "the body of the request did not arrive in time") from error
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _headers(request: web.BaseRequest) -> Mapping[str, str]:
    headers: dict[str, Any] = {}
    for name, value in request.headers.items():
        key = name.lower()
        if key not in headers:
            headers[key] = value
        elif key.startswith("impersonate-"):
            # The only headers of the API that are given several times: one value each.
            before = headers[key]
            headers[key] = (*((before,) if isinstance(before, str) else before), value)
        else:
            headers[key] = f"{headers[key]}, {value}"
    return headers


def _credential(request: web.BaseRequest, headers: Mapping[str, str]) -> Credential:
    authorization = headers.get("authorization", "")
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return Credential(bearer_token=token.strip())
    transport = request.transport
    connection = transport.get_extra_info("ssl_object") if transport is not None else None
    certificate = connection.getpeercert() if connection is not None else None
    if certificate:
        fields = [pair for part in certificate.get("subject", ()) for pair in part]
        names = [value for name, value in fields if name == "commonName"]
        groups = tuple(value for name, value in fields if name == "organizationName")
        if names:
            return Credential(certificate=CertificateSubject(names[0], groups))
    return Credential()


def _check_host(request: web.BaseRequest) -> None:
    host = request.headers.get("host", "")
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    if name.lower() not in _LOOPBACK_HOSTS:
        raise _status.forbidden("", "", "", "this server answers on localhost only")


def _complete(request: web.BaseRequest, answer: APIResponse) -> web.Response:
    body = answer.body
    response = web.Response(status=answer.status)
    headers = response.headers
    headers.update(answer.headers)
    headers["cache-control"] = "no-cache, private"
    for warning in answer.warnings:
        headers.add("warning", f'299 - "{_quoted(warning)}"')
    if len(body) >= _GZIP_FROM and "gzip" in request.headers.get("accept-encoding", ""):
        compressor = zlib.compressobj(1, zlib.DEFLATED, 31)
        body = compressor.compress(body) + compressor.flush()
        headers["content-encoding"] = "gzip"
        headers["vary"] = "Accept-Encoding"
    response.body = body
    return response


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return "".join(character if character.isprintable() else " " for character in escaped)


async def _stream(request: web.BaseRequest, answer: APIResponse) -> web.StreamResponse:
    watch = answer.watch
    response = web.StreamResponse(status=answer.status)
    if watch is None:  # the caller has looked
        return response
    response.headers.update(answer.headers)
    response.headers["cache-control"] = "no-cache, private"
    response.enable_chunked_encoding()
    lines = watch.lines()
    try:
        # The headers leave at once: a client knows that it watches before anything happens.
        await response.prepare(request)
        async for piece in lines:
            await response.write(piece)
        await response.write_eof()
    except ConnectionError:
        pass  # the reader has gone; there is nobody to tell
    finally:
        await lines.aclose()
        watch.close()
    return response

"""An HTTP/1.1 answer as it is read from a connection (RFC 9112), and as it is handed on.

`http.client` has the head of an answer parsed as that of an e-mail, and urllib3 copies it twice: together they
take longer than everything else in a call. A head that is parsed here is held to the letter: a line that is no
header, or a length that is none, is an error, which says nothing of what it met.
"""

import io
import re
from http.client import HTTPException, HTTPResponse, IncompleteRead, RemoteDisconnected

BODY_LIMIT = 256 * 1024
"""Bytes of an answer's body, before and after decompression."""

_LINE_LIMIT = 65_536
_HEADER_LIMIT = 100
_STATUS_LINE = re.compile(rb"HTTP/1\.([0-9]) ([1-9][0-9]{2})(?: [^\r\n]*)?\r?\n")
_NAME = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")


def is_answer(status: int) -> bool:
    """Whether the body that comes with a status is worth reading: not with a redirect, 429 or 5xx."""
    return 200 <= status < 300 or (400 <= status < 500 and status != 429)


class Answer(io.BytesIO):
    """Status, headers (names in lower case) and body: as much of a response as urllib3 and `requests` use."""

    version_string = "HTTP/1.1"
    reason = ""
    length_remaining = 0

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        super().__init__(body)
        self.status = status
        self.headers = headers

    def read(self, amt: int | None = None, decode_content: bool = False) -> bytes:
        return super().read(amt)


class IncomingAnswer(HTTPResponse):
    """An answer that is being read; `http.client` knows about chunks."""

    def begin(self) -> None:
        """Read the head, and find out how long the body is going to be."""
        self.status = 100
        while self.status < 200:  # an interim answer
            minor, self.status = self._parse_status_line()
            self.head = self._parse_headers()
        coding, length = self.head.get("transfer-encoding"), self.head.get("content-length")
        if coding is not None and coding.lower() != "chunked":
            raise HTTPException("a transfer encoding that nobody asked for")
        if length is not None and not re.fullmatch(r"([0-9]{1,18})(, \1)*", length):
            raise HTTPException("a malformed content length")
        self.chunked, self.chunk_left = coding is not None, None
        self.length = int(length.partition(",")[0]) if length and not self.chunked else None
        if self.status in (204, 304):
            self.chunked, self.length = False, 0
        closes = minor == b"0" or "close" in self.head.get("connection", "").lower()
        self.will_close = closes or (self.length is None and not self.chunked)

    def read_body(self) -> bytes:
        """The body, but not much more than BODY_LIMIT bytes of it."""
        body = b""
        while chunk := self.read(BODY_LIMIT + 1 - len(body)):
            body += chunk
        if self.length and self.isclosed():
            raise IncompleteRead(b"", self.length)
        return body

    def _next_line(self) -> bytes:
        line = self.fp.readline(_LINE_LIMIT + 1)
        if not line:
            raise RemoteDisconnected("the connection was closed before there was an answer")
        return line

    def _parse_status_line(self) -> tuple[bytes, int]:
        form = _STATUS_LINE.fullmatch(self._next_line())
        if not form:
            raise HTTPException("a malformed status line")
        return form[1], int(form[2])

    def _parse_headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        for _ in range(_HEADER_LIMIT + 1):
            line = self._next_line()
            if line in (b"\r\n", b"\n"):
                return headers
            name, _, value = line.decode("iso-8859-1").partition(":")
            name, value = name.lower(), value.strip(" \t\r\n")
            if not _NAME.fullmatch(name) or "\r" in value or not line.endswith(b"\n"):
                raise HTTPException("a malformed header")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        raise HTTPException("too many headers")

"""Free ports on loopback that stay free until their process listens on them."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

LOOPBACK = "127.0.0.1"


class ReservedPort:
    """A free port, held by a socket that is bound and does not listen.

    On Linux another process may bind and listen on it all the same, if both sides set SO_REUSEADDR (asyncio's servers
    do), while the kernel gives it to nobody who asks for any port. Elsewhere holding it would keep its process out: it
    is let go at once and may, rarely, be taken by somebody else before.
    """

    def __init__(self) -> None:
        self._socket: socket.socket | None = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((LOOPBACK, 0))
        self.number: int = self._socket.getsockname()[1]
        if sys.platform != "linux":
            self.close()

    @property
    def address(self) -> str:
        """``127.0.0.1:PORT``."""
        return f"{LOOPBACK}:{self.number}"

    def close(self) -> None:
        """Let the port go; a second call changes nothing."""
        held, self._socket = self._socket, None
        if held is not None:
            held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"ReservedPort({self.number})"

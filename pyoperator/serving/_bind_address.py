"""Where to listen, as the flags of controller managers spell it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

_EXAMPLES = "write ':8080', '127.0.0.1:8080' or '[::1]:8080' (port 0 picks a free one), or '0' to switch it off"


class BindAddressError(ValueError):
    """The text is no bind address; the message says how one looks."""


@dataclass(frozen=True, slots=True)
class BindAddress:
    """A host and a port to listen on; an empty host means every interface, IPv4 and IPv6.

    ``disabled`` is what "0" and the empty string mean, as in controller-runtime: do not serve at all. Port 0 asks the
    system for a free port.
    """

    host: str = ""
    port: int = 0
    disabled: bool = False

    @classmethod
    def parse(cls, text: str | BindAddress) -> BindAddress:
        """Read ``host:port``, ``:port``, ``[v6]:port``, or "0"/"" for disabled; raises BindAddressError."""
        if isinstance(text, BindAddress):
            return text
        if not isinstance(text, str):
            raise BindAddressError(f"a bind address is a string, not {type(text).__name__}: {_EXAMPLES}")
        stripped = text.strip()
        if stripped in {"", "0"}:
            return cls(disabled=True)
        host, colon, port_text = stripped.rpartition(":")
        if not colon:
            hint = f"did you mean ':{stripped}'? " if stripped.isascii() and stripped.isdigit() else ""
            raise BindAddressError(f"bind address {text!r} has no port: {hint}{_EXAMPLES}")
        return cls(host=_read_host(host, text), port=_read_port(port_text, text))

    def __str__(self) -> str:
        if self.disabled:
            return "0"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _read_port(port: str, text: str) -> int:
    # isdecimal() alone would let other scripts' digits through; int() would let "+80" and "8_0" through.
    if not (port.isascii() and port.isdecimal()) or int(port[:6]) > 65535 or len(port) > 5:
        raise BindAddressError(f"bind address {text!r}: the port must be a number from 0 to 65535, not {port!r}")
    return int(port)


def _read_host(host: str, text: str) -> str:
    if host.startswith("[") and host.endswith("]"):
        inside = host[1:-1]
        try:
            ipaddress.IPv6Address(inside.partition("%")[0])
        except ValueError:
            raise BindAddressError(f"bind address {text!r}: {inside!r} is no IPv6 address") from None
        return inside
    if ":" in host:
        raise BindAddressError(f"bind address {text!r}: an IPv6 address goes in brackets, as in '[::1]:8080'")
    if not host.isprintable() or any(character in host for character in " /[]"):
        raise BindAddressError(f"bind address {text!r}: {host!r} is no host name or address; {_EXAMPLES}")
    return "" if host == "*" else host

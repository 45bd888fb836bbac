"""Which network addresses may be asked: public ones, and private ones only where the recipe allows it.

The check is of the peer a socket is really connected to, so that neither a redirect nor a name that resolves
to an inner address (also one that resolves differently the second time) leads inside.
"""

from __future__ import annotations

import ipaddress

__all__ = ["PrivateAddress", "is_public"]

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class PrivateAddress(Exception):
    """The host's address is private, loopback, link-local, multicast or reserved."""


def is_public(address: str) -> bool:
    """Whether an IPv4 or IPv6 address is on the public internet, seen through IPv6's ways to embed IPv4."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if ip.is_site_local:  # fec0::/10, which is_global takes for public
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved

"""Who is at the other end of a connection: the user id that the kernel names, looked up for exactly this one."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import struct

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST = 1
ANY_STATE, ANY_COOKIE = 0xFFFFFFFF, (0xFFFFFFFF, 0xFFFFFFFF)
ESTABLISHED, CLOSE_WAIT = 1, 8
OVERFLOW_UID_FILE = "/proc/sys/kernel/overflowuid"

_HEADER = struct.Struct("=LHHLL")
_REQUEST = struct.Struct("=BBBxL2s2s16s16sLLL")
_ANSWER = struct.Struct("=BBBB2s2s16s16sLLLLLLLL")

Address = tuple[str, int]


def is_own(uid: int | None) -> bool:
    """Tell whether a peer is this process's own user. The id that stands for unmapped users is nobody's own."""
    return uid is not None and uid == os.geteuid() and uid != _overflow_uid()


def uid_of(descriptor: int) -> int | None:
    """Give the user id of the peer of a connected stream socket; None where that can't be told for certain.

    A TCP peer is only looked up on the loopback interface. The answer counts only if the connection still stands
    after the look-up: so nobody else can have come to own the peer's address in between.
    """
    with socket.socket(fileno=os.dup(descriptor)) as connection:
        if connection.family == socket.AF_UNIX:
            return _unix_uid(connection)
        try:
            own, peer = _plain(connection.getsockname()), _plain(connection.getpeername())
        except OSError:
            return None
        if not ipaddress.ip_address(peer[0]).is_loopback:
            return None
        uid = _ask_kernel(peer, own)
        if uid is None:
            uid = _read_tables(peer, own)
        return uid if _still_stands(connection) else None


def _unix_uid(connection: socket.socket) -> int | None:
    try:
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    except OSError:
        return None
    return int(struct.unpack("3i", credentials)[1])


def _plain(address: tuple[str, int]) -> Address:
    """Give an address without scope and flow; an IPv4 address in IPv6 clothes as what it is."""
    ip = ipaddress.ip_address(address[0].partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return str(mapped or ip), address[1]


def _still_stands(connection: socket.socket) -> bool:
    with contextlib.suppress(OSError):
        return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in (ESTABLISHED, CLOSE_WAIT)
    return False


def _ask_kernel(peer: Address, own: Address) -> int | None:
    """Ask for the one socket from `peer` to `own` by netlink (sock_diag(7)); None if it gives no answer."""
    family = socket.AF_INET6 if ":" in peer[0] else socket.AF_INET
    wanted = (_port(peer), _port(own), _ip(peer), _ip(own), 0, *ANY_COOKIE)
    body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, ANY_STATE, *wanted)
    header = _HEADER.pack(_HEADER.size + len(body), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 1, 0)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG) as netlink:
            netlink.settimeout(0.1)
            netlink.sendto(header + body, (0, 0))
            data = netlink.recv(4096)
    except OSError:
        return None
    return _read_answer(data, peer, own)


def _read_answer(data: bytes, peer: Address, own: Address) -> int | None:
    """Read the user id, if the answer is of that very socket and a process still has it.

    A listener may answer for a connection that is gone, and a socket that no process has any more shows as root's.
    """
    if len(data) < _HEADER.size + _ANSWER.size or _HEADER.unpack_from(data)[1] != SOCK_DIAG_BY_FAMILY:
        return None
    _, _, _, _, sport, dport, source, target, *_, uid, inode = _ANSWER.unpack_from(data, _HEADER.size)
    is_it = (sport, dport) == (_port(peer), _port(own)) and _same_ip(source, peer) and _same_ip(target, own)
    return int(uid) if is_it and inode else None


def _read_tables(peer: Address, own: Address) -> int | None:
    """Look the socket up in /proc/net/tcp and tcp6, where netlink is not to be had."""
    forms = ((_ip4(peer), _ip4(own)), (_ip6(peer), _ip6(own)))
    wanted = {(_table_form(p), _table_form(o)) for p, o in forms if p and o}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError), open(table) as file:
            for line in file:
                fields = line.split()
                if (fields[1], fields[2]) in wanted and fields[9] != "0":
                    return int(fields[7])
    return None


def _port(address: Address) -> bytes:
    return struct.pack("!H", address[1])


def _ip(address: Address) -> bytes:
    return ipaddress.ip_address(address[0]).packed.ljust(16, b"\0")


def _same_ip(raw: bytes, address: Address) -> bool:
    packed = ipaddress.ip_address(address[0]).packed
    mapped = b"\0" * 10 + b"\xff\xff" + packed
    return raw in (packed.ljust(16, b"\0"), mapped)


def _ip4(address: Address) -> tuple[bytes, int] | None:
    packed = ipaddress.ip_address(address[0]).packed
    return (packed, address[1]) if len(packed) == 4 else None  # noqa: PLR2004 - the bytes of an IPv4 address


def _ip6(address: Address) -> tuple[bytes, int]:
    packed = ipaddress.ip_address(address[0]).packed
    return (packed if len(packed) == 16 else b"\0" * 10 + b"\xff\xff" + packed, address[1])  # noqa: PLR2004


def _table_form(address: tuple[bytes, int]) -> str:
    """Write an address as the kernel's tables do: words in the machine's byte order, then the port, in hexadecimal."""
    packed, port = address
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return "".join(f"{word:08X}" for word in words) + f":{port:04X}"


def _overflow_uid() -> int:
    try:
        with open(OVERFLOW_UID_FILE) as file:
            return int(file.read())
    except (OSError, ValueError):
        return 65534

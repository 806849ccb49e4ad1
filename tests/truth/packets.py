"""A capture of what a server and its clients say to each other on the loopback interface.

The kernel stamps a packet when it goes out, which on this interface is when it arrives. The stamp is by the wall
clock: it is converted with the offset of both clocks, which is looked up before and after; a wall clock that was set
meanwhile is an error. https://man7.org/linux/man-pages/man7/packet.7.html
"""

import ctypes
import re
import socket
import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from tests.truth.kernel import UnavailableError

SO_ATTACH_FILTER = 26
SO_RCVBUFFORCE = 33
SO_TIMESTAMPNS = 35
SOL_PACKET, PACKET_STATISTICS = 263, 6
PACKET_OUTGOING = 4
ETH_P_ALL, ETH_P_IP = 3, 0x0800
SKIP = 14  # bytes of the Ethernet header
SNAP = 2048  # bytes of a packet that are kept: the head of a request fits
BUFFER = 256 * 2**20
STAMPS_S = 30.0  # how long the kernel may take to begin
MAX_DRIFT_NS = 20_000  # between the clocks, in one run

_ID = re.compile(rb"\r\nx-request-id: *([^\r]+)\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Packet:
    """A TCP segment that carries data: ``size`` bytes from ``seq`` on, of which ``data`` is the beginning."""

    t_ns: int
    source: int
    target: int
    seq: int
    size: int
    data: bytes


class Capture:
    """``with Capture(port) as capture``: every packet to or from that TCP port that goes out meanwhile.

    Raises `UnavailableError` where we may not: it takes root, or CAP_NET_RAW and CAP_NET_ADMIN.
    """

    def __init__(self, port: int) -> None:
        self._port = port

    def __enter__(self) -> Self:
        try:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        except OSError as error:
            raise UnavailableError(f"no capture on the loopback interface: {error.strerror}") from None
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER // 2)
            self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            self._filter()
            self._socket.bind(("lo", ETH_P_ALL))
        except OSError as error:
            self._socket.close()
            raise UnavailableError(f"no capture on the loopback interface: {error.strerror}") from None
        try:
            _wait_for_stamps()
        except BaseException:
            self._socket.close()
            raise
        self._offset_ns = _offset_ns()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def packets(self) -> list[Packet]:
        """What was captured. Raises `RuntimeError` where a part or a stamp is missing, or the wall clock was set."""
        taken = []
        begin_ns = time.monotonic_ns()
        try:
            while True:
                data, ancillary, _, _ = self._socket.recvmsg(SNAP, 64, socket.MSG_DONTWAIT)
                taken.append((data, ancillary))
        except BlockingIOError:
            pass
        drift_ns = _offset_ns() - self._offset_ns
        if abs(drift_ns) > MAX_DRIFT_NS:
            raise RuntimeError(f"the wall clock was set by {drift_ns} ns meanwhile")
        _, dropped = struct.unpack("II", self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        if dropped:
            raise RuntimeError(f"the capture is not complete: {dropped} packets were dropped")
        packets = [self._packet(data, stamp) for data, ((_, _, stamp), *_) in taken]
        if any(packet.size and packet.t_ns > begin_ns for packet in packets):
            raise RuntimeError("packets were not stamped before they were read")
        return packets

    def _packet(self, data: bytes, stamp: bytes) -> Packet:
        head = SKIP + 4 * (data[SKIP] & 15)
        total = int.from_bytes(data[SKIP + 2 : SKIP + 4])
        source, target, seq = struct.unpack_from("!HHI", data, head)
        body = head + 4 * (data[head + 12] >> 4)
        return Packet(_wall_ns(stamp) - self._offset_ns, source, target, seq, SKIP + total - body, data[body:])

    def _filter(self) -> None:
        """Only what goes out, is TCP over IPv4, and has our port: a program for the kernel, classic BPF."""
        program = [
            (0x28, 0, 0, 0xFFFFF004),  # which way the packet goes
            (0x15, 0, 10, PACKET_OUTGOING),
            (0x28, 0, 0, 12),  # its protocol
            (0x15, 0, 8, ETH_P_IP),
            (0x30, 0, 0, SKIP + 9),
            (0x15, 0, 6, socket.IPPROTO_TCP),
            (0xB1, 0, 0, SKIP),  # how long the head of IP is
            (0x48, 0, 0, SKIP),  # the port that it comes from
            (0x15, 2, 0, self._port),
            (0x48, 0, 0, SKIP + 2),  # the port that it goes to
            (0x15, 0, 1, self._port),
            (0x06, 0, 0, SNAP),
            (0x06, 0, 0, 0),
        ]
        code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
        pointer = struct.pack("HxxxxxxP", len(program), ctypes.addressof(code))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, pointer)


def _wait_for_stamps() -> None:
    """The kernel begins to stamp packets a while after it was asked to, and stamps them until then as they are read."""
    end = time.monotonic() + STAMPS_S
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        probe.bind(("127.0.0.1", 0))
        while time.monotonic() < end:
            probe.sendto(b"x", probe.getsockname())
            sent_ns = time.time_ns()
            time.sleep(0.005)
            _, ((_, _, stamp), *_), _, _ = probe.recvmsg(1, 64)
            if _wall_ns(stamp) <= sent_ns:
                return
    raise RuntimeError(f"the kernel did not begin to stamp packets within {STAMPS_S:g} s")


def _wall_ns(stamp: bytes) -> int:
    seconds, ns = struct.unpack("qq", stamp)
    return int(seconds * 10**9 + ns)


def _offset_ns() -> int:
    """How far the wall clock is ahead of the monotonic one; the best of some tries."""
    tries = []
    for _ in range(50):
        before, wall, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        tries.append((after - before, wall - (before + after) // 2))
    return min(tries)[1]


def last_bytes(packets: Iterable[Packet], port: int) -> dict[str, int]:
    """When the last byte of the response to each request left the server at ``port``; by request id."""
    current: dict[int, str] = {}  # by the client's port
    ends: dict[int, int] = {}
    left: dict[str, int] = {}
    for packet in packets:
        if not packet.size:
            continue
        if packet.target == port:
            if found := _ID.search(packet.data):
                current[packet.source] = found[1].decode("latin-1")
        elif packet.target in current:
            end = (packet.seq + packet.size) % 2**32
            known = ends.get(packet.target)
            if known is None or 0 < (end - known) % 2**32 < 2**31:  # not one that is sent again
                ends[packet.target] = end
                left[current[packet.target]] = packet.t_ns
    return left

"""Captures the packets between a server and its clients on the loopback interface.

The kernel timestamps a packet when it is sent; on this interface it arrives at the same time. The timestamp uses the
wall clock. It is converted with the offset of both clocks, measured before and after. If the wall clock was set in
the meantime, that is an error. https://man7.org/linux/man-pages/man7/packet.7.html
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
SNAP = 2048  # kept bytes per packet, enough for the head of a request
BUFFER = 256 * 2**20
STAMPS_S = 30.0  # timeout for the first timestamp of the kernel
MAX_DRIFT_NS = 20_000  # between the clocks, in one run

_ID = re.compile(rb"\r\nx-request-id: *([^\r]+)\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Packet:
    """A TCP segment with ``size`` bytes of data from ``seq`` on. ``data``: the first bytes."""

    t_ns: int
    source: int
    target: int
    seq: int
    size: int
    data: bytes


class Capture:
    """A capture of all packets to and from a TCP port, inside ``with``.

    Raises `UnavailableError` without root, or CAP_NET_RAW and CAP_NET_ADMIN.
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
        """Return the packets. Raises `RuntimeError` if packets or timestamps are missing, or the wall clock was set."""
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
            raise RuntimeError(f"the wall clock was set by {drift_ns} ns during the capture")
        _, dropped = struct.unpack("II", self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        if dropped:
            raise RuntimeError(f"the capture is not complete: {dropped} packets were dropped")
        packets = [self._packet(data, stamp) for data, ((_, _, stamp), *_) in taken]
        if any(packet.size and packet.t_ns > begin_ns for packet in packets):
            raise RuntimeError("packets have no timestamp of the kernel")
        return packets

    def _packet(self, data: bytes, stamp: bytes) -> Packet:
        head = SKIP + 4 * (data[SKIP] & 15)
        total = int.from_bytes(data[SKIP + 2 : SKIP + 4])
        source, target, seq = struct.unpack_from("!HHI", data, head)
        body = head + 4 * (data[head + 12] >> 4)
        return Packet(_wall_ns(stamp) - self._offset_ns, source, target, seq, SKIP + total - body, data[body:])

    def _filter(self) -> None:
        """Attach a classic BPF filter: only outgoing TCP over IPv4 with our port."""
        program = [
            (0x28, 0, 0, 0xFFFFF004),  # direction of the packet
            (0x15, 0, 10, PACKET_OUTGOING),
            (0x28, 0, 0, 12),  # protocol
            (0x15, 0, 8, ETH_P_IP),
            (0x30, 0, 0, SKIP + 9),
            (0x15, 0, 6, socket.IPPROTO_TCP),
            (0xB1, 0, 0, SKIP),  # length of the IP header
            (0x48, 0, 0, SKIP),  # source port
            (0x15, 2, 0, self._port),
            (0x48, 0, 0, SKIP + 2),  # target port
            (0x15, 0, 1, self._port),
            (0x06, 0, 0, SNAP),
            (0x06, 0, 0, 0),
        ]
        code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
        pointer = struct.pack("HxxxxxxP", len(program), ctypes.addressof(code))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, pointer)


def _wait_for_stamps() -> None:
    """Wait until the kernel timestamps packets when they are sent. Before that it does so when they are read."""
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
    raise RuntimeError(f"the kernel did not start to timestamp packets within {STAMPS_S:g} s")


def _wall_ns(stamp: bytes) -> int:
    seconds, ns = struct.unpack("qq", stamp)
    return int(seconds * 10**9 + ns)


def _offset_ns() -> int:
    """Return the offset of the wall clock to the monotonic clock, the best of 50 measurements."""
    tries = []
    for _ in range(50):
        before, wall, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        tries.append((after - before, wall - (before + after) // 2))
    return min(tries)[1]


def last_bytes(packets: Iterable[Packet], port: int) -> dict[str, int]:
    """Return by request id when the server at ``port`` sent the last byte of the response."""
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
            if known is None or 0 < (end - known) % 2**32 < 2**31:  # not a retransmission
                ends[packet.target] = end
                left[current[packet.target]] = packet.t_ns
    return left

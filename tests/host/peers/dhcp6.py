#!/usr/bin/env python3
"""A router and DHCPv6 server for one client that misbehaves as it is told.

    dhcp6.py CARD MANNER

Written from RFC 4861 and RFC 8415. The network is 2001:db8:77::/64.
"""

import select
import socket
import struct
import sys
import time

CARD, MANNER = sys.argv[1:3]
INDEX = socket.if_nametoindex(CARD)
NET = "2001:db8:77::"
FIRST, SECOND, TAKEN = NET + "50", NET + "60", NET + "12"
ADVERTISE, REQUEST, RENEW, REBIND, REPLY, DECLINE = 2, 3, 5, 6, 7, 9
NO_ADDRESSES, NO_BINDING, NOT_ON_LINK = 2, 3, 4


def group(address):
    return socket.inet_pton(socket.AF_INET6, address) + struct.pack("@I", INDEX)


icmp = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
icmp.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, CARD.encode())
icmp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group("ff02::2"))
icmp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
udp.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, CARD.encode())
udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group("ff02::1:2"))
udp.bind(("::", 547))


def address(text):
    return socket.inet_pton(socket.AF_INET6, text)


def advertise():
    """A router that says M, and A only where the story wants it."""
    autonomous = 0x40 if MANNER == "silent-but-autonomous" else 0
    prefix = struct.pack("!BBBBIII", 3, 4, 64, 0x80 | autonomous, 600, 600, 0) + address(NET)
    if MANNER == "nonsense-router":
        prefix = b"\x03\x00" + prefix[2:]
    message = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0x80, 600, 0, 0) + prefix
    icmp.sendto(message, ("ff02::1", 0, 0, INDEX))


def option(number, value):
    return struct.pack("!HH", number, len(value)) + value


def status(code):
    return option(13, struct.pack("!H", code) + b"as told")


def options_of(message):
    found, rest = {}, message[4:]
    while len(rest) >= 4:
        number, length = struct.unpack("!HH", rest[:4])
        found[number] = rest[4 : 4 + length]
        rest = rest[4 + length :]
    return found


def say(words):
    print(words, flush=True)


class Server:
    declined = False
    refused = False

    def association(self, kind, iaid):
        """What the IA_NA of an answer holds."""

        def grant(where, seconds=600, renew=0):
            lease = option(5, address(where) + struct.pack("!II", seconds, seconds))
            return option(3, iaid + struct.pack("!II", renew, 0) + lease)

        def refuse(code):
            self.refused = True
            return option(3, iaid + struct.pack("!II", 0, 0) + status(code))

        renewal = kind in (RENEW, REBIND)
        if MANNER == "in-use":
            return grant(FIRST if self.declined else TAKEN)
        if MANNER == "in-use-for-ever":
            return grant(TAKEN)
        if MANNER == "no-addresses":
            return refuse(NO_ADDRESSES)
        if MANNER == "not-on-link" and kind == REQUEST:
            return refuse(NOT_ON_LINK)
        if MANNER == "moves":
            return self.move(iaid) if renewal else grant(FIRST, 40, 3)
        if MANNER == "forgets":
            if renewal and not self.refused:
                return refuse(NO_BINDING)
            return grant(FIRST, 40, 3 if not self.refused else 0)
        if MANNER == "takes-away":
            if renewal:
                return grant(FIRST, 0)
            return grant(FIRST if not self.refused else SECOND, 40, 3)
        return grant(FIRST)

    def move(self, iaid):
        body = b""
        for where, seconds in ((FIRST, 0), (SECOND, 600)):
            body += option(5, address(where) + struct.pack("!II", seconds, seconds))
        return option(3, iaid + struct.pack("!II", 0, 0) + body)

    def answer(self, message, client):
        kind, options = message[0], options_of(message)
        say(f"got {kind}")
        answer = bytes([ADVERTISE if kind == 1 else REPLY]) + message[1:4]
        answer += option(1, options[1]) + option(2, bytes([0, 3, 0, 1, 2, 0, 0, 0, 0, 9]))
        if kind == DECLINE:
            self.declined = True
        elif 3 in options:
            iaid = options[3][:4]
            answer += self.association(kind, iaid)
            if MANNER == "takes-away" and kind in (RENEW, REBIND):
                self.refused = True
            dns = NET + ("12" if kind in (RENEW, REBIND) else "10")
            answer += option(23, address(dns))
        if MANNER == "nonsense":
            answer += b"\x00\x17\x00\x10abc"
        udp.sendto(answer, client)


def main():
    server = Server()
    say("ready")
    due = time.monotonic()
    while True:
        if time.monotonic() >= due:
            advertise()
            due = time.monotonic() + 2
        for ready in select.select([icmp, udp], [], [], 0.2)[0]:
            data, sender = ready.recvfrom(4096)
            if ready is icmp and data[0] == 133:
                advertise()
            elif ready is udp and not MANNER.startswith("silent"):
                server.answer(data, sender)


main()

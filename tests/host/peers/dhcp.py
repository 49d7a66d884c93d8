#!/usr/bin/env python3
"""A DHCP server for one client that misbehaves as it is told.

    dhcp.py CARD OWN-ADDRESS MANNER

It sees every message and answers with frames of its own making, so that it can do what
no real server lets itself be configured to do. Written from RFC 2131 and RFC 2132.
"""

import socket
import struct
import sys
import time

CARD, OWN, MANNER = sys.argv[1:4]
NET = OWN.rsplit(".", 1)[0] + "."
FIRST, SECOND = NET + "50", NET + "60"
OFFER, REQUEST, DECLINE, ACK, NAK = 2, 3, 4, 5, 6

raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
raw.bind((CARD, 0))
# Otherwise the kernel answers that nobody listens there.
port = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
port.bind(("0.0.0.0", 67))


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def send(payload, client, address, broadcast):
    """One frame to all, or to the client at the address that it may not have yet."""
    mac = b"\xff" * 6 if broadcast else client
    to = "255.255.255.255" if broadcast else address
    udp = struct.pack("!4H", 67, 68, 8 + len(payload), 0) + payload
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0)
    head += socket.inet_aton(OWN) + socket.inet_aton(to)
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    own = open(f"/sys/class/net/{CARD}/address").read().strip()
    raw.send(mac + bytes.fromhex(own.replace(":", "")) + b"\x08\x00" + head + udp)


def option(number, value):
    return bytes([number, len(value)]) + value


def reply(message, kind, address, options):
    """An answer to `message` that grants `address`."""
    fixed = bytes([2, 1, 6, 0]) + message[4:8] + bytes(8)
    fixed += socket.inet_aton(address) + bytes(8) + message[28:44] + bytes(192)
    body = option(53, bytes([kind]))
    if options is not None:
        body += option(54, socket.inet_aton(OWN)) + options
    return fixed + b"\x63\x82\x53\x63" + body + b"\xff" + bytes(60)


def lease(seconds, renew=None, router=OWN):
    text = option(51, struct.pack("!I", seconds)) + option(1, bytes([255, 255, 255, 0]))
    text += option(3, socket.inet_aton(router)) if router else b""
    return text + (option(58, struct.pack("!I", renew)) if renew else b"")


def options_of(message):
    found, rest = {}, message[240:]
    while rest and rest[0] != 255:
        if rest[0] == 0:
            rest = rest[1:]
            continue
        found[rest[0]] = rest[2 : 2 + rest[1]]
        rest = rest[2 + rest[1] :]
    return found


def say(words):
    print(words, flush=True)


class Server:
    declined = 0
    granted = 0
    naks = 0

    def answer(self, message, client):
        options = options_of(message)
        kind = options[53][0]
        renewal = kind == REQUEST and message[12:16] != bytes(4)
        say(f"got {kind}{' renewal' if renewal else ''}")
        if kind == DECLINE:
            self.declined += 1
            return
        grant = OFFER if kind == 1 else ACK

        def give(address, text, broadcast=True):
            send(reply(message, grant, address, text), client, address, broadcast)

        def refuse():
            why = option(56, b"not in this network")
            send(reply(message, NAK, "0.0.0.0", why), client, "0.0.0.0", True)

        if MANNER == "honest":
            give(FIRST, lease(600))
        elif MANNER == "unicast":
            give(FIRST, lease(600), broadcast=False)
        elif MANNER == "nonsense":
            # A server identifier of three bytes, and bytes that are no message at all.
            send(reply(message, grant, FIRST, None)[:-61] + b"\x36\x03abc\xff", client, FIRST, True)
            send(b"\x02\x01\x06" + bytes(range(200)), client, FIRST, True)
        elif MANNER == "empty":
            give("0.0.0.0", b"")
        elif MANNER == "no-router":
            give(FIRST, lease(600, router=None))
        elif MANNER in ("in-use", "in-use-for-ever"):
            stubborn = MANNER == "in-use-for-ever" or not self.declined
            give(NET + "12" if stubborn else FIRST, lease(600))
        elif MANNER == "moves":
            address = SECOND if renewal else FIRST
            text = lease(40, renew=None if renewal else 3, router=NET + "12" if renewal else OWN)
            text += option(6, socket.inet_aton(NET + ("12" if renewal else "10")))
            text += option(26, struct.pack("!H", 1400)) if renewal else b""
            give(address, text)
        elif MANNER == "new-options":
            text = lease(40, renew=None if renewal else 3, router=NET + "12" if renewal else OWN)
            give(FIRST, text + option(6, socket.inet_aton(NET + "12")))
        elif MANNER == "nak-in-renewal":
            if renewal:
                self.naks += 1
                refuse()
            else:
                give(SECOND if self.naks else FIRST, lease(40, renew=None if self.naks else 3))
        elif MANNER in ("nak-after-ack", "stray-nak"):
            if renewal and MANNER == "nak-after-ack":
                self.naks += 1
                refuse()
                return
            give(SECOND if self.naks else FIRST, lease(600))
            if grant == ACK and not renewal and not self.naks:
                time.sleep(1)
                refuse()


def main():
    server = Server()
    say("ready")
    while True:
        frame = raw.recv(4096)
        if frame[23] != 17 or frame[36:38] != b"\x00\x43" or MANNER == "silent":
            continue
        # No IP options, no fragments: it is our own client.
        server.answer(frame[42:], frame[6:12])


main()

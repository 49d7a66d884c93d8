"""Talks nonsense to every port of a ring: a scanner, and somebody who knows the words.

stranger.py [--scan] [--listed] [--forever] HOST...
    --scan      other ports as well, as a port scan does
    --listed    what a member of a ring may say is left out
    --forever   all hosts and ports at the same time, again and again; and many
                connections that are held and say nothing, or half of something
"""

import random
import socket
import sys
import threading
import time

PORTS = (9997, 9998)
DISCOVERY = 9996
PACKETS = [
    # What no ring says.
    b"", b"\0", b"GET / HTTP/1.0\r\n\r\n", b"\xff" * 4096,
    # A configuration of dolly, and half of one.
    b"infile /etc/passwd\noutfile /x\n",
    b"infile /a\noutfile /b\nserver s\nfirstclient c\nlastclient c\nclients 1\nc\nendconfig\n",
    # Lists: too long, half, and one that calls somebody.
    b"ROPN\xff\xff\x00\x02", b"ROPN\x00\x08\x00\x02", b"ROPN\x00\x08\x00\x02\x01n0\0\x01n1\0RCLS",
    # Numbers and lengths that nothing has.
    b"SEQN\xff\xff\xff\xff", b"SEND\x00\x40\x00\x00\x00\x00\x00\x00", b"FILE\xff\xff\xff\xff",
    # Commands: unknown, too long, half, and of goldring.
    b"CMND\x00\x00\x00\x63", b"CMND\xff\xff\x00\x01", b"CMND\x00\x04",
    b"CMND\x00\x04\x47\x01\0\0\0\x05",
    # Packets of goldring at the wrong time, the last one of 2 GiB.
    b"GRBY\0\0\0\0", b"GRAB\0\0\0\x02no", b"GRPL\x7f\xff\xff\xff",
]
# "Let go of your neighbour": a member that has lost the one behind it says so.
RECONNECT = b"CMND\x00\x04\x00\x01\0\0\0\0"


def pester(host, port):
    """Every packet, each on a connection of its own that is closed at once."""
    for packet in PACKETS:
        try:
            with socket.create_connection((host, port), 2) as peer:
                peer.settimeout(0.03)
                peer.sendall(packet)
                peer.recv(100)
        except OSError:
            pass


def scan(host):
    """Which of some hundred ports listen, and nonsense on the port of discovery."""
    for port in list(range(9900, 10100)) + [22, 80, 111, 443, 2049]:
        try:
            socket.create_connection((host, port), 2).close()
        except OSError:
            pass
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        for packet in PACKETS + [b"\xff" * 60000]:
            datagrams.sendto(packet, (host, DISCOVERY))


def pester_forever(host, port):
    """Packets in no order, and connections that are kept."""
    held = []
    while True:
        packets = random.sample(PACKETS, len(PACKETS))
        for packet in packets:
            try:
                peer = socket.create_connection((host, port), 2)
                peer.sendall(packet[:random.randint(0, len(packet))])
                held.append(peer)
            except OSError:
                time.sleep(0.05)
            while len(held) > 40:
                held.pop(random.randrange(len(held))).close()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            for packet in packets:
                datagrams.sendto(packet, (host, DISCOVERY))


def main():
    options = [word for word in sys.argv[1:] if word.startswith("--")]
    hosts = [word for word in sys.argv[1:] if not word.startswith("--")]
    if "--listed" not in options:
        PACKETS.append(RECONNECT)
    if "--scan" in options:
        for host in hosts:
            scan(host)
    if "--forever" in options:
        for host in hosts:
            for port in PORTS:
                threading.Thread(target=pester_forever, args=(host, port)).start()
        print("pestering", flush=True)
        return
    for host in hosts:
        for port in PORTS:
            pester(host, port)


main()

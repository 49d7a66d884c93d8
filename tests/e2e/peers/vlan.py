#!/usr/bin/env python3
"""A switch between one guest and one VLAN: the port of the guest carries tagged frames.

    vlan.py NUMBER NAME PORT GUEST-PORT

Makes the device NAME, which is in VLAN NUMBER without tags. The guest's card is QEMU's
socket of UDP (127.0.0.1, GUEST-PORT), and PORT is ours. Frames without the tag of this
VLAN go nowhere. Kernels without 8021q and without VLANs in their bridge run it, too.
"""

import fcntl
import os
import select
import socket
import struct
import sys

NUMBER, NAME = int(sys.argv[1]), sys.argv[2]
OURS, GUEST = (("127.0.0.1", int(port)) for port in sys.argv[3:5])
# linux/if_tun.h: TUNSETIFF, IFF_TAP | IFF_NO_PI
tap = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tap, 0x400454CA, struct.pack("16sH22x", NAME.encode(), 0x1002))
wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
wire.bind(OURS)
TAG = struct.pack("!HH", 0x8100, NUMBER)
print("ready", flush=True)
while True:
    for ready in select.select([tap, wire], [], [])[0]:
        if ready is wire:
            frame = wire.recv(4096)
            kind, tag = struct.unpack("!HH", frame[12:16])
            if kind == 0x8100 and tag & 0xFFF == NUMBER:
                # The device is down at first.
                try:
                    os.write(tap, frame[:12] + frame[16:])
                except OSError:
                    pass
        else:
            frame = os.read(tap, 4096)
            # The guest may not be there yet.
            try:
                wire.sendto(frame[:12] + TAG + frame[12:], GUEST)
            except OSError:
                pass

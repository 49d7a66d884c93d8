#!/usr/bin/env python3
"""A small classic dolly, written from the protocol description alone and independent of
goldring: the old order of things (the total after the data, blocking reads of whole
blocks, raw relaying), so that goldring is tested against somebody else.

usage: classic.py server CONFIG | classic.py client NAME
"""
import itertools
import os
import re
import select
import socket
import struct
import subprocess
import sys
import time

DATA, CONTROL, BLOCK = 9998, 9997, 4096
UNITS = {"k": 10, "m": 20, "g": 30, "t": 40}


def connect(host, port, segsize=0):
    """One connection; refused ones are the caller's business."""
    sock = socket.socket()
    if segsize:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, segsize)
    sock.connect((host, port))
    return sock


def patiently(work):
    while True:
        try:
            return work()
        except ConnectionRefusedError:
            time.sleep(1)


def connect_pair(host, segsize=0):
    def once():
        data = connect(host, DATA, segsize)
        try:
            return [data], connect(host, CONTROL)
        except ConnectionRefusedError:
            data.close()
            raise

    return patiently(once)


def listener(port):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("0.0.0.0", port))
    return sock


class Config:
    """What the text says, read line by line as the old program does."""

    def __init__(self, text):
        lines = text.decode().split("\n")
        value = {}
        for at, line in enumerate(lines):
            word, _, rest = line.partition(" ")
            if word == "compressed":
                word, _, rest = rest.partition(" ")
                value["compressed " + word] = True
            value[word] = rest
            if word == "clients":
                self.hosts = lines[at + 1 : at + 1 + int(rest)]
                break
        else:
            sys.exit("no clients line")
        self.fanout = int(value.get("fanout", 1))
        self.segsize = int(value.get("segsize", 0))
        self.dummy = value.get("dummy")
        infile = value.get("infile", "").split(" ")
        self.infile, self.in_parts = infile[0], "split" in infile
        outfile = value.get("outfile", "").split(" ")
        self.outfile, self.part = outfile[0], 0
        if "split" in outfile:
            number, unit = re.fullmatch("([0-9]+)([kKmMgGtT]?)", outfile[2]).groups()
            self.part = int(number) << UNITS.get(unit.lower(), 0)
        self.unpack = "compressed infile" in value
        self.pack = "compressed outfile" in value
        self.add = []
        for word in ("add", "add2"):
            if word in value:
                number, *names = value[word].split(":")
                self.add = [(word, name) for name in names[: int(number)]]

    def further_names(self, host):
        for word, name in self.add:
            if word == "add":
                yield host + name
            else:
                at = re.search("[0-9]", host).start()
                yield host[:at] + name + host[at:]

    def connect(self, host):
        """Data, control, then a data connection for each name on another network; with
        those, each begins with its number."""
        links, control = connect_pair(host, self.segsize)
        for name in self.further_names(host):
            links.append(patiently(lambda: connect(name, DATA, self.segsize)))
        if self.add:
            for number, link in enumerate(links):
                link.sendall(struct.pack("=i", number))
        return links, control


def exactly(sock, count):
    got = b""
    while len(got) < count:
        piece = sock.recv(count - len(got))
        if not piece:
            break
        got += piece
    return got


def parts(path):
    for number in itertools.count():
        name = f"{path}_{number}"
        if not os.path.exists(name):
            return
        with open(name, "rb") as source:
            yield from iter(lambda: source.read(1 << 16), b"")


def pieces(config):
    """The input, packed or in parts or both, in any pieces."""
    if config.dummy is not None:
        yield bytes(int(config.dummy) << 20)
    elif config.in_parts:
        yield from parts(config.infile)
    elif config.pack:
        with open(config.infile, "rb") as source:
            gzip = subprocess.Popen(["gzip", "-cf"], stdin=source, stdout=subprocess.PIPE)
            yield from iter(lambda: gzip.stdout.read(1 << 16), b"")
    else:
        with open(config.infile, "rb") as source:
            yield from iter(lambda: source.read(1 << 16), b"")


def blocks(config):
    rest = b""
    for piece in pieces(config):
        rest += piece
        while len(rest) >= BLOCK:
            yield rest[:BLOCK]
            rest = rest[BLOCK:]
    if rest:
        yield rest


def wait_until_ready(children, count):
    ready = 0
    while ready < count:
        readable, _, _ = select.select([c for _, c in children], [], [])
        for control in readable:
            piece = control.recv(1024)
            if not piece:
                sys.exit("read returned 0 from backflow")
            ready += piece.count(b"ready")


def send_everything(config, children):
    total = 0
    for number, block in enumerate(blocks(config)):
        total += len(block)
        for links, _ in children:
            links[number % len(links)].sendall(block)
    number = struct.pack("<Q", total)
    for links, control in children:
        control.sendall(number)
        for link in links:
            link.shutdown(socket.SHUT_RDWR)
    counts = [exactly(control, 8) for _, control in children]
    if counts[-1] != number:
        sys.exit("*** ERROR ***")
    print("Clients done.")


def server(path):
    text = open(path, "rb").read()
    config = Config(text)
    children = [config.connect(host) for host in config.hosts[: config.fanout]]
    for _, control in children:
        control.sendall(text)
    wait_until_ready(children, len(config.hosts))
    send_everything(config, children)


class Target:
    """Where the data goes: a file that exists, a new one, new parts, or gunzip."""

    def __init__(self, config):
        self.size, self.path, self.number, self.filled = config.part, config.outfile, 0, 0
        self.gunzip = self.file = None
        if config.dummy is not None:
            self.file = open("/dev/null", "wb")
        elif self.size:
            self.file = open(f"{self.path}_0", "xb")
        else:
            self.file = open(self.path, "xb" if config.pack else "r+b")
        if config.unpack:
            self.gunzip = subprocess.Popen(["gunzip"], stdin=subprocess.PIPE, stdout=self.file)

    def write(self, block):
        if self.gunzip:
            self.gunzip.stdin.write(block)
            return
        while self.size and self.filled + len(block) > self.size:
            room = self.size - self.filled
            self.file.write(block[:room])
            self.file.close()
            block, self.filled, self.number = block[room:], 0, self.number + 1
            self.file = open(f"{self.path}_{self.number}", "xb")
        self.file.write(block)
        self.filled += len(block)

    def close(self):
        if self.gunzip:
            # The old program does not wait; a test has to.
            self.gunzip.stdin.close()
            if self.gunzip.wait():
                sys.exit("gunzip failed")
        self.file.close()


def client(name):
    data_port, control_port = listener(DATA), listener(CONTROL)
    data_port.listen(1)
    control_port.listen(1)
    control, _ = control_port.accept()
    text = control.recv(4096)
    config = Config(text)
    me = config.hosts.index(name)
    links = [data_port.accept()[0] for _ in range(1 + len(config.add))]
    if config.add:
        for number, link in enumerate(links):
            assert struct.unpack("=i", exactly(link, 4)) == (number,)
    control.sendall(f"Host got parameters '{name}'.\n".encode())
    target = Target(config)
    below = config.hosts[(me + 1) * config.fanout : (me + 2) * config.fanout]
    children = [config.connect(host) for host in below]
    for _, child in children:
        child.sendall(text)
    control.sendall(f"Host ready '{name}'.\n".encode())
    transfer(control, links, children, target)


def transfer(control, links, children, target):
    total, received = None, 0
    while total is None or received < total:
        watch = [links[0]] + [below for _, below in children]
        if total is None:
            watch.append(control)
        readable, _, _ = select.select(watch, [], [])
        if control in readable and total is None:
            piece = control.recv(128)
            if not piece:
                sys.exit("Got 0 from ctrlin")
            total = struct.unpack("<Q", piece[:8])[0]
            for _, below in children:
                below.sendall(piece[:8])
        elif links[0] in readable:
            # A block from each link in one go, whether they have one or not.
            for number, data in enumerate(links):
                want = BLOCK if total is None else min(BLOCK, total - received)
                block = exactly(data, want)
                if number == 0 and not block and want:
                    if total is not None:
                        sys.exit("data ended")
                    # The end of the data is no end for a classic client.
                    time.sleep(0.01)
                received += len(block)
                target.write(block)
                for down, _ in children:
                    # On a further link it passes on what it wanted, not what it got.
                    down[number].sendall(block if number == 0 else block.ljust(want, b"?"))
        for _, below in children:
            if below in readable:
                control.sendall(below.recv(1024))
    target.close()
    os.sync()
    number = struct.pack("<Q", received)
    for _, below in children:
        number = exactly(below, 8)
    control.sendall(number)


if __name__ == "__main__":
    {"server": server, "client": client}[sys.argv[1]](sys.argv[2])

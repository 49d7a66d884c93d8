#!/usr/bin/env python3
"""A small classic dolly, written from the protocol description alone and independent of
goldring: the old order of things (the total after the data, blocking reads of whole
blocks, raw relaying), so that goldring is tested against somebody else.

usage: classic.py server CONFIG | classic.py client NAME
"""
import os
import select
import socket
import struct
import sys
import time

DATA, CONTROL, BLOCK = 9998, 9997, 4096


def connect(host):
    while True:
        pair = []
        try:
            for port in (DATA, CONTROL):
                pair.append(socket.create_connection((host, port)))
            return pair
        except ConnectionRefusedError:
            for half in pair:
                half.close()
            time.sleep(1)


def listener(port):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("0.0.0.0", port))
    return sock


def parse(text):
    lines = text.decode().split("\n")
    value = {}
    for at, line in enumerate(lines):
        word, _, rest = line.partition(" ")
        value[word] = rest
        if word == "clients":
            count = int(rest)
            return value, lines[at + 1 : at + 1 + count], int(value.get("fanout", 1))
    sys.exit("no clients line")


def exactly(sock, count):
    got = b""
    while len(got) < count:
        piece = sock.recv(count - len(got))
        if not piece:
            break
        got += piece
    return got


def server(path):
    text = open(path, "rb").read()
    value, hosts, fanout = parse(text)
    children = [connect(host) for host in hosts[:fanout]]
    for _, control in children:
        control.sendall(text)
    ready = 0
    while ready < len(hosts):
        readable, _, _ = select.select([c for _, c in children], [], [])
        for control in readable:
            piece = control.recv(1024)
            if not piece:
                sys.exit("read returned 0 from backflow")
            ready += piece.count(b"ready")
    total = 0
    with open(value["infile"], "rb") as source:
        while block := source.read(BLOCK):
            total += len(block)
            for data, _ in children:
                data.sendall(block)
    number = struct.pack("<Q", total)
    for data, control in children:
        control.sendall(number)
        data.shutdown(socket.SHUT_RDWR)
    counts = [exactly(control, 8) for _, control in children]
    if counts[-1] != number:
        sys.exit("*** ERROR ***")
    print("Clients done.")


def client(name):
    data_port, control_port = listener(DATA), listener(CONTROL)
    data_port.listen(1)
    control_port.listen(1)
    control, _ = control_port.accept()
    text = control.recv(4096)
    value, hosts, fanout = parse(text)
    me = hosts.index(name)
    data, _ = data_port.accept()
    control.sendall(f"Host got parameters '{name}'.\n".encode())
    target = open(value["outfile"], "r+b")
    children = [connect(h) for h in hosts[(me + 1) * fanout : (me + 2) * fanout]]
    for _, below in children:
        below.sendall(text)
    control.sendall(f"Host ready '{name}'.\n".encode())
    transfer(control, data, children, target)


def transfer(control, data, children, target):
    total, received = None, 0
    while total is None or received < total:
        watch = [data] + [below for _, below in children]
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
        if data in readable:
            want = BLOCK if total is None else min(BLOCK, total - received)
            block = exactly(data, want)
            if not block and want and total is None:
                # The end of the data is no end for a classic client.
                time.sleep(0.01)
            elif not block and want:
                sys.exit("data ended")
            received += len(block)
            target.write(block)
            for below, _ in children:
                below.sendall(block)
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

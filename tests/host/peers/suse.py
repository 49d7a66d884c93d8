#!/usr/bin/env python3
"""A small dolly of the kind 0.70 to 0.72, written from section 8 of the protocol
description alone and independent of goldring. What is the same in both dialects is
classic.py's.

usage: suse.py server CONFIG [PASSWORD] | suse.py client ADDRESS [PASSWORD]
       suse.py folder HOST           (a parent that sends a folder)
"""
import hashlib
import os
import struct
import sys
import time

import classic


class Config:
    """infile, outfile, then one host on each line."""

    dummy = None
    in_parts = pack = unpack = False
    part = 0

    def __init__(self, text):
        lines = text.decode().split("\n")
        if not lines[0].startswith("infile "):
            sys.exit("Missing 'infile ' in config-file.")
        if not lines[1].startswith("outfile "):
            sys.exit("Missing 'outfile ' in config-file.")
        self.infile, self.outfile = lines[0].split(" ")[1], lines[1].split(" ")[1]
        self.hosts = lines[2 : lines.index("endconfig")]


def answer(password, nonce):
    return hashlib.sha256(hashlib.sha256(password.encode()).digest() + nonce).digest()


def greet(host, text, password, mode=0):
    """Connects to a child and says everything up to the configuration."""
    links, control = classic.connect_pair(host)
    if password is None:
        control.sendall(b"\0")
    else:
        nonce = os.urandom(32)
        control.sendall(b"\1")
        control.sendall(nonce)
        if classic.exactly(control, 32) != answer(password, nonce):
            control.sendall(f"AUTH_FAILED:{host}\0".encode())
            sys.exit(f"{host} does not know the password")
        control.sendall(b"OK\0")
        time.sleep(0.04)
    control.sendall(struct.pack("=I", mode))
    control.sendall(text)
    return links, control


def server(path, password=None):
    text = open(path, "rb").read()
    config = Config(text)
    children = [greet(config.hosts[0], text, password)]
    classic.wait_until_ready(children, len(config.hosts))
    classic.send_everything(config, children)


def obey(control_port, password):
    """A control connection whose parent fits; others are dropped."""
    while True:
        control, _ = control_port.accept()
        flag = control.recv(1)
        if flag != (b"\0" if password is None else b"\1"):
            print("password setting differs", flush=True)
            control.close()
            continue
        if password is not None:
            control.sendall(answer(password, classic.exactly(control, 32)))
            # One read: what comes with the verdict is lost.
            verdict = control.recv(270)
            if verdict != b"OK\0":
                sys.exit(f"the verdict was {verdict}")
        return control


def client(name, password=None):
    data_port, control_port = classic.listener(classic.DATA), classic.listener(classic.CONTROL)
    data_port.listen(1)
    control_port.listen(1)
    control = obey(control_port, password)
    if struct.unpack("=I", classic.exactly(control, 4)) != (0,):
        sys.exit("directory mode")
    text = control.recv(4096)
    config = Config(text)
    me = config.hosts.index(name)
    data, _ = data_port.accept()
    control.sendall(f"Client {name} configured with parameters. Ready to proceed.\n".encode())
    target = classic.Target(config)
    children = [greet(host, text, password) for host in config.hosts[me + 1 : me + 2]]
    control.sendall(f"Client {name} ready.\n".encode())
    classic.transfer(control, [data], children, target)


def folder(host):
    text = f"infile /etc\noutfile /out\n{host}\nendconfig\n".encode()
    _, control = greet(host, text, None, mode=1)
    print("the node said", control.recv(100), flush=True)


if __name__ == "__main__":
    {"server": server, "client": client, "folder": folder}[sys.argv[1]](*sys.argv[2:])

#!/usr/bin/env python3
"""An independent old ka-deploy 0.6, written from its description only, faults included:
it dies of a refused parent, of an unknown child, of an offset that its ring no longer has,
of strangers (the server), and of a server that closes.

  ka.py client [-w] [-g] [-a64] (-s NAME | -h HOST) -e COMMAND
  ka.py server [-l] [-a64] [-n N] [-s NAME] [-d TENTHS] -e COMMAND
"""

import os
import select
import socket
import struct
import subprocess
import sys
import time

REQUEST, REPLY, CONTROL, DATA = 4957, 4958, 30765, 30764
VERSION = b"Ka-deploy-0.6\0"
RING = 35 << 20
UNIT = 32768
THRESHOLD = 32678
CHILDREN = 4
# What lies on a stack.
GARBAGE = bytes(range(0x80, 0xC0))


def die(why):
    print(f"ka.py: aborts: {why}", flush=True)
    os._exit(134)


def note(text):
    print(f"ka.py: {text}", flush=True)


class Layout:
    def __init__(self, a64):
        self.up, self.down = (40, 24) if a64 else (32, 16)
        self.payload = 8 if a64 else 4
        self.after_ip = 16 if a64 else 8

    def make(self, size, kind, payload=b"", offset=None):
        message = bytearray(GARBAGE[:size])
        message[0:4] = struct.pack("<i", kind)
        message[self.payload : self.payload + len(payload)] = payload
        if offset is not None:
            message[self.after_ip : self.after_ip + 8] = struct.pack("<q", offset)
        return bytes(message)

    def kind(self, message):
        return struct.unpack_from("<i", message)[0]

    def ip(self, message):
        return socket.inet_ntoa(message[self.payload : self.payload + 4])

    def number(self, message):
        return struct.unpack_from("<i", message, self.payload)[0]

    def position(self, message):
        return struct.unpack_from("<q", message, self.payload)[0]

    def offset(self, message):
        return struct.unpack_from("<q", message, self.after_ip)[0]


class Ring:
    """35 MiB; consumers have a position each."""

    def __init__(self):
        self.bytes = bytearray(RING)
        self.total = 0
        self.consumers = {}

    def free(self):
        slowest = min(self.consumers.values(), default=self.total)
        return RING - (self.total - slowest)

    def store(self, data):
        at = self.total % RING
        first = min(len(data), RING - at)
        self.bytes[at : at + first] = data[:first]
        self.bytes[0 : len(data) - first] = data[first:]
        self.total += len(data)

    def has(self, offset):
        return max(0, self.total - RING) <= offset <= self.total

    def waiting(self, who):
        return self.total - self.consumers[who]

    def piece(self, who):
        at = self.consumers[who] % RING
        size = min(UNIT, self.waiting(who), RING - at)
        return self.bytes[at : at + size]


def listen(port):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("0.0.0.0", port))
    sock.listen(200)
    return sock


def read_exactly_once(sock, size):
    """One read; a short one loses the connection."""
    try:
        message = sock.recv(size)
    except OSError:
        return None
    return message if len(message) == size else None


class Client:
    def __init__(self, options):
        self.options = options
        self.layout = Layout(options.a64)
        self.ring = Ring()
        self.children = {}
        self.listener = None if options.go else listen(DATA)
        self.data = None
        self.dad = None
        self.command = None
        self.report = False
        self.reported = 0
        self.flow_ended = False
        self.finished = False
        self.wait = options.wait

    def find(self):
        if self.options.host:
            return socket.gethostbyname(self.options.host)
        ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        ear.bind(("0.0.0.0", REPLY))
        mouth = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        mouth.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        for _ in range(11):
            try:
                mouth.sendto(self.options.session.encode() + b"\0", ("255.255.255.255", REQUEST))
            except OSError as error:
                note(f"sendto: {error}")
            if select.select([ear], [], [], 1)[0]:
                message, server = ear.recvfrom(200)
                if message == VERSION:
                    ear.close()
                    return server[0]
        die("no server found")

    def say(self, kind, payload=b"", offset=None):
        message = self.layout.make(self.layout.up, kind, payload, offset)
        self.control.send(message)

    def run(self):
        self.control = socket.create_connection((self.find(), CONTROL))
        self.say(0, VERSION)
        self.say(7, bytes([self.wait]))
        if self.options.go:
            self.say(6)
            return 0
        self.say(2)
        while not self.finished or self.wait:
            self.turn()
        self.command.wait()
        return 0

    def turn(self):
        readers = [self.control, self.listener] + [c["sock"] for c in self.children.values()]
        if self.data and not self.flow_ended and self.ring.free() >= 2 * UNIT:
            readers.append(self.data)
        least = 0 if self.flow_ended else THRESHOLD
        writers = [w for w in self.ring.consumers if self.ring.waiting(w) > least]
        ready = select.select(readers, writers, [], 50)
        if not any(ready) and self.data:
            try:
                self.data.send(struct.pack("<i", 1234))
            except OSError:
                self.dad_lost()
        if self.control in ready[0]:
            message = read_exactly_once(self.control, self.layout.down)
            if message is None:
                die("the server closed the connection")
            self.said(message)
        if self.listener in ready[0]:
            self.accept()
        if self.data in ready[0] and self.data:
            self.take()
        for ip, child in list(self.children.items()):
            if child["sock"] in ready[0] and child["sock"].fileno() >= 0:
                self.hear(ip, child)
        for writer in ready[1]:
            self.give(writer)
        if self.flow_ended and not self.finished:
            self.flow_out()

    def said(self, message):
        kind = self.layout.kind(message)
        if kind == 1:
            self.flow_ended = True
        elif kind == 2:
            self.wait = False
        elif kind == 3:
            self.connect(self.layout.ip(message))
        elif kind == 4:
            self.authorise(self.layout.ip(message), self.layout.offset(message))
        elif kind == 5:
            child = self.children.get(self.layout.ip(message))
            if child:
                self.drop(self.layout.ip(message))
        elif kind == 6:
            number = self.layout.number(message)
            if number == 2:
                self.say(5, struct.pack("<q", self.ring.total))
            else:
                self.report = number == 1
        elif kind == 7:
            self.say(8)
        elif kind != 0:
            die(f"an unknown message {kind}")

    def connect(self, dad):
        if self.data:
            self.data.close()
        try:
            self.data = socket.create_connection((dad, DATA))
        except OSError as error:
            die(f"connecting to {dad}: {error}")
        self.dad = dad
        note(f"dad is {dad}")
        if not self.command:
            self.command = subprocess.Popen(
                self.options.command, shell=True, stdin=subprocess.PIPE, bufsize=0
            )
            os.set_blocking(self.command.stdin.fileno(), False)
            self.ring.consumers[self.command.stdin] = 0

    def accept(self):
        sock, (ip, _) = self.listener.accept()
        if len(self.children) >= CHILDREN:
            note("I already have 4 children")
            sock.close()
            return
        sock.setblocking(False)
        self.children[ip] = {"sock": sock, "auth": False}
        self.say(1, socket.inet_aton(ip))

    def authorise(self, ip, offset):
        child = self.children.get(ip)
        if not child:
            die(f"{ip} is to be served and is not here")
        if not self.ring.has(offset):
            die(f"{ip} wants {offset}, and {self.ring.total} have come")
        child["auth"] = True
        self.ring.consumers[child["sock"]] = offset
        self.say(1, socket.inet_aton(ip))

    def drop(self, ip):
        child = self.children.pop(ip)
        child["sock"].close()
        if child["auth"]:
            del self.ring.consumers[child["sock"]]
        elif self.command and self.command.stdin in self.ring.consumers:
            # The old number of a consumer that never was is that of the pipe.
            die(f"{ip} was never served: dropping it drops the pipe")

    def hear(self, ip, child):
        try:
            heard = child["sock"].recv(4)
        except BlockingIOError:
            return
        except OSError:
            heard = b""
        if not heard and self.children.get(ip) is child:
            self.drop(ip)

    def take(self):
        try:
            data = self.data.recv(UNIT)
        except OSError:
            data = b""
        if not data:
            self.dad_lost()
            return
        self.ring.store(data)
        if self.ring.total - self.reported > 1 << 20:
            self.reported = self.ring.total
            if self.report:
                self.say(5, struct.pack("<q", self.ring.total))

    def dad_lost(self):
        self.say(3, socket.inet_aton(self.dad), self.ring.total)
        self.data.close()
        self.data = None

    def give(self, writer):
        if writer not in self.ring.consumers:
            return
        piece = self.ring.piece(writer)
        try:
            if isinstance(writer, socket.socket):
                sent = writer.send(piece)
            else:
                sent = os.write(writer.fileno(), piece)
        except BlockingIOError:
            return
        except BrokenPipeError:
            if not isinstance(writer, socket.socket):
                os._exit(141)
            return
        except OSError:
            return
        self.ring.consumers[writer] += sent

    def flow_out(self):
        for ip, child in list(self.children.items()):
            if not child["auth"] or not self.ring.waiting(child["sock"]):
                self.children.pop(ip)
                child["sock"].close()
                self.ring.consumers.pop(child["sock"], None)
        pipe = self.command.stdin
        if pipe in self.ring.consumers and not self.ring.waiting(pipe):
            del self.ring.consumers[pipe]
            pipe.close()
        if not self.ring.consumers:
            self.finished = True
            self.say(4)


class Node:
    def __init__(self, sock, ip):
        self.sock = sock
        self.ip = ip
        self.hello = self.wait = self.accepts = False
        self.place = None
        self.connected = self.finished = self.released = self.ponged = False
        self.position = 0


class Server:
    """A chain only."""

    def __init__(self, options):
        self.options = options
        self.layout = Layout(options.a64)
        self.ring = Ring()
        self.conns = {}
        self.chain = []
        self.child = None
        self.pending = {}
        self.pipe = None
        self.command = None
        self.ended = self.drained = False
        self.pinging = False
        self.queue = []
        self.last_release = 0
        self.slots = 0
        self.listener = listen(CONTROL)
        self.data = listen(DATA)
        self.udp = None
        if options.session:
            self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.udp.bind(("0.0.0.0", REQUEST))

    def say(self, node, kind, payload=b"", offset=None):
        try:
            node.sock.send(self.layout.make(self.layout.down, kind, payload, offset))
        except OSError:
            pass

    def me(self, node):
        return node.sock.getsockname()[0]

    def run(self):
        while not (self.drained and not self.conns):
            self.turn()
        return 0

    def turn(self):
        readers = list(self.conns) + [self.data]
        readers += [s for s in (self.listener, self.udp, self.child) if s]
        if self.pipe and self.ring.free() >= 2 * UNIT and self.may_lead():
            readers.append(self.pipe)
        least = 0 if self.ended else THRESHOLD
        writers = [w for w in self.ring.consumers if self.ring.waiting(w) > least]
        ready = select.select(readers, writers, [], 0.1 if self.drained else 5)
        self.release()
        if not any(ready) and self.command and not self.drained:
            self.ping()
            return
        if self.udp in ready[0] and self.udp:
            message, sender = self.udp.recvfrom(200)
            if message == self.options.session.encode() + b"\0":
                mouth = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                mouth.sendto(VERSION, (sender[0], REPLY))
        if self.listener in ready[0] and self.listener:
            sock, (ip, _) = self.listener.accept()
            self.conns[sock] = Node(sock, ip)
        if self.data in ready[0]:
            self.accept()
        if self.pipe in ready[0] and self.pipe:
            data = os.read(self.pipe.fileno(), UNIT)
            if data:
                self.ring.store(data)
            else:
                self.pipe = None
                self.ended = True
        for writer in ready[1]:
            self.give(writer)
        for sock in list(self.conns):
            # What another one said may have dropped it.
            if sock in ready[0] and sock in self.conns:
                self.hear(sock)
        if self.child in ready[0] and self.child:
            self.hear_child()
        if self.ended and not self.drained:
            if self.child and not self.ring.waiting(self.child):
                del self.ring.consumers[self.child]
                self.child.close()
                self.child = None
            self.drained = not self.ring.consumers
        self.build()

    def may_lead(self):
        if not self.options.bounded or not self.chain:
            return True
        return self.ring.has(max(0, self.chain[-1].position - UNIT))

    def give(self, writer):
        if writer not in self.ring.consumers:
            return
        try:
            self.ring.consumers[writer] += writer.send(self.ring.piece(writer))
        except OSError:
            pass

    def ping(self):
        if self.pinging:
            self.pinging = False
            for node in [n for n in self.chain if not n.ponged]:
                self.drop(node)
            return
        self.pinging = True
        for node in self.chain:
            node.ponged = False
            self.say(node, 7)

    def build(self):
        waiting = [n for n in self.conns.values() if n.accepts]
        if not self.chain and len(waiting) >= self.options.clients:
            self.chain = sorted(waiting, key=lambda n: socket.inet_aton(n.ip))
            for place, node in enumerate(self.chain):
                node.place = place
                self.tell_parent(node)
            if self.options.bounded:
                self.say(self.chain[-1], 6, struct.pack("<i", 1))
        done = self.chain and all(n.connected for n in self.chain)
        if done and not self.command:
            self.listener.close()
            self.listener = None
            if self.udp:
                self.udp.close()
                self.udp = None
            self.command = subprocess.Popen(
                self.options.command, shell=True, stdout=subprocess.PIPE, bufsize=0
            )
            self.pipe = self.command.stdout

    def parent(self, node):
        place = self.chain.index(node)
        return self.chain[place - 1] if place else None

    def tell_parent(self, node):
        parent = self.parent(node)
        ip = parent.ip if parent else self.me(node)
        self.say(node, 3, socket.inet_aton(ip))

    def accept(self):
        sock, (ip, _) = self.data.accept()
        if not self.chain or self.chain[0].ip != ip:
            die(f"{ip} is a stranger on the data port")
        self.slots += 1
        if self.slots > CHILDREN:
            die("I already have 4 children")
        sock.setblocking(False)
        self.pending[ip] = sock
        self.say(self.chain[0], 6, struct.pack("<i", 2))

    def hear_child(self):
        try:
            heard = self.child.recv(4)
        except BlockingIOError:
            return
        except OSError:
            heard = b""
        if not heard:
            self.ring.consumers.pop(self.child, None)
            self.child.close()
            self.child = None

    def hear(self, sock):
        node = self.conns[sock]
        message = read_exactly_once(sock, self.layout.up)
        if message is None:
            self.closed(node)
            return
        kind = self.layout.kind(message)
        if kind == 0:
            text = message[self.layout.payload : self.layout.payload + len(VERSION)]
            if text != VERSION or node.hello:
                self.closed(node)
                return
            node.hello = True
        elif not node.hello:
            die(f"{node.ip} said {kind} before HELLO")
        elif kind == 1:
            self.got_client(node, self.layout.ip(message))
        elif kind == 2:
            node.accepts = True
            waiting = sum(n.accepts for n in self.conns.values())
            note(f"{waiting} wait of {self.options.clients}")
        elif kind == 3:
            self.dad_lost(node, self.layout.ip(message), self.layout.offset(message))
        elif kind == 4:
            node.finished = True
            self.queue.append(node)
        elif kind == 5:
            self.position(node, self.layout.position(message))
        elif kind == 6:
            self.options.clients = 0
        elif kind == 7:
            node.wait = bool(message[self.layout.payload])
        elif kind == 8:
            node.ponged = True
        else:
            die(f"{node.ip} said {kind}")

    def got_client(self, node, ip):
        place = self.chain.index(node)
        if place + 1 >= len(self.chain) or self.chain[place + 1].ip != ip:
            die(f"{ip} is a stranger at {node.ip}")
        child = self.chain[place + 1]
        if child.place == "authorised":
            child.place = place + 1
            child.connected = True
            return
        child.place = "asked"
        self.say(child, 6, struct.pack("<i", 2))

    def position(self, node, position):
        node.position = position
        parent = self.parent(node)
        if not parent and node.ip in self.pending:
            if not self.ring.has(position):
                die(f"{node.ip} wants {position}")
            self.child = self.pending.pop(node.ip)
            self.ring.consumers[self.child] = position
            node.connected = True
        elif parent and node.place == "asked":
            node.place = "authorised"
            self.say(parent, 4, socket.inet_aton(node.ip), position)

    def dad_lost(self, node, dad, received):
        parent = self.parent(node)
        if dad != (parent.ip if parent else self.me(node)):
            note(f"old news of {node.ip}")
            return
        if self.ended and received == self.ring.total:
            self.say(node, 1)
            return
        if not parent:
            die(f"{node.ip} lost the server")
        self.drop(parent)

    def closed(self, node):
        if node in self.chain and not node.finished:
            self.drop(node)
            return
        node.sock.close()
        self.conns.pop(node.sock, None)

    def drop(self, node):
        note(f"lost {node.ip}")
        place = self.chain.index(node)
        parent = self.parent(node)
        self.chain.remove(node)
        self.conns.pop(node.sock, None)
        node.sock.close()
        if parent:
            self.say(parent, 5, socket.inet_aton(node.ip))
        elif self.child:
            self.ring.consumers.pop(self.child, None)
            self.child.close()
            self.child = None
        if place < len(self.chain):
            self.chain[place].connected = False
            self.tell_parent(self.chain[place])
        elif self.options.bounded and parent:
            self.say(parent, 6, struct.pack("<i", 1))

    def release(self):
        if not self.drained:
            return
        if self.options.delay is not None:
            if self.queue and time.time() - self.last_release >= self.options.delay / 10:
                self.last_release = time.time()
                self.say(self.queue.pop(0), 2)
        elif all(n.finished for n in self.chain):
            for node in self.queue:
                self.say(node, 2)
            self.queue = []


class Options:
    def __init__(self, words):
        self.wait = self.go = self.a64 = self.bounded = False
        self.session = self.host = self.command = self.delay = None
        self.clients = 1
        words = list(words)
        while words:
            word = words.pop(0)
            if word == "-w":
                self.wait = True
            elif word == "-g":
                self.go = True
            elif word == "-l":
                self.bounded = True
            elif word == "-a64":
                self.a64 = True
            elif word == "-s":
                self.session = words.pop(0)
            elif word == "-h":
                self.host = words.pop(0)
            elif word == "-e":
                self.command = words.pop(0)
            elif word == "-d":
                self.delay = int(words.pop(0))
            elif word == "-n":
                self.clients = int(words.pop(0))
            else:
                sys.exit(f"ka.py: what is {word}?")


if __name__ == "__main__":
    peer = {"client": Client, "server": Server}[sys.argv[1]]
    sys.exit(peer(Options(sys.argv[2:])).run())

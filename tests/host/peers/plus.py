#!/usr/bin/env python3
"""A small old dolly+ (0.93), written from the protocol description alone and independent
of goldring: whole chunks, stored before they go on, and an end of the program at the
first thing that is not as expected.

usage: plus.py server CONFIG [LINGER]  | plus.py client | plus.py ping HOST
LINGER: how many seconds the server stays after its last chunk (1, as the old one did).
"""
import gzip
import os
import shutil
import socket
import struct
import sys
import tarfile
import threading
import time

DATA, CONTROL = 9998, 9997
CHUNK = 4 << 20
BANKS, BIND = 21, 10
CANDIDATES, TRIES = 3, 4
SEND_SILENCE, RECEIVE_SILENCE = 200, 300
HERE, CALLED, ABSENT = 1, 2, 3
GZ, Z, CPIO, TAR = 0o1, 0o2, 0o4, 0o10
RECONNECT, ACK, XOFF, XON, REPORT, ASK, ANSWER, STOP = range(1, 9)
READY = "I am ready to connect.[0-0-0] (-1--1)"


def say(text):
    print(text, file=sys.stderr, flush=True)


def die(text):
    """The end of the whole program, from whichever thread."""
    say(f"*** {text}")
    os._exit(1)


class Gone(Exception):
    """The other side is gone."""


# Bytes.


def exactly(sock, count):
    got = bytearray(count)
    view, at = memoryview(got), 0
    while at < count:
        try:
            n = sock.recv_into(view[at:])
        except socket.timeout:
            die(f"nothing came for {RECEIVE_SILENCE} s")
        except OSError as error:
            raise Gone(str(error)) from error
        if n == 0:
            raise Gone("the connection was closed")
        at += n
    return got


def send(sock, data):
    view = memoryview(data)
    while view:
        try:
            view = view[sock.send(view) :]
        except OSError as error:  # A timeout is one as well.
            raise Gone(str(error)) from error


def pack_list(opens, closes, entries):
    body = b"".join(bytes([flag]) + name.encode() + b"\0" for flag, name in entries)
    return opens + struct.pack(">HH", len(body), len(entries)) + body + closes


def read_list(sock, opens, closes):
    magic, size, count = struct.unpack(">4sHH", exactly(sock, 8))
    if magic != opens:
        die(f"header mismatch: {magic!r} where {opens!r} belongs")
    body = bytes(exactly(sock, size))
    if bytes(exactly(sock, 4)) != closes:
        die(f"trailer mismatch: {closes!r} is missing")
    entries = []
    while body:
        name, end, rest = body[1:].partition(b"\0")
        if not end or len(name) > 127:
            die("entry is too long")
        entries.append([body[0], name.decode()])
        body = rest
    if len(entries) != count:
        die(f"{len(entries)} entries where {count} were announced")
    return entries


def pack_command(kind, operand):
    return b"CMND" + struct.pack(">HH", len(operand), kind) + operand


def read_command(sock):
    magic, size, kind = struct.unpack(">4sHH", exactly(sock, 8))
    if magic != b"CMND" or size > 128:
        die(f"no command packet: {magic!r}, {size} bytes")
    if not RECONNECT <= kind <= STOP:
        die(f"unknown command type {kind}")
    return kind, bytes(exactly(sock, size))


# Connections.


def connect(host, port):
    """None when nobody is there."""
    if len(host) > 31:
        die(f"{host}: hostname is too long")
    for attempt in range(TRIES):
        if attempt:
            time.sleep(1)
        try:
            sock = socket.create_connection((host, port))
        except ConnectionRefusedError:
            continue
        except OSError as error:
            if error.errno in (101, 113):  # No route to it, or to its network.
                continue
            say(f"{host}: {error}")
            return None
        return sock
    return None


def listener(port):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("0.0.0.0", port))
    sock.listen(2)
    return sock


def accept_one(port, patience=RECEIVE_SILENCE):
    sock = listener(port)
    sock.settimeout(patience)
    try:
        connection, _ = sock.accept()
    except socket.timeout:
        die(f"nobody came for {patience} s")
    sock.close()
    connection.settimeout(RECEIVE_SILENCE)
    return connection


class Commands(threading.Thread):
    """Port 9997: one packet for each connection. `handle` gets it and the socket."""

    def __init__(self, handle):
        super().__init__(daemon=True)
        self.handle, self.listener = handle, listener(CONTROL)
        self.start()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(RECEIVE_SILENCE)
                try:
                    self.handle(*read_command(connection), connection)
                except Gone as error:
                    say(f"a command: {error}")

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.join()
        self.listener.close()


def tell(host, kind, text):
    """Whether `host` could be told."""
    sock = connect(host, CONTROL)
    if sock is None:
        return False
    with sock:
        send(sock, pack_command(kind, text.encode()))
    return True


# The ring.


def call_next(hosts, me):
    """Connects to the next one that is there and calls it; the socket and its place."""
    at = me
    for _ in range(CANDIDATES):
        at = (at + 1) % len(hosts)
        sock = connect(hosts[at][1], DATA)
        if sock is not None:
            if at:
                hosts[at][0] = CALLED
            send(sock, pack_list(b"ROPN", b"RCLS", hosts))
            return sock, at
        if not at:
            break
        say(f"{hosts[at][1]} is not there")
        hosts[at][0] = ABSENT
    die("no next host")


class Bank:
    """Chunks on their way: received, sent on, written, each in its order."""

    def __init__(self, last):
        self.changed = threading.Condition()
        self.chunks, self.first = [], 0
        self.received = self.sent = self.written = 0
        self.last, self.complete = last, False

    def put(self, chunk):
        with self.changed:
            while self.received - self.sent >= BIND or self.received - self.written > BIND:
                self.changed.wait()
            self.chunks.append(chunk)
            self.received += 1
            if self.last:
                self.sent = self.received
            self.changed.notify_all()

    def end(self):
        with self.changed:
            self.complete = True
            self.changed.notify_all()

    def become_last(self):
        with self.changed:
            self.last, self.sent = True, self.received
            self.changed.notify_all()

    def to_send(self):
        """The chunk that is to be sent, or None at the end."""
        with self.changed:
            while self.sent == self.received and not self.complete and not self.last:
                self.changed.wait()
            if self.last or self.sent == self.received:
                return None
            return self.chunks[self.sent - self.first]

    def to_write(self):
        with self.changed:
            while self.written >= self.sent:
                if self.complete and self.sent == self.received:
                    return None
                self.changed.wait()
            return self.chunks[self.written - self.first]

    def was_sent(self):
        with self.changed:
            if not self.last:
                self.sent += 1
            self.drop_old()

    def was_written(self):
        with self.changed:
            self.written += 1
            self.drop_old()

    def drop_old(self):
        # After a bypass, what was sent may be less than before.
        keep = max(self.first, min(self.written, self.sent - BIND))
        del self.chunks[: keep - self.first]
        self.first = keep
        self.changed.notify_all()

    def back_to(self, number):
        """Sends again from this chunk of the file that is being sent."""
        with self.changed:
            file = self.chunks[self.sent - self.first][0]
            for at, (of, sequence, _, _) in enumerate(self.chunks):
                if of == file and sequence == number:
                    # What was written stays written.
                    self.sent = self.first + at
                    return
        die(f"chunk {number} is too old, or of another file")


class Onward:
    """Sends the bank's chunks to the next host, and to the one after it if that dies."""

    def __init__(self, bank, hosts, me, sock, at):
        self.bank, self.hosts, self.me, self.at = bank, hosts, me, at
        self.sock = sock
        self.sock.settimeout(SEND_SILENCE)
        self.announced = -1
        self.go = threading.Event()
        self.go.set()

    def run(self):
        while (chunk := self.bank.to_send()) is not None:
            self.go.wait()
            try:
                self.one(*chunk)
            except Gone as error:
                say(f"sending to {self.hosts[self.at][1]}: {error}")
                if not self.bypass():
                    self.bank.become_last()
                    return
                continue
            self.bank.was_sent()

    def one(self, file, sequence, last, payload):
        if file > self.announced:
            send(self.sock, b"FLNO" + struct.pack(">HH", 0, file))
            self.announced = file
        magic = b"SEND" if last else b"SEQN"
        send(self.sock, magic + struct.pack(">II", len(payload), sequence))
        send(self.sock, payload)

    def bypass(self):
        """Whether somebody is left."""
        self.sock.close()
        if self.me:
            dead, own = self.hosts[self.at][1], self.hosts[self.me][1]
            tell(self.hosts[0][1], REPORT, f"(<{own}): Stop to sending to {dead}.")
        while self.at:
            self.hosts[self.at][0] = ABSENT
            here = [i for i in range(self.at + 1, len(self.hosts)) if self.hosts[i][0] == HERE]
            self.at = here[0] if here else 0
            if self.at and self.reconnect(self.hosts[self.at][1]):
                return True
        return False

    def reconnect(self, host):
        control = connect(host, CONTROL)
        if control is None:
            return False
        with control:
            control.settimeout(RECEIVE_SILENCE)
            try:
                send(control, pack_command(RECONNECT, struct.pack(">I", 0)))
                kind, operand = read_command(control)
            except Gone:
                return False
        if kind != ACK or len(operand) != 4:
            die(f"{host} answered RECONNECT with type {kind}")
        time.sleep(1)
        sock = connect(host, DATA)
        if sock is None:
            return False
        sock.settimeout(SEND_SILENCE)
        self.sock = sock
        self.bank.back_to(struct.unpack(">I", operand)[0])
        return True


class Inward:
    """Reads chunks from the one before, or from whoever takes its place."""

    def __init__(self, bank, data, files):
        self.bank, self.data, self.files = bank, data, files
        self.changed = threading.Condition()
        # Which predecessor, which chunk comes next, of which file; between two files.
        self.generation, self.expected, self.file, self.between = 0, 0, -1, True

    def run(self, data):
        """From `data` on, even if another one was asked for before this thread began."""
        generation, more = 0, True
        while more:
            try:
                more = self.packet(data, generation)
            except Gone as error:
                # Nobody else closes it: this thread might just begin to wait for the
                # number of the descriptor, and then it waits for what has it next.
                data.close()
                generation, data = self.another(generation, error)
        self.bank.end()

    def another(self, generation, error):
        """Whoever takes the place of the one before."""
        with self.changed:
            if self.generation == generation:
                say(f"receiving: {error}; waiting for another")
            ends = time.monotonic() + RECEIVE_SILENCE
            while self.generation == generation or self.data is None:
                if not self.changed.wait(ends - time.monotonic()):
                    die(f"nobody came for {RECEIVE_SILENCE} s")
            return self.generation, self.data

    def packet(self, data, generation):
        """Whether more is to come."""
        magic = bytes(exactly(data, 4))
        if magic == b"FLNO":
            self.begin(struct.unpack(">HH", exactly(data, 4))[1], generation)
            return True
        if magic not in (b"SEQN", b"SEND"):
            die(f"header mismatch: {magic!r} in the data")
        return self.chunk(data, generation, magic == b"SEND")

    def begin(self, number, generation):
        """FLNO; whoever takes the place of another may say it once more."""
        again = generation > 0 and not self.between and self.expected == 0
        if number != self.file + (0 if again else 1) or number >= self.files:
            die(f"file {number} after file {self.file}")
        if not self.between and not again:
            die(f"file {number} inside file {self.file}")
        self.file, self.between = number, False

    def chunk(self, data, generation, last):
        size, sequence = struct.unpack(">II", exactly(data, 8))
        if size > CHUNK:
            die(f"a chunk of {size} bytes is larger than the buffer")
        if sequence != self.expected:
            die(f"sequence number {sequence} where {self.expected} belongs")
        payload = exactly(data, size)
        with self.changed:
            if self.generation != generation:
                raise Gone("somebody else was asked for it")
            if self.between:
                if not generation:
                    die("a chunk without a file number")
                # Whoever takes the place of another need not say it.
                self.begin(self.file + 1, generation)
            self.expected = 0 if last else sequence + 1
            self.between = last
            file = self.file
        self.bank.put((file, sequence, last, payload))
        return not (last and file == self.files - 1)

    def replace(self, control):
        """Another one takes the place of the one before."""
        with self.changed:
            self.generation += 1
            wanted, old, self.data = self.expected, self.data, None
        if old is not None:
            try:
                old.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # It is gone already.
        send(control, pack_command(ACK, struct.pack(">I", wanted)))
        data = accept_one(DATA)
        with self.changed:
            self.data = data
            self.changed.notify_all()


# Writing.


class Cook(threading.Thread):
    """Unpacks what is written to it."""

    def __init__(self, flag, name):
        super().__init__()
        if flag & ~(GZ | TAR):
            die(f"{name}: this peer cooks .gz and .tar only")
        self.flag, self.name = flag, name
        out, into = os.pipe()
        self.raw, self.sink = os.fdopen(out, "rb"), os.fdopen(into, "wb")
        self.start()

    def run(self):
        try:
            if self.flag & TAR:
                folder = self.name if os.path.isdir(self.name) else "."
                mode = "r|gz" if self.flag & GZ else "r|"
                with tarfile.open(fileobj=self.raw, mode=mode) as archive:
                    archive.extraction_filter = lambda member, _: member
                    archive.extractall(folder)
                while self.raw.read(1 << 16):
                    pass
            else:
                with gzip.GzipFile(fileobj=self.raw) as source, create(self.name) as out:
                    shutil.copyfileobj(source, out, 1 << 20)
        except (OSError, EOFError, tarfile.TarError) as error:
            die(f"{self.name}: {error}")

    def write(self, payload):
        self.sink.write(payload)

    def close(self):
        self.sink.close()
        self.join()


def create(name):
    handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    return os.fdopen(handle, "wb")


def write_all(bank, files):
    out = None
    while (chunk := bank.to_write()) is not None:
        file, _, last, payload = chunk
        if out is None:
            flag, name = files[file]
            out = Cook(flag, name) if flag else create(name)
        out.write(payload)
        if last:
            out.close()
            out = None
        bank.was_written()


# The roles.


def client():
    def before(kind, _, sock):
        if kind == ASK:
            send(sock, pack_command(ANSWER, READY.encode()))

    commands = Commands(before)
    data = accept_one(DATA, None)
    hosts = read_list(data, b"ROPN", b"RCLS")
    called = [i for i, (flag, _) in enumerate(hosts) if flag == CALLED]
    if len(called) != 1:
        die("cannot find myhost name in RING packet")
    me = called[0]
    own = hosts[me][1]
    say(f"I am {own}")
    hosts[me][0] = HERE
    onto, at = call_next(hosts, me)
    names = [name for _, name in hosts]
    hosts = read_list(data, b"HOPN", b"HCLS")
    if [name for _, name in hosts] != names:
        die("the HOST packet has other names than the RING packet")
    send(onto, pack_list(b"HOPN", b"HCLS", hosts))
    files = read_list(data, b"FBEG", b"FEND")
    send(onto, pack_list(b"FBEG", b"FEND", files))
    commands.close()

    bank = Bank(at == 0)
    inward = Inward(bank, data, len(files))
    onward = Onward(bank, hosts, me, onto, at)

    def during(kind, _, sock):
        if kind == RECONNECT:
            inward.replace(sock)
        elif kind == ASK:
            counts = f"[{bank.received}-{bank.sent}-{bank.written}]"
            text = (
                f"BankSt: Bank({BANKS}),BIND({BIND}),{counts},"
                f"read-writenet({bank.received - bank.sent}),"
                f"write net-disk({bank.sent - bank.written})"
            )
            send(sock, pack_command(ANSWER, text.encode()))
        elif kind == XOFF:
            onward.go.clear()
        elif kind == XON:
            onward.go.set()

    Commands(during)
    work = [
        threading.Thread(target=inward.run, args=(data,)),
        threading.Thread(target=onward.run),
    ]
    for thread in work:
        thread.start()
    write_all(bank, files)
    for thread in work:
        thread.join()
    if bank.last and not tell(hosts[0][1], STOP, f"END:(<{own}): The last node finish recieving."):
        die("the server could not be told of the end")
    say("done")
    os._exit(0)


def cooked(name):
    """The flag for an input with this name."""
    for ending, flag in ((".gz", GZ), (".Z", Z), ("", 0)):
        if name.endswith(ending):
            stem = name.removesuffix(ending)
            break
    for ending, more in ((".tar", TAR), (".cpio", CPIO)):
        if stem.endswith(ending):
            return flag | more
    if not flag:
        say(f"{name}: unknown ending, stored as it is")
    return flag


def parse(path):
    """The files as (input, flag, output), the server and the clients."""
    lines = open(path, encoding="utf-8").read().split("\n")
    lines.reverse()

    def value(word):
        line = lines.pop()
        if not line.startswith(word + " "):
            die(f"Missing '{word} ' in config-file.")
        return line[len(word) + 1 :]

    files = []
    if lines[-1].startswith("iofiles "):
        count = int(value("iofiles"))
        if not 1 <= count <= 32:
            die(f"No of file={count} isnot acceptable(MAX=32)")
        for _ in range(count):
            words = lines.pop().split()
            if len(words) != 3 or words[1] not in (">", ">>"):
                die("syntax error: no '>' or '>>' in file lines")
            source, sign, target = words
            files.append((source, cooked(source) if sign == ">>" else 0, target))
    else:
        squeezed = lines[-1].startswith("compressed ")
        lines[-1] = lines[-1].removeprefix("compressed ")
        source = value("infile").split()[-1]
        files.append((source, cooked(source) if squeezed else 0, value("outfile")))
    server_name = value("server")
    value("firstclient")
    value("lastclient")
    count = int(value("clients"))
    if not 1 <= count <= 1024:
        die(f"{count} clients are not acceptable")
    clients = [lines.pop().strip() for _ in range(count)]
    if not lines or not lines.pop().startswith("endconfig"):
        die("Missing 'endconfig'")
    return files, server_name, clients


def server(path, linger="1"):
    files, own, clients = parse(path)
    hosts = [[HERE, own]] + [[ABSENT, name] for name in clients]
    onto, at = call_next(hosts, 0)
    back = accept_one(DATA)
    came = read_list(back, b"ROPN", b"RCLS")
    if [name for _, name in came] != [name for _, name in hosts]:
        die("the RING packet came back with other names")
    hosts = came
    say("ring: " + " ".join(f"{name}={flag}" for flag, name in hosts))
    targets = [[flag, target] for _, flag, target in files]
    for opens, closes, entries in ((b"HOPN", b"HCLS", hosts), (b"FBEG", b"FEND", targets)):
        send(onto, pack_list(opens, closes, entries))
        if read_list(back, opens, closes) != entries:
            die(f"the {opens!r} packet came back changed")

    stopped = threading.Event()

    def command(kind, operand, _):
        say(operand.decode(errors="replace"))
        if kind == STOP:
            stopped.set()

    Commands(command)
    bank = Bank(False)
    onward = Onward(bank, hosts, 0, onto, at)
    sender = threading.Thread(target=onward.run)
    sender.start()
    writer = threading.Thread(target=discard, args=(bank,))
    writer.start()
    for number, (source, _, _) in enumerate(files):
        feed(bank, number, source)
    bank.end()
    sender.join()
    if bank.last:
        die("no client is left")
    stopped.wait(float(linger))
    say("done")
    os._exit(0)


def feed(bank, number, source):
    try:
        file = open(source, "rb")
    except OSError as error:
        die(f"{source}: {error}")
    sequence = 0
    with file:
        while True:
            payload = file.read(CHUNK)
            last = len(payload) < CHUNK
            bank.put((number, sequence, last, payload))
            if last:
                return
            sequence += 1


def discard(bank):
    """The server writes nothing."""
    while bank.to_write() is not None:
        bank.was_written()


def ping(host):
    sock = connect(host, CONTROL)
    if sock is None:
        die(f"{host} does not answer")
    send(sock, pack_command(ASK, struct.pack(">I", 3)))
    kind, operand = read_command(sock)
    if kind != ANSWER:
        die(f"{host} answered with type {kind}")
    print(operand.decode())


if __name__ == "__main__":
    try:
        {"server": server, "client": client, "ping": ping}[sys.argv[1]](*sys.argv[2:])
    except Gone as error:
        die(str(error))

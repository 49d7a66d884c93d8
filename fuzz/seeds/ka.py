#!/usr/bin/env python3
"""Makes the seeds of the target ka out of the recorded sessions: what happened to the
server, and what the client 10.77.0.12 heard, as the target reads it."""

import pathlib

HERE = pathlib.Path(__file__).parent
SERVER, CLIENT = "10.77.0.1", "10.77.0.12"


def word(op, arg, data=b""):
    return bytes([op, arg, len(data)]) + data


def number(address):
    return int(address.split(".")[3].split(":")[0]) - 11


def of_server(lines):
    script = b""
    for line in lines:
        words = line.split()
        if "CTRL SYN" in line and words[5].endswith(":30765"):
            script += word(0, number(words[3]))
        elif "CTRL C->S" in line:
            script += word(10, number(words[3]), bytes.fromhex(line.split("raw=")[1]))
        elif "CTRL FIN" in line and words[5].endswith(":30765"):
            script += word(2, number(words[3]))
        elif "DATA SYN" in line and words[5] == SERVER + ":30764":
            script += word(3, number(words[3]))
        elif "DATA FIN" in line and words[3].startswith(SERVER + ":"):
            script += word(6, 3)
    return script


def of_client(lines):
    script = b""
    for line in lines:
        words = line.split()
        if "CTRL S->C " + CLIENT in line:
            script += word(10, 0, bytes.fromhex(line.split("raw=")[1]))
        elif "DATA SYN" in line and words[5] == CLIENT + ":30764":
            script += word(0, number(words[3]))
        elif "CTRL C->S " + CLIENT in line and "dad_disconnected" in line:
            script += word(4, 3)
        elif "CTRL C->S " + CLIENT in line and "has_finished" in line:
            script += word(7, 0)
    return script


(HERE / "ka").mkdir(exist_ok=True)
for path in sorted((HERE / "../../fixtures/ka").glob("*.txt")):
    lines = path.read_text().splitlines()
    for name, script in (("server", of_server(lines)), ("client", of_client(lines))):
        if script:
            (HERE / "ka" / f"{path.stem}-{name}").write_bytes(script)

#!/usr/bin/env python3
"""A node with an old stage 2 (ka-deploy 0.94), written from the description of what its
scripts do, and no better than they: it takes part in kainstall1, kainstall2, ... with the
independent old client, makes partitions with sfdisk or fdisk from the small files that come
first, and never says whether anything has gone well.

  ka_node.py FOLDER SETTLE
      FOLDER   where it keeps what it gets and mounts the clone
      SETTLE   a command of the shell that makes the nodes of new partitions, as a kernel
               of its time did by itself
"""

import glob
import os
import subprocess
import sys
import time

PEER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "ka.py")
KINDS = {
    "reiserfs": ["mkreiserfs", "-f"],
    "jfs": ["mkfs.jfs"],
    "xfs": ["mkfs.xfs", "-f"],
    "ext2": ["mkfs.ext2", "-v"],
    "ext3": ["mkfs.ext3", "-v", "-j"],
    "ext4": ["mkfs.ext4", "-v", "-j"],
    "swap": ["mkswap"],
}


def fail(why):
    print(f"ka_node.py: the installation failed: {why}", flush=True)
    sys.exit(1)


def note(text):
    print(f"ka_node.py: {text}", flush=True)


class Node:
    def __init__(self, folder, settle):
        self.parts = os.path.join(folder, "partfiles")
        self.disk = os.path.join(folder, "disk")
        self.settle = settle
        self.session = 0
        self.mounted = []
        for place in [self.parts, self.disk]:
            os.makedirs(place)

    def run(self, words, **more):
        if subprocess.run(words, **more).returncode != 0:
            fail(" ".join(words))

    def take(self, command):
        self.session += 1
        note(f"session kainstall{self.session}")
        name = f"kainstall{self.session}"
        self.run(["python3", PEER, "client", "-w", "-s", name, "-e", command])

    def text(self, name):
        with open(os.path.join(self.parts, name)) as file:
            return file.read()

    def has(self, name):
        return os.path.exists(os.path.join(self.parts, name))

    def tables(self):
        for path in sorted(glob.glob(os.path.join(self.parts, "partition_tab*"))):
            drive = "/dev/" + os.path.basename(path)[len("partition_tab") :]
            with open(path) as lines:
                self.run(["sfdisk", drive, "-uS", "--force", "--no-tell-kernel"], stdin=lines)
        for path in sorted(glob.glob(os.path.join(self.parts, "fdisk_commands*"))):
            drive = "/dev/" + os.path.basename(path)[len("fdisk_commands") :]
            self.run(["dd", "if=/dev/zero", f"of={drive}", "bs=1M", "count=5"])
            # It ends with 1 when the kernel does not look at the new table.
            with open(path) as keys:
                subprocess.run(["fdisk", drive], stdin=keys)
        self.run(["sh", "-c", self.settle])

    def file_systems(self):
        lines = [line.split() for line in self.text("pfstab").splitlines()]
        for fields in lines:
            if fields[2] in KINDS:
                self.run(KINDS[fields[2]] + [fields[0]])
        for fields in lines:
            if fields[2] in KINDS and fields[2] != "swap":
                place = self.disk + fields[1]
                os.makedirs(place, exist_ok=True)
                self.run(["mount", fields[0], place])
                self.mounted.append(place)

    def folders(self):
        for line in self.text("excluded").splitlines():
            fields = line.split()
            place = self.disk + fields[5]
            os.makedirs(place, exist_ok=True)
            self.run(["chmod", ",".join(fields[:3]), place])
            self.run(["chown", f"{fields[3]}:{fields[4]}", place])

    def streams(self):
        for stream in self.text("streams").split():
            if stream == "linux":
                tar = "tar --extract --read-full-records --same-permissions --numeric-owner"
                self.take(f"(cd {self.disk}; {tar} --sparse --file - ) 2>/dev/null")
                self.run(["sync"])
                self.folders()
            else:
                self.take(f"dd of={stream} bs=65536")

    def finish(self):
        golden = self.text("boot_part").split("=")[1].split(" ")[0].replace('"', "")
        here = self.text("boot_part").split(":")[0]
        blkid = subprocess.run(["blkid", "-p", "-o", "value", "-s", "UUID", here], stdout=-1)
        uuid = blkid.stdout.decode().strip()
        loader = self.text("bootloader").split()[0]
        menu = {"lilo": "/etc/lilo.conf", "grub": "/boot/grub/menu.lst"}[loader]
        with open(self.disk + menu) as file:
            lines = file.read()
        with open(self.disk + menu, "w") as file:
            file.write(lines.replace(golden, uuid))
        with open(self.disk + "/etc/fstab", "w") as file:
            file.write(self.text("pfstab") + "none /proc proc defaults 0 0\n")
        self.run(["chroot", self.disk, "/sbin/mkinitrd", "-f", "/boot/initrd.img", "6.1.0"])
        if self.has("delay"):
            time.sleep(1)
            self.take("cat")
        self.run(["sync"])
        for place in reversed(self.mounted):
            self.run(["umount", place])
        note("rebooting")


def main():
    node = Node(sys.argv[1], sys.argv[2])
    node.take(f"( cd {node.parts} && tar xf - )")
    node.tables()
    node.file_systems()
    node.streams()
    node.finish()


if __name__ == "__main__":
    main()

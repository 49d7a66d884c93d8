#!/bin/sh
# Makes the seeds again that are no captures: the beginnings of file systems, and answers
# of servers. Needs e2fsprogs, xfsprogs, dosfstools, btrfs-progs,
# util-linux, fdisk and lvm2.
set -eu
cd "$(dirname "$0")"
PATH=$PATH:/sbin:/usr/sbin
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# NAME SIZE KEPT COMMAND...: the first KEPT bytes of what COMMAND makes of SIZE bytes.
begin() {
    name=$1 kept=$3
    truncate -s "$2" "$work/$name"
    shift 3
    "$@" "$work/$name" >/dev/null 2>&1
    head -c "$kept" "$work/$name" >"superblock/$name"
}
begin ext4 8M 4096 mke2fs -q -t ext4 -U 12345678-1234-4234-8234-123456789abc
begin xfs 512M 4096 mkfs.xfs -q -m uuid=12345678-1234-4234-8234-123456789abc
begin vfat 8M 4096 mkfs.vfat -i 12345678
begin swap 1M 4096 mkswap -U 12345678-1234-4234-8234-123456789abc
begin btrfs 128M 70000 mkfs.btrfs -q -U 12345678-1234-4234-8234-123456789abc

# Partition tables on disks of 64 KiB, and desc files.
table() {
    rm -f "desc/$1"
    truncate -s 64K "desc/$1"
    sfdisk -q --force --no-reread --no-tell-kernel "desc/$1" >/dev/null
}
table dos <<END
label: dos
label-id: 0x12345678
unit: sectors
start=2, size=10, type=83, bootable
start=20, size=100, type=f
start=22, size=10, type=82
start=40, size=70, type=8e
END
table gpt <<END
label: gpt
label-id: 6D1B0C1E-0000-4000-8000-676F6C647200
first-lba: 34
start=34, size=10, type=L, name="a b", uuid=6D1B0C1E-0000-4000-8000-676F6C647201
start=50, size=20, type=U, uuid=6D1B0C1E-0000-4000-8000-676F6C647202
END
printf 'swap 509\nlinux 5992\nextended fill type=f\nlogical linux 52281\nlogical linux fill\n' >desc/old
printf 'gpt id=6d1b0c1e-0000-4000-8000-676f6c647200\nefi 512 boot fs=fat32 uuid=1A2B-3C4D\nlinux 25%% fs=ext4 label="a b" mount=/\n' >desc/new
printf 'raid fill spare=5s array=md0 slot=0\narray md0 level=10 members=2 chunk=512K layout=n2 group=v\ngroup v extent=4M\nvolume v/a 5G stripes=2 stripe=64K fs=xfs\n' >desc/raid

# md12 and md090 need a kernel with RAID: mdadm --create /dev/md0 --level=1 --raid-devices=2 --metadata=1.2
# --name=golden:0, and /dev/md2 with --metadata=0.90; the super blocks of their second members.

# The metadata of a volume group. Needs root, for loop devices, but no device-mapper.
config='devices{use_devicesfile=0 scan="/dev" filter=["a|^/dev/loop|","r|.*|"]} activation{udev_sync=0 udev_rules=0}
    global{event_activation=0} backup{backup=0 archive=0}'
lvm_tool() {
    program=$1
    shift
    "$program" --config "$config" --driverloaded n "$@" >/dev/null 2>&1
}
truncate -s 100M "$work/pv0" "$work/pv1"
pv0=$(losetup -f --show "$work/pv0")
pv1=$(losetup -f --show "$work/pv1")
lvm_tool pvcreate --norestorefile --uuid n83moU-AyFQ-uB2K-HEHW-NSz6-Ztui-x3euNP "$pv0"
lvm_tool pvcreate --norestorefile --uuid lUxzUg-yony-Avhp-QxpQ-Bpee-HgEY-YCQTpu "$pv1"
lvm_tool vgcreate vg0 "$pv0" "$pv1"
lvm_tool lvcreate -an -Zn -Wn -n root -L 40M vg0
lvm_tool lvcreate -an -Zn -Wn -n striped -i 2 -I 64k -l 10 vg0
lvm_tool lvcreate -an -Zn -Wn -n rest -l 100%FREE vg0
losetup -d "$pv0"
losetup -d "$pv1"
head -c 16384 "$work/pv0" >desc/lvm

answer() { printf "$2" >"remote/$1"; }
answer page 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello'
answer pieces 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n'
answer rest 'HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-4/5\r\nContent-Length: 3\r\n\r\nllo'
answer elsewhere 'HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n'
answer nothing 'HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n'
answer ftp '220 hello\r\n331 who?\r\n230 in\r\n200 binary\r\n213 5\r\n229 Entering Extended Passive Mode (|||9|)\r\n150 coming\r\n226 done\r\n'
answer passive '220 a\r\n230 b\r\n200 c\r\n213 5\r\n500 no\r\n227 Entering Passive Mode (127,0,0,1,0,9)\r\n'
answer url 'http://[2001:db8::1]:8080/a%%20b'

python3 ./ka.py

# A tar with what stands behind it, what tar says, and a list of what is cloned.
mkdir -p files "$work/tree"
echo x >"$work/tree/a"
ln "$work/tree/a" "$work/tree/b"
truncate -s 100k "$work/tree/sparse"
{
    tar --create --format=pax --sparse --blocking-factor=1 --mtime=@0 --numeric-owner --owner=0 --group=0 --sort=name -C "$work/tree" .
    printf 'goldring-files 1\ncontents entries=4 bytes=9 xxh3=0\nmake kind=socket mode=600 uid=0 gid=0 changed=0.0 path=/s xattr=user.x=y\nfailed why=x\nend\n'
} >files/stream
printf 'tar: ./a\\\\n\\377: Cannot change mode to rwx: Operation not permitted' >files/said
printf 'goldring-manifest 1\ngolden host=a firmware=uefi\nfile-system device=/dev/sda1 type=btrfs disk=/dev/sda\nswap place=/s size=5\nmount place=/ device=/dev/sda1 option=rw subvolume=/@\nsubvolume path=/v\nleft place=/proc spec=p why=x disk=stays\nexclude path=/x\nmake kind=folder mode=1777 uid=0 gid=0 changed=0.0 path=/x\nend\n' >files/list

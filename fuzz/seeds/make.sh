#!/bin/sh
# Makes the seeds again that are no captures: the beginnings of file systems, and answers
# of servers. Needs e2fsprogs, xfsprogs, dosfstools, btrfs-progs and util-linux.
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

answer() { printf "$2" >"remote/$1"; }
answer page 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello'
answer pieces 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n'
answer rest 'HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-4/5\r\nContent-Length: 3\r\n\r\nllo'
answer elsewhere 'HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n'
answer nothing 'HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n'
answer ftp '220 hello\r\n331 who?\r\n230 in\r\n200 binary\r\n213 5\r\n229 Entering Extended Passive Mode (|||9|)\r\n150 coming\r\n226 done\r\n'
answer passive '220 a\r\n230 b\r\n200 c\r\n213 5\r\n500 no\r\n227 Entering Passive Mode (127,0,0,1,0,9)\r\n'
answer url 'http://[2001:db8::1]:8080/a%%20b'

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

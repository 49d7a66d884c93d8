#!/bin/sh
# Installs this system onto the disks of a golden machine and switches the computer off. It
# is the first program of a virtual machine that was started from a tree of files; the
# distribution's own programs do the work, as they do it in an installation. /installer/layout
# says how the disks are to be:
#
#   prepare    partitions, file systems, and all of it mounted below /target
#   tables     prints the fstab
#   finish     runs in the installed system; the boot loader
trap 'status=$?; [ $status = 0 ] || echo "golden machine: failed with $status"; sync; echo o > /proc/sysrq-trigger; sleep 60' EXIT
set -eu
. /installer/layout
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive

# Programs that write boot loaders' menus want /dev/disk/by-uuid.
/usr/lib/systemd/systemd-udevd --daemon
udevadm trigger --action=add
udevadm settle

mkdir -p /target
prepare
echo "golden machine: copying"
cp -ax /. /target
rmdir /target/target
rm -r /target/installer
tables > /target/etc/fstab

# What a clone must have as it is here, on each file system.
for folder in /target/opt /target/var/opt /target/home; do
    mkdir -p "$folder/odd/deep/er"
    cd "$folder/odd"
    echo text > plain
    ln plain 'second name of plain'
    ln -s ../plain deep/link
    ln -s /nowhere dangling
    mkfifo fifo
    mknod null c 1 3
    mknod disk b 8 0
    perl -e 'use IO::Socket; IO::Socket::UNIX->new(Local => "socket", Listen => 1) or die'
    cp /bin/true setuid
    chown 1234:4321 setuid
    chmod 6755 setuid
    cp /bin/true capable
    setcap cap_net_raw+ep capable
    setfattr -n user.colour -v green plain
    setfattr -n user.colour -v blue deep
    setfacl -m u:1234:rw,g:4321:r plain
    setfacl -d -m u:1234:rwx deep/er
    chmod 1777 deep/er
    truncate -s 64M sparse
    printf 'in the middle' | dd of=sparse bs=1M seek=32 conv=notrunc status=none
    : > "$(printf 'not UTF-8 \377 and a\nnew line')"
    : > "$(printf '%0255d' 7)"
    head -c 3000000 /dev/urandom > noise
    touch -d '1979-03-05 04:05:06.123456789' plain
    touch -h -d '2001-02-03 04:05:06.987654321' dangling
    touch -d '2030-01-01' deep
    cd /
done

echo "golden machine: the boot loader"
for name in dev proc sys run; do
    mount --rbind /$name /target/$name
done
cp /installer/layout /run/layout
chroot /target sh -euc '. /run/layout; finish'
for name in run sys proc dev; do
    umount --recursive /target/$name
done
umount --recursive /target
echo "golden machine: installed"

# Two disks, all of it mirrored: swap and /, as the distribution's installer makes it. fstab
# knows the arrays by name and by UUID.
prepare() {
    for disk in /dev/sda /dev/sdb; do
        sfdisk --quiet $disk <<EOF
label: dos
size=160MiB, type=fd
type=fd, bootable
EOF
    done
    udevadm settle
    modprobe raid1
    # Bytes on both sides differ where nothing has been written; nobody reads them.
    for number in 0 1; do
        mdadm --create /dev/md$number --quiet --run --level=1 --raid-devices=2 --assume-clean \
            --metadata=1.2 --homehost=golden --name=$number \
            /dev/sda$((2 - number)) /dev/sdb$((2 - number))
    done
    mkswap -q /dev/md1
    mkfs.ext4 -q -L golden /dev/md0
    udevadm settle
    mount /dev/md0 /target
}

tables() {
    cat <<EOF
UUID=$(blkid -o value -s UUID /dev/md0) / ext4 errors=remount-ro 0 1
/dev/md1 none swap sw 0 0
EOF
}

finish() {
    /usr/share/mdadm/mkconf > /etc/mdadm/mdadm.conf
    update-initramfs -u
    grub-install --target=i386-pc /dev/sda
    grub-install --target=i386-pc /dev/sdb
    update-grub
}

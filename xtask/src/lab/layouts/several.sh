# One disk with a dos table, logical partitions, and a file system of each kind: / ext4, /var
# xfs, /home btrfs. fstab knows some by UUID, one by its label and the swap by its device.
prepare() {
    sfdisk --quiet /dev/sda <<EOF
label: dos
/dev/sda1 : size=1100MiB, type=83, bootable
/dev/sda2 : type=5
/dev/sda5 : size=200MiB, type=82
/dev/sda6 : size=700MiB, type=83
/dev/sda7 : type=83
EOF
    udevadm settle
    mkfs.ext4 -q -L golden /dev/sda1
    mkswap -q -L sleep /dev/sda5
    mkfs.xfs -q /dev/sda6
    mkfs.btrfs -q -L people /dev/sda7
    udevadm settle
    mount /dev/sda1 /target
    mkdir /target/var /target/home
    mount /dev/sda6 /target/var
    mount /dev/sda7 /target/home
}

tables() {
    cat <<EOF
UUID=$(blkid -o value -s UUID /dev/sda1) / ext4 errors=remount-ro 0 1
UUID=$(blkid -o value -s UUID /dev/sda6) /var xfs defaults 0 2
LABEL=people /home btrfs compress=zstd 0 0
/dev/sda5 none swap sw 0 0
EOF
}

finish() {
    grub-install --target=i386-pc /dev/sda
    update-grub
}

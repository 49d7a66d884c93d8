# What the distribution's installer makes when it is asked for LVM: /boot alone, and a group in
# a logical partition with /, swap and /home. Its name has a dash, which device mapper doubles.
prepare() {
    sfdisk --quiet /dev/sda <<EOF
label: dos
size=300MiB, type=83, bootable
type=5
type=8e
EOF
    udevadm settle
    modprobe dm-mod
    mkfs.ext2 -q /dev/sda1
    pvcreate -qq /dev/sda5
    vgcreate -qq golden-vg /dev/sda5
    lvcreate -qq -y -n root -L 1300M golden-vg
    lvcreate -qq -y -n swap_1 -L 128M golden-vg
    lvcreate -qq -y -n home -l 100%FREE golden-vg
    mkfs.ext4 -q /dev/golden-vg/root
    mkswap -q /dev/golden-vg/swap_1
    mkfs.xfs -q /dev/golden-vg/home
    udevadm settle
    mount /dev/golden-vg/root /target
    mkdir /target/boot /target/home
    mount /dev/sda1 /target/boot
    mount /dev/golden-vg/home /target/home
}

tables() {
    cat <<EOF
/dev/mapper/golden--vg-root / ext4 errors=remount-ro 0 1
UUID=$(blkid -o value -s UUID /dev/sda1) /boot ext2 defaults 0 2
/dev/golden-vg/home /home xfs defaults 0 2
/dev/mapper/golden--vg-swap_1 none swap sw 0 0
EOF
}

finish() {
    grub-install --target=i386-pc /dev/sda
    update-grub
}

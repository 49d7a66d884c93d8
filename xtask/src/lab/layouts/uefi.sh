# UEFI and gpt. The firmware has an entry for the boot loader, and there is none for firmware
# without.
prepare() {
    sfdisk --quiet /dev/sda <<EOF
label: gpt
size=100MiB, type=uefi, name="EFI System Partition"
size=128MiB, type=swap
type=linux
EOF
    udevadm settle
    mkfs.vfat -F 32 -n ESP /dev/sda1
    mkswap -q /dev/sda2
    mkfs.ext4 -q -L golden /dev/sda3
    udevadm settle
    mount /dev/sda3 /target
    mkdir -p /target/boot/efi
    mount /dev/sda1 /target/boot/efi
}

tables() {
    cat <<EOF
UUID=$(blkid -o value -s UUID /dev/sda3) / ext4 errors=remount-ro 0 1
UUID=$(blkid -o value -s UUID /dev/sda1) /boot/efi vfat umask=0077 0 1
/dev/sda2 none swap sw 0 0
EOF
}

finish() {
    mount -t efivarfs efivarfs /sys/firmware/efi/efivars || :
    grub-install --target=x86_64-efi --bootloader-id=debian
    update-grub
}

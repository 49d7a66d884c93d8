use std::cell::RefCell;
use std::os::unix::fs::symlink;

use super::*;
use crate::tools::run::testing::Recorder;

/// A machine whose file systems are folders: mounting makes a link to one.
struct Machine {
    _folder: tempfile::TempDir,
    root: Root,
    /// Name, content and UUID of each device.
    devices: RefCell<Vec<[String; 3]>>,
    /// Command lines that fail.
    broken: Vec<&'static str>,
}

impl Machine {
    fn new(devices: &[(&str, &str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path().canonicalize().unwrap());
        for path in ["/proc/self", "/dev", "/mnt", "/run/goldring"] {
            fs::create_dir_all(root.join(path)).unwrap();
        }
        fs::write(root.join("/proc/self/mountinfo"), "").unwrap();
        let devices = devices
            .iter()
            .map(|(name, content, uuid)| [*name, *content, *uuid].map(str::to_owned));
        Self {
            _folder: folder,
            root,
            devices: RefCell::new(devices.collect()),
            broken: Vec::new(),
        }
    }

    /// A file on the file system of a device, or on a subvolume of it (`sda1.@`).
    fn file(&self, device: &str, path: &str, text: &str) {
        let path = self.root.join("/disks").join(device).join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn system(&self, device: &str, name: &str, fstab: &str) {
        self.file(device, "etc/os-release", &format!("NAME=\"{name}\"\n"));
        self.file(device, "etc/fstab", fstab);
        for folder in ["dev", "proc", "sys", "home", "boot/efi"] {
            self.file(device, &format!("{folder}/.here"), "");
        }
    }

    fn answer(&self, line: &str) -> anyhow::Result<String> {
        if self.broken.iter().any(|broken| line.contains(broken)) {
            bail!("{line}: exit status: 32: wrong fs type");
        }
        if line.starts_with("lsblk") {
            let line = |[name, ..]: &[String; 3]| {
                let kernel_name = name.replace("mapper/vg-root", "dm-0");
                format!("NAME=\"{name}\" KNAME=\"{kernel_name}\" TYPE=\"part\" SIZE=\"9\"\n")
            };
            return Ok(self.devices.borrow().iter().map(line).collect());
        }
        if let Some(name) = line.strip_prefix("blkid --probe --output udev ") {
            let devices = self.devices.borrow();
            let device = devices.iter().find(|device| device[0] == name);
            let [_, content, uuid] = device.context("blkid: exit status: 2")?;
            return Ok(format!("ID_FS_TYPE={content}\nID_FS_UUID_ENC={uuid}\n"));
        }
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["mount", "-t", _, "-o", options, device, place] => {
                let at = self.root.join(place);
                if at.read_link().is_ok() || place.starts_with("/mnt/") {
                    return Ok(String::new());
                }
                let mut name = device.trim_start_matches("/dev/").to_owned();
                for option in options.split(',') {
                    if let Some(subvolume) = option.strip_prefix("subvol=") {
                        name.push_str(&format!(".{subvolume}"));
                    } else if option == "subvolid=5" {
                        name.push_str(".top");
                    }
                }
                fs::create_dir_all(self.root.join("/disks").join(&name))?;
                fs::remove_dir(&at)?;
                symlink(self.root.join("/disks").join(name), at)?;
            }
            ["umount", place] => {
                fs::remove_file(self.root.join(place))?;
                fs::create_dir(self.root.join(place))?;
            }
            ["vgchange", "--activate", "y"] => {
                let volume = ["/dev/mapper/vg-root", "xfs", ""].map(str::to_owned);
                self.devices.borrow_mut().push(volume);
            }
            ["lvs", ..]
                if self
                    .devices
                    .borrow()
                    .iter()
                    .any(|d| d[0].contains("vg-root")) =>
            {
                return Ok("  vg\n  vg\n".into());
            }
            _ => {}
        }
        Ok(String::new())
    }

    /// What was run after the looks, and the result.
    fn guess(&self, wish: Wish<'_>) -> (Vec<String>, anyhow::Result<Mounted>) {
        let mut runner = Recorder::new(|line: &str| self.answer(line));
        let mut world = World {
            root: &self.root,
            runner: &mut runner,
        };
        let result = mount_system(&mut world, &wish);
        let mut lines = runner.lines;
        lines.retain(|line| {
            !line.contains(systems::LOOK)
                && !line.starts_with("lsblk")
                && !line.starts_with("blkid")
        });
        (lines, result)
    }
}

fn wish() -> Wish<'static> {
    Wish {
        folder: Path::new("/mnt"),
        root: None,
        untouched: false,
    }
}

const BINDS: [&str; 3] = [
    "mount --rbind --make-rslave /dev /mnt/dev",
    "mount --rbind --make-rslave /proc /mnt/proc",
    "mount --rbind --make-rslave /sys /mnt/sys",
];

#[test]
fn a_system_is_mounted_with_what_its_fstab_names() {
    let machine = Machine::new(&[
        ("/dev/sda1", "vfat", "AB-CD"),
        ("/dev/sda2", "ext4", "r"),
        ("/dev/sda3", "swap", "s"),
        ("/dev/sda5", "xfs", "h"),
    ]);
    machine.system(
        "sda2",
        "Mandriva Linux",
        "UUID=r / ext4 errors=remount-ro,ro 0 1\nUUID=s none swap sw\nUUID=h /home xfs noatime\n\
         UUID=ab-cd /boot/efi vfat umask=0077\nLABEL=x /none ext4\nLABEL=y /opt ext4 nofail\n",
    );
    let (lines, result) = machine.guess(wish());
    let mounted = result.unwrap();
    let mut expected = vec![
        "mount -t ext4 -o errors=remount-ro /dev/sda2 /mnt",
        "mount -t xfs -o noatime /dev/sda5 /mnt/home",
        "mount -t vfat -o umask=0077 /dev/sda1 /mnt/boot/efi",
    ];
    expected.extend(BINDS);
    assert_eq!(lines, expected);
    assert_eq!(mounted.missing, ["/none"]);
    let places: Vec<&str> = mounted.devices.iter().map(|(_, p)| p.as_str()).collect();
    assert_eq!(places, ["/", "/home", "/boot/efi"]);
}

#[test]
fn a_dry_look_replays_no_journal() {
    let machine = Machine::new(&[("/dev/sda2", "ext3", "r"), ("/dev/sda5", "xfs", "h")]);
    machine.system(
        "sda2",
        "x",
        "UUID=r / ext3 noatime\nUUID=h /home xfs noatime\n",
    );
    let untouched = Wish {
        untouched: true,
        ..wish()
    };
    let (lines, result) = machine.guess(untouched);
    result.unwrap();
    assert_eq!(lines[0], "mount -t ext4 -o ro,noload /dev/sda2 /mnt");
    assert_eq!(
        lines[1],
        "mount -t xfs -o ro,norecovery,nouuid /dev/sda5 /mnt/home"
    );
}

#[test]
fn the_first_of_several_is_taken_or_the_one_that_is_named() {
    let machine = Machine::new(&[("/dev/sda1", "ext4", "1"), ("/dev/sdb1", "ext4", "2")]);
    machine.system("sda1", "first", "");
    machine.system("sdb1", "second", "");
    let (lines, _) = machine.guess(wish());
    assert_eq!(lines[0], "mount -t ext4 -o rw /dev/sda1 /mnt");
    fs::remove_file(machine.root.join("/mnt")).unwrap();
    fs::create_dir(machine.root.join("/mnt")).unwrap();
    let second = Wish {
        root: Some("/dev/sdb1"),
        ..wish()
    };
    let (lines, _) = machine.guess(second);
    assert_eq!(lines[0], "mount -t ext4 -o rw /dev/sdb1 /mnt");
    let none = Wish {
        root: Some("/dev/sdz1"),
        ..wish()
    };
    let error = machine.guess(none).1.unwrap_err();
    assert!(
        format!("{error:#}").contains("--root /dev/sdz1: no such device"),
        "{error:#}"
    );
}

#[test]
fn subvolumes_of_btrfs_are_looked_into() {
    let machine = Machine::new(&[("/dev/sda1", "btrfs", "1")]);
    machine.file("sda1.top", "@/.here", "");
    machine.system(
        "sda1.@",
        "Ubuntu",
        "UUID=1 / btrfs defaults,subvol=@\nUUID=1 /home btrfs subvol=@home\n",
    );
    let (lines, result) = machine.guess(wish());
    result.unwrap();
    assert_eq!(lines[0], "mount -t btrfs -o subvol=@ /dev/sda1 /mnt");
    assert_eq!(
        lines[1],
        "mount -t btrfs -o subvol=@home /dev/sda1 /mnt/home"
    );
}

#[test]
fn options_that_the_kernel_does_not_take_are_left_out() {
    let mut machine = Machine::new(&[("/dev/sda1", "ext4", "1")]);
    machine.system("sda1", "x", "UUID=1 / ext3 oldoption\n");
    machine.broken = vec!["-o oldoption"];
    let (lines, result) = machine.guess(wish());
    result.unwrap();
    assert_eq!(lines[1], "mount -t ext4 -o rw /dev/sda1 /mnt");
}

#[test]
fn raid_and_volumes_are_started_and_stopped() {
    let machine = Machine::new(&[
        ("/dev/sda1", "linux_raid_member", "m"),
        ("/dev/sda2", "LVM2_member", "p"),
    ]);
    machine.system(
        "mapper/vg-root",
        "x",
        "/dev/mapper/vg-root / xfs defaults\n",
    );
    let (lines, result) = machine.guess(wish());
    result.unwrap();
    assert_eq!(lines[0], "mdadm --assemble --scan");
    assert!(
        lines.contains(&"vgchange --activate y".to_owned()),
        "{lines:?}"
    );
    assert!(
        lines.contains(&"mount -t xfs -o rw /dev/mapper/vg-root /mnt".to_owned()),
        "{lines:?}"
    );
    fs::write(
        machine.root.join("/proc/self/mountinfo"),
        "30 1 254:0 / /mnt rw - xfs /dev/mapper/vg-root rw\n31 30 8:1 / /mnt/a\\040b rw - xfs x rw\n",
    )
    .unwrap();
    let mut runner = Recorder::new(|_: &str| Ok(String::new()));
    let mut world = World {
        root: &machine.root,
        runner: &mut runner,
    };
    take_down(&mut world, Path::new("/mnt")).unwrap();
    take_down(&mut world, Path::new("/mnt")).unwrap();
    assert_eq!(
        runner.lines,
        [
            "umount '/mnt/a b'",
            "umount /mnt",
            "vgchange --activate n vg",
            "umount '/mnt/a b'",
            "umount /mnt",
        ]
    );
}

#[test]
fn without_a_system_the_old_sentence_is_said() {
    for (devices, more) in [
        (
            &[("/dev/sda1", "ext4", "1")][..],
            "on /dev/sda1; an encrypted disk",
        ),
        (
            &[("/dev/sda1", "swap", "1")][..],
            "No file system that could hold",
        ),
        (&[][..], "No file system that could hold"),
    ] {
        let machine = Machine::new(devices);
        let error = machine.guess(wish()).1.unwrap_err().to_string();
        assert!(
            error.starts_with("Could not find your root device :-(."),
            "{error}"
        );
        assert!(error.contains(more), "{error}");
    }
    // One that cannot be mounted does not hide the next.
    let mut machine = Machine::new(&[("/dev/sda1", "ext4", "1"), ("/dev/sda2", "ext4", "2")]);
    machine.system("sda2", "x", "");
    machine.broken = vec!["/dev/sda1 /run"];
    machine.guess(wish()).1.unwrap();
}

#[test]
fn what_is_mounted_already_is_left_alone() {
    let machine = Machine::new(&[]);
    fs::write(
        machine.root.join("/proc/self/mountinfo"),
        "30 1 8:2 / /mnt/home rw - ext4 /dev/sda2 rw\n",
    )
    .unwrap();
    let (lines, result) = machine.guess(wish());
    let error = result.unwrap_err().to_string();
    assert!(
        error.contains("something is mounted on /mnt already"),
        "{error}"
    );
    assert_eq!(lines, [""; 0]);
}

#[test]
fn links_of_the_system_do_not_lead_out_of_it() {
    let machine = Machine::new(&[("/dev/sda1", "ext4", "1"), ("/dev/sda2", "ext4", "2")]);
    machine.system("sda1", "x", "UUID=2 /var ext4\n");
    machine.file("sda1", "data/var/.here", "");
    symlink("/data/var", machine.root.join("/disks/sda1/var")).unwrap();
    let (lines, _) = machine.guess(wish());
    assert_eq!(lines[1], "mount -t ext4 -o rw /dev/sda2 /mnt/data/var");
}

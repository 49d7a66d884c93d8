use std::fs;

use super::*;
use crate::tools::run::testing::Recorder;

/// A machine where a system is mounted on /mnt: GRUB and LILO are in it.
fn machine(lilo: bool) -> (tempfile::TempDir, Root) {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::at(folder.path().canonicalize().unwrap());
    let mut files = vec![
        (
            "/proc/self/mountinfo",
            "30 1 8:1 / /mnt rw - ext4 /dev/sda1 rw\n",
        ),
        ("/mnt/boot/grub/grub.cfg", ""),
        ("/mnt/usr/lib/grub/i386-pc/x", ""),
        ("/mnt/usr/sbin/grub-install", ""),
    ];
    if lilo {
        files.extend([("/mnt/etc/lilo.conf", ""), ("/mnt/sbin/lilo", "")]);
    }
    for (path, text) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    (folder, root)
}

const LSBLK: &str = "NAME=\"/dev/sda\" KNAME=\"/dev/sda\" TYPE=\"disk\" SIZE=\"9\" MOUNTPOINT=\"\"\n\
    NAME=\"/dev/md0\" KNAME=\"/dev/md0\" TYPE=\"raid1\" SIZE=\"9\" MOUNTPOINT=\"/mnt\"\n";

fn args(auto: bool, dry_run: bool, loader: Option<&str>) -> Args {
    Args {
        auto,
        dry_run,
        loader: loader.map(str::to_owned),
        root: None,
        folder: "/mnt".into(),
    }
}

/// What was run beside lsblk.
fn ran(root: &Root, args: &Args, ask: Ask<'_>) -> anyhow::Result<Vec<String>> {
    let mut runner = Recorder::new(|line: &str| {
        Ok(if line.starts_with("lsblk") { LSBLK } else { "" }.to_owned())
    });
    let mut world = World {
        root,
        runner: &mut runner,
    };
    install(&mut world, args, ask)?;
    runner
        .lines
        .retain(|line| !line.starts_with("lsblk") && !line.starts_with("blkid"));
    Ok(runner.lines)
}

fn nobody(_: &[Loader]) -> anyhow::Result<usize> {
    bail!("no terminal to ask on")
}

#[test]
fn the_only_loader_is_installed_and_a_dry_run_runs_nothing() {
    let (_folder, root) = machine(false);
    assert_eq!(
        ran(&root, &args(false, false, None), &mut nobody).unwrap(),
        ["chroot /mnt grub-install --target=i386-pc /dev/md0", "sync"]
    );
    let dry = ran(&root, &args(false, true, None), &mut nobody).unwrap();
    assert_eq!(dry, [""; 0]);
}

#[test]
fn of_several_loaders_one_is_chosen() {
    let (_folder, root) = machine(true);
    let grub = "chroot /mnt grub-install --target=i386-pc /dev/md0";
    let lilo = "chroot /mnt lilo -b /dev/md0";
    let first = |args: &Args, ask: Ask<'_>| ran(&root, args, ask).map(|lines| lines[0].clone());
    assert_eq!(first(&args(true, false, None), &mut nobody).unwrap(), grub);
    assert_eq!(
        first(&args(false, false, Some("lilo")), &mut nobody).unwrap(),
        lilo
    );
    assert_eq!(
        first(&args(false, false, None), &mut |_| Ok(1)).unwrap(),
        lilo
    );
    let error = |args: &Args, ask: Ask<'_>| format!("{:#}", ran(&root, args, ask).unwrap_err());
    let said = error(&args(false, false, None), &mut nobody);
    assert!(
        said.contains("several boot loaders: grub, lilo; choose one with --loader"),
        "{said}"
    );
    assert!(error(&args(false, false, None), &mut |_| Ok(2)).contains("no number 3"));
    assert!(error(&args(false, false, Some("x")), &mut nobody).contains("it uses grub, lilo"));
}

#[test]
fn what_cannot_work_is_said_before_anything_runs() {
    let (_folder, root) = machine(false);
    fs::remove_file(root.join("/mnt/boot/grub/grub.cfg")).unwrap();
    let error = ran(&root, &args(true, false, None), &mut nobody).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("shows no boot loader that is known"),
        "{error}"
    );
    let mut other = args(true, false, None);
    other.root = Some("/dev/sdb1".into());
    let error = ran(&root, &other, &mut nobody).unwrap_err();
    assert!(
        error.to_string().contains("mounted on /mnt already"),
        "{error}"
    );
    let without_boot = Mounted {
        devices: vec![(Device::default(), "/".into())],
        missing: vec!["/boot".into()],
    };
    let mut runner = Recorder::new(|_: &str| Ok(String::new()));
    let mut world = World {
        root: &root,
        runner: &mut runner,
    };
    let error = work(
        &mut world,
        &args(true, false, None),
        &without_boot,
        &mut nobody,
    );
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("/boot is not mounted")
    );
}

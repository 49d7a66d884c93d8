//! The first steps: mounts, console, command line, and whether the kernel is the right one.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use goldring_contract::bootargs::BootArgs;
use goldring_contract::image::Manifest;
use goldring_contract::paths;
use goldring_hw::tables::Tables;
use goldring_sys::mount::{Access, Mounted};

use crate::console;
use crate::ctx::Ctx;
use crate::fate::{Fate, chain};
use crate::{last_act, memory};

/// Mounts what every program expects.
pub(super) fn mounts(ctx: &mut Ctx) -> Result<(), Fate> {
    const TABLE: [(&str, &str, &str); 6] = [
        ("proc", "/proc", ""),
        ("sysfs", "/sys", ""),
        ("devtmpfs", "/dev", "mode=0755"),
        ("devpts", "/dev/pts", "gid=5,mode=0620,ptmxmode=0666"),
        ("tmpfs", "/dev/shm", "mode=1777"),
        ("tmpfs", "/run", "mode=0755"),
    ];
    if ctx.dry_run {
        return Ok(());
    }
    for (fs, target, options) in TABLE {
        let source = std::path::Path::new(fs);
        let target = ctx.root.join(target);
        match Mounted::new(source, &target, fs, Access::ReadWrite, options) {
            Ok(mounted) => mounted.keep(),
            // Without /proc and /sys nothing can go on; what is missing shows there.
            Err(error) => console::say(&format!("mounting {}: {error}", target.display())),
        }
    }
    memory::widen_root(&ctx.root);
    Ok(())
}

/// Opens the console and the kernel log.
pub(super) fn log(ctx: &mut Ctx) -> Result<(), Fate> {
    if ctx.dry_run {
        return Ok(());
    }
    // The kernel keeps only ten lines in five seconds of a program unless told otherwise
    // (Linux, Documentation/admin-guide/sysctl/kernel.rst, printk_devkmsg).
    let _ = fs::write(ctx.root.join("/proc/sys/kernel/printk_devkmsg"), "on");
    console::open(&ctx.root);
    console::quiet_kernel(&ctx.root);
    let modprobe = ctx.root.join(paths::MODPROBE);
    if !modprobe.exists() {
        let _ = modprobe.parent().map(fs::create_dir_all);
        let _ = symlink("/init", &modprobe);
    }
    Ok(())
}

/// Reads the kernel command line.
pub(super) fn command_line(ctx: &mut Ctx) -> Result<(), Fate> {
    if ctx.cmdline.is_empty() {
        let file = ctx.root.join("/proc/cmdline");
        ctx.cmdline = fs::read_to_string(&file)
            .map_err(|error| Fate::reboot(format!("reading {}: {error}", file.display())))?;
    }
    ctx.args = BootArgs::parse(&ctx.cmdline).map_err(|error| {
        // `debug` must hold the machine even when the rest makes no sense.
        ctx.args.debug = ctx
            .cmdline
            .split_ascii_whitespace()
            .any(|word| word == "debug");
        Fate::reboot(format!("{error}; correct the PXE entry"))
    })?;
    if ctx.args.debug && !ctx.dry_run {
        last_act::never_reboot();
        console::no_shell_yet(&ctx.root);
    }
    for note in &ctx.args.notes {
        console::say(note);
    }
    ctx.automatic().map(drop)
}

/// Checks that image and kernel belong together, and reads the image's tables.
pub(super) fn kernel(ctx: &mut Ctx) -> Result<(), Fate> {
    memory::is_unpacked(&ctx.root)?;
    let file = ctx.root.join(paths::MANIFEST);
    let text = fs::read_to_string(&file).map_err(|error| {
        Fate::reboot(format!(
            "reading {}: {error}; this all.rdz is broken, copy it to the boot server again",
            file.display()
        ))
    })?;
    let manifest = Manifest::parse(&text).map_err(|error| Fate::reboot(chain(&error)))?;
    let running = ctx.release();
    if manifest.kernel != running {
        return Err(Fate::reboot(format!(
            "this all.rdz is for kernel {}, but {running} is running; \
             put vmlinuz and all.rdz of the same build on the boot server",
            manifest.kernel
        )));
    }
    console::say(&format!(
        "goldring {} stage 1, kernel {running}",
        manifest.version
    ));
    ctx.manifest = Some(manifest);
    let tables = Tables::read(&ctx.root).map_err(|error| Fate::reboot(chain(&error)))?;
    ctx.tables = Arc::new(tables);
    Ok(())
}

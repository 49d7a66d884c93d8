//! A whole image from a small invented kernel and a small invented root: made twice,
//! compared, inspected, broken and mended.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use goldring_builder::compress::Compression;
use goldring_builder::image::{ALL_RDZ, Made, Options, Programs, RESCUE_CLP, VMLINUZ, make};
use goldring_builder::progress::Progress;
use goldring_builder::report::Report;
use goldring_builder::{digest, inspect};
use goldring_contract::image::{Aliases, Manifest, Modules};

const STAGE1: &str = r#"
[kernel]
packages = []
[budget]
init = "2 MB"
all-rdz = "1 MB"
[[modules]]
why = "cards"
class = "net"
paths = ["kernel/net"]
except = ["kernel/net/rare"]
[absent]
paths = ["kernel/net"]
[names]
package = "pci.ids"
"#;

const STAGE2: &str = r#"
[budget]
rescue-clp = "1 MB"
[squashfs]
compressor = "zstd"
level = 3
block-size = 4096
[[tools]]
why = "a shell"
packages = ["x"]
programs = ["sh", "greet"]
files = ["/etc/greet"]
[[folder]]
path = "/tmp"
mode = "1777"
[[link]]
path = "/bin"
target = "usr/bin"
"#;

/// A relocatable ELF file with one section, `.modinfo`.
fn module(info: &str) -> Vec<u8> {
    let info = format!("{}\0", info.replace('|', "\0"));
    let names = b"\0.modinfo\0.shstrtab\0";
    let (info_at, names_at) = (64, 64 + info.len());
    let sections_at = (names_at + names.len()).next_multiple_of(8);
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    for half in [1_u16, 62] {
        elf.extend(half.to_le_bytes());
    }
    elf.extend(1_u32.to_le_bytes());
    for word in [0, 0, sections_at as u64] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(0_u32.to_le_bytes());
    for half in [64_u16, 0, 0, 64, 3, 2] {
        elf.extend(half.to_le_bytes());
    }
    elf.extend(info.as_bytes());
    elf.extend(names);
    elf.resize(sections_at + 64, 0);
    for (name, kind, at, size) in [
        (1_u32, 1_u32, info_at, info.len()),
        (10, 3, names_at, names.len()),
    ] {
        elf.extend(name.to_le_bytes());
        elf.extend(kind.to_le_bytes());
        for word in [0, 0, at as u64, size as u64, 0, 1, 0] {
            elf.extend(word.to_le_bytes());
        }
        elf.resize(elf.len().next_multiple_of(8), 0);
    }
    elf
}

struct World {
    _dir: tempfile::TempDir,
    root: PathBuf,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let world = Self {
            root: dir.path().to_owned(),
            _dir: dir,
        };
        world.write("images/stage1.toml", STAGE1);
        world.write("images/stage2.toml", STAGE2);
        world.write("kernel-config/a.config", "# because\nCONFIG_A=y\n");
        world.write("kernel/config-6.6", "CONFIG_A=y\n");
        world.write("kernel/vmlinuz-6.6", "a kernel");
        let modules = "kernel/lib/modules/6.6";
        world.write(
            &format!("{modules}/modules.order"),
            "kernel/net/card.ko\nkernel/net/rare.ko\n",
        );
        world.write(&format!("{modules}/modules.builtin"), "kernel/core.ko\n");
        for (path, info) in [
            (
                "net/card.ko",
                "alias=pci:v00008086d000010D3sv*sd*bc*sc*i*|depends=helper,core|vermagic=6.6 SMP",
            ),
            (
                "net/rare.ko",
                "alias=pci:v00001234d*sv*sd*bc*sc*i*|vermagic=6.6 SMP",
            ),
            ("lib/helper.ko", "vermagic=6.6 SMP"),
        ] {
            world.write(&format!("{modules}/kernel/{path}"), module(info));
        }
        world.program("root/bin/dash", "#!/bin/dash\n");
        world.program("root/usr/bin/greet", "#!/bin/sh -e\ncat /etc/greet/word\n");
        world.write("root/etc/greet/word", "hello\n");
        world.write(
            "root/usr/share/misc/pci.ids",
            "8086  Intel\n\t10d3  82574L\n\t0001  other\n",
        );
        symlink("dash", world.path("root/bin/sh")).unwrap();
        world.program("init", "init");
        world.program("goldring", "goldring");
        world
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn program(&self, path: &str, content: &str) {
        self.write(path, content);
        // Set-user-id must not survive.
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(0o4755)).unwrap();
    }

    fn options(&self) -> Options {
        Options {
            recipes: self.path("images"),
            kernel_config: self.path("kernel-config"),
            cache: self.path("apt"),
            out: self.path("out"),
            kernel_dir: Some(self.path("kernel")),
            sysroot: Some(self.path("root")),
            ca: None,
            compression: Compression::Xz,
            refresh: false,
            force: false,
            check_config: true,
            programs: Programs {
                init: self.path("init"),
                agent: self.path("goldring"),
                version: "0.0.1".into(),
            },
            builder: "builder".into(),
        }
    }

    fn make(&self) -> Made {
        make(&self.options(), &Progress::silent()).unwrap()
    }

    fn error(&self) -> String {
        format!(
            "{:#}",
            make(&self.options(), &Progress::silent()).unwrap_err()
        )
    }
}

fn sums(out: &Path) -> Vec<String> {
    [VMLINUZ, ALL_RDZ, RESCUE_CLP, "image.json", "SHA256SUMS"]
        .iter()
        .map(|name| digest::of_file(&out.join(name)).unwrap().0)
        .collect()
}

fn text(archives: &[inspect::Archive], path: &str) -> String {
    let entry = archives[0].entries.iter().find(|entry| entry.name == path);
    String::from_utf8(entry.unwrap_or_else(|| panic!("no {path}")).data.clone()).unwrap()
}

#[test]
fn two_worlds_make_the_same_bytes() {
    let (one, two) = (World::new(), World::new());
    let made = one.make();
    assert!(!made.up_to_date && !made.rows.iter().any(|row| row.over()));
    two.make();
    let (one_sums, mut two_sums) = (sums(&one.path("out")), sums(&two.path("out")));
    // image.json has a digest over times of the files in --kernel-dir and --sysroot.
    two_sums[3].clone_from(&one_sums[3]);
    assert_eq!(one_sums, two_sums);
    let left: Vec<_> = fs::read_dir(one.path("out")).unwrap().collect();
    assert_eq!(left.len(), 5, "something temporary was left: {left:?}");
}

#[test]
fn all_rdz_holds_what_init_reads() {
    let world = World::new();
    let made = world.make();
    let archives = inspect::read(&fs::read(world.path("out/all.rdz")).unwrap()).unwrap();
    let manifest = Manifest::parse(&text(&archives, "etc/goldring/manifest")).unwrap();
    assert_eq!(manifest.kernel, "6.6");
    assert_eq!(manifest.stage2_sha256, made.report.files[RESCUE_CLP].sha256);
    let modules = Modules::parse(&text(&archives, "etc/goldring/modules")).unwrap();
    assert_eq!(modules.get("card").unwrap().before, ["helper"]);
    let aliases = Aliases::parse(&text(&archives, "etc/goldring/aliases")).unwrap();
    assert_eq!(aliases.iter().count(), 1);
    assert!(text(&archives, "etc/goldring/absent").ends_with(" rare\n"));
    assert_eq!(
        text(&archives, "etc/goldring/names"),
        "8086  Intel\n\t10d3  82574L\n"
    );
    let list = inspect::list(&archives);
    for line in [
        "crw------- 0:0       5,1 dev/console",
        "crw-rw-rw- 0:0       1,3 dev/null",
        "-rwxr-xr-x 0:0         4 init",
        "lrwxrwxrwx 0:0         5 sbin/modprobe -> /init",
        "drwxr-xr-x 0:0         0 stage2",
    ] {
        assert!(list.contains(line), "{line} is not in\n{list}");
    }
    assert!(list.contains("lib/modules/6.6/kernel/lib/helper.ko"));
    assert!(!list.contains("rare.ko"));
}

#[test]
fn a_ca_goes_in_as_it_is_and_nothing_else_does() {
    let world = World::new();
    world.make();
    let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    world.write("ca.pem", pem);
    let options = Options {
        ca: Some(world.path("ca.pem")),
        ..world.options()
    };
    let made = || make(&options, &Progress::silent());
    assert!(!made().unwrap().up_to_date, "another image");
    assert!(made().unwrap().up_to_date);
    let archives = inspect::read(&fs::read(world.path("out/all.rdz")).unwrap()).unwrap();
    assert_eq!(text(&archives, "etc/goldring/ca.pem"), pem);
    for (ugly, sentence) in [
        ("hello", "holds no certificate in PEM"),
        (
            "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n",
            "holds a private key, which must not get into an image",
        ),
    ] {
        world.write("ca.pem", ugly);
        let error = format!("{:#}", made().unwrap_err());
        assert!(error.contains(sentence), "{error}");
    }
}

#[test]
fn rescue_clp_holds_tools_without_privileges() {
    let world = World::new();
    let made = world.make();
    assert_eq!(
        made.report.tools.keys().collect::<Vec<_>>(),
        ["/usr/bin/greet", "/usr/bin/sh"]
    );
    let file = std::io::BufReader::new(fs::File::open(world.path("out/rescue.clp")).unwrap());
    let squashfs = backhand::FilesystemReader::from_reader(file).unwrap();
    let node = |path: &str| {
        squashfs
            .files()
            .find(|node| node.fullpath == Path::new(path))
            .unwrap_or_else(|| panic!("no {path}"))
    };
    assert_eq!(node("/usr/bin/dash").header.permissions & 0o7777, 0o755);
    assert_eq!(node("/usr/bin/goldring").header.permissions & 0o7777, 0o755);
    assert_eq!(node("/etc/greet/word").header.permissions & 0o7777, 0o644);
    assert_eq!(node("/tmp").header.permissions & 0o7777, 0o1777);
    assert!(matches!(
        node("/usr/bin/sh").inner,
        backhand::InnerNode::Symlink(_)
    ));
    for node in squashfs.files() {
        assert_eq!(
            (node.header.uid, node.header.gid, node.header.mtime),
            (0, 0, 0)
        );
    }
}

#[test]
fn only_what_changed_is_made_again() {
    let world = World::new();
    world.make();
    assert!(world.make().up_to_date);
    let rescue = world.path("out/rescue.clp");
    let time = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    let before = time(&rescue);
    world.program("init", "a new init");
    assert!(!world.make().up_to_date);
    assert_eq!(time(&rescue), before);
    world.program("goldring", "a new agent");
    let report = world.make().report;
    assert_ne!(time(&rescue), before);
    assert_eq!(Report::read(&world.path("out")), Some(report.clone()));
    // Somebody damaged a file: it is made again, with the same bytes.
    fs::write(&rescue, "damaged").unwrap();
    assert_eq!(world.make().report, report);
    fs::remove_file(world.path("out/vmlinuz")).unwrap();
    world.make();
    assert!(world.path("out/vmlinuz").is_file());
    let mut force = world.options();
    force.force = true;
    assert!(!make(&force, &Progress::silent()).unwrap().up_to_date);
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    type Damage = fn(&World);
    let table: [(Damage, &str); 8] = [
        (
            |w| w.write("kernel/config-6.6", "CONFIG_B=y\n"),
            "CONFIG_A is not set, must be =y (because)",
        ),
        (
            |w| fs::remove_file(w.path("kernel/config-6.6")).unwrap(),
            "--no-config-check",
        ),
        (
            |w| fs::remove_file(w.path("root/usr/bin/greet")).unwrap(),
            "program greet of x (a shell)",
        ),
        (
            |w| w.program("root/usr/bin/greet", "#!/usr/bin/perl\n"),
            "script for /usr/bin/perl",
        ),
        (
            |w| w.write("kernel/lib/modules/6.6/kernel/net/bad.ko", "no module"),
            "module kernel/net/bad.ko: no ELF",
        ),
        (
            |w| {
                w.write(
                    "kernel/lib/modules/6.6/kernel/net/old.ko",
                    module("vermagic=5.0 SMP"),
                )
            },
            "for kernel 5.0, not for 6.6",
        ),
        (
            |w| fs::remove_file(w.path("root/usr/share/misc/pci.ids")).unwrap(),
            "pci.ids",
        ),
        (
            |w| w.write("images/stage1.toml", "[kernel]\npackage = []\n"),
            "stage1.toml: line 2",
        ),
    ];
    for (damage, problem) in table {
        let world = World::new();
        damage(&world);
        let error = world.error();
        assert!(error.contains(problem), "{problem}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

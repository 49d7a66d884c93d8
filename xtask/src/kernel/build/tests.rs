//! Builds of a source that is three files: real make, no compiler.

use super::*;

/// A Makefile with the targets of a kernel's. Its rules drop `CONFIG_LOST` and need
/// `CONFIG_KEPT` to compile.
const MAKEFILE: &str = r#"VERSION = 6
PATCHLEVEL = 1
R = 6.1.0-test
x86_64_defconfig:
	printf 'CONFIG_BASE=y\nCONFIG_OLD=y\nCONFIG_KEPT=y\n# CONFIG_LOST is not set\n' > $(O)/.config
olddefconfig:
	sed -i '/CONFIG_LOST/d' $(O)/.config
bzImage:
	grep -q CONFIG_KEPT=[ym] $(O)/.config || { echo 'x.c:1: error: nothing kept' >&2; exit 1; }
	mkdir -p $(O)/arch/x86/boot
	echo '  CC      init/main.o'
	echo kernel > $(O)/arch/x86/boot/bzImage
	touch $(O)/System.map
modules:
	true
modules_install:
	mkdir -p $(INSTALL_MOD_PATH)/lib/modules/$(R)/kernel
	echo module > $(INSTALL_MOD_PATH)/lib/modules/$(R)/kernel/a.ko
	ln -s / $(INSTALL_MOD_PATH)/lib/modules/$(R)/build
kernelrelease:
	@echo $(R)
"#;

struct Place {
    dir: tempfile::TempDir,
    build: Build,
}

impl Place {
    fn new(must: &str, small: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for folder in ["source/drivers", "config/small", "config/build"] {
            fs::create_dir_all(path(folder)).unwrap();
        }
        for (file, text) in [
            ("source/Makefile", MAKEFILE),
            ("source/Kconfig", "config KEPT\n\tbool\n"),
            ("source/drivers/Kconfig", "menuconfig LOST\n"),
            ("config/a.config", must),
            ("config/small/b.config", small),
            ("config/build/c.config", "# why\n# CONFIG_OLD is not set\n"),
        ] {
            fs::write(path(file), text).unwrap();
        }
        let build = Build {
            source: source::of_folder(&path("source")).unwrap(),
            folder: path("build"),
            fragments: path("config"),
            base: Base::Small,
            packages: path("apt"),
            jobs: 1,
        };
        Self { dir, build }
    }

    fn configure(&self) -> Result<String> {
        let file = self.build.configure(&Progress::silent())?;
        Ok(fs::read_to_string(file)?)
    }
}

#[test]
fn a_kernel_is_built_and_is_one_for_the_images() {
    let place = Place::new("# why\nCONFIG_KEPT=m\n", "# why\nCONFIG_SMALL=y\n");
    let config = place.configure().unwrap();
    for line in ["# CONFIG_OLD is not set", "CONFIG_KEPT=m", "CONFIG_SMALL=y"] {
        assert!(config.contains(line), "{config}");
    }
    let out = place.dir.path().join("out");
    // Twice: the second replaces the first.
    for _ in 0..2 {
        let built = place.build.build(&out, &Progress::silent()).unwrap();
        assert_eq!(built.release, "6.1.0-test");
        assert_eq!(
            (built.modules, built.modules_size, built.vmlinuz),
            (1, 7, 7)
        );
    }
    assert!(!out.join("lib/modules/6.1.0-test/build").is_symlink());
    let kernel = Kernel::in_folder(&out).unwrap();
    assert_eq!(kernel.release, "6.1.0-test");
    kconfig::check(&place.build.fragments, &kernel).unwrap();
}

#[test]
fn options_that_do_not_survive_are_named_with_their_reason() {
    let place = Place::new(
        "# disks hang there\nCONFIG_LOST=y\nCONFIG_NEVER=y\n# May be missing: rare.\nCONFIG_KEPT=y\n",
        "",
    );
    fs::write(
        place.dir.path().join("source/Makefile"),
        MAKEFILE.replace(
            "/CONFIG_LOST/d",
            "/CONFIG_LOST/d;/CONFIG_NEVER/d;/CONFIG_KEPT/d",
        ),
    )
    .unwrap();
    let error = format!("{:#}", place.configure().unwrap_err());
    for part in [
        "CONFIG_LOST is not set, must be =y (disks hang there): other options do not let it be so",
        "CONFIG_NEVER is not set, must be =y (disks hang there): this source has no such option",
    ] {
        assert!(error.contains(part), "{error}");
    }
    assert!(!error.contains("CONFIG_KEPT"), "only a note: {error}");
}

#[test]
fn what_does_not_compile_shows_the_compilers_words() {
    let place = Place::new("# why\n# CONFIG_KEPT is not set\n", "");
    place.configure().unwrap();
    let out = place.dir.path().join("out");
    let error = place.build.build(&out, &Progress::silent()).unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("x.c:1: error: nothing kept"), "{text}");
    assert!(text.contains("build.log") && !out.exists(), "{text}");
}

#[test]
fn somebodys_folder_is_not_replaced() {
    let place = Place::new("# why\nCONFIG_KEPT=y\n", "");
    place.configure().unwrap();
    let out = place.dir.path().join("out");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("thesis.tex"), "").unwrap();
    let error = place.build.build(&out, &Progress::silent()).unwrap_err();
    assert!(
        error.to_string().contains("something else in it"),
        "{error}"
    );
    assert!(out.join("thesis.tex").exists());
}

#[test]
fn a_base_is_a_word_or_a_file() {
    let mut place = Place::new("# why\nCONFIG_KEPT=y\n", "# why\nCONFIG_SMALL=y\n");
    let file = place.dir.path().join("mine");
    fs::write(&file, "CONFIG_MINE=y\n").unwrap();
    place.build.base = file.to_str().unwrap().parse().unwrap();
    let config = place.configure().unwrap();
    assert!(config.contains("CONFIG_MINE=y") && !config.contains("CONFIG_SMALL"));
    place.build.base = Base::File("/no/such".into());
    let error = format!("{:#}", place.configure().unwrap_err());
    assert!(
        error.contains("neither small nor debian") && error.contains("/no/such"),
        "{error}"
    );
    fs::write(&file, "not a config").unwrap();
    place.build.base = Base::File(file);
    let error = format!("{:#}", place.configure().unwrap_err());
    assert!(error.contains("is no kernel configuration"), "{error}");
}

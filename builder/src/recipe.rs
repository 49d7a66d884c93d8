//! What goes into the images: `images/stage1.toml` and `images/stage2.toml`.
//!
//! Both are read strictly: an unknown key, a wrong type or a word that makes no sense
//! is an error that shows the line.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use goldring_contract::image::Class;
use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::Error as _};

/// `images/stage1.toml`: the kernel and `all.rdz`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Stage1 {
    /// Which kernel, and what comes with it.
    pub kernel: KernelSource,
    /// Sizes that may not be exceeded.
    pub budget: Stage1Budget,
    /// Modules by path and by name.
    pub modules: Vec<ModuleSet>,
    /// Drivers whose absence is worth a word.
    pub absent: Absent,
    /// Names of PCI devices.
    pub names: NameSelection,
}

/// Where the kernel comes from when nobody says otherwise.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KernelSource {
    /// Packages, the first that the distribution has is taken.
    pub packages: Vec<String>,
    /// Packages with firmware, taken where the distribution has them.
    #[serde(default)]
    pub firmware_packages: Vec<String>,
}

/// Sizes in bytes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Stage1Budget {
    /// Of the program `init`.
    pub init: Size,
    /// Of an `init` with https, when that is more.
    pub init_https: Option<Size>,
    /// Of `all.rdz`.
    pub all_rdz: Size,
}

/// Modules that go in for one reason.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ModuleSet {
    /// What they are for; shown when a needed one is missing.
    pub why: String,
    /// What `init` may do with them.
    pub class: ClassWord,
    /// Files or folders below `lib/modules/RELEASE`, taken where the kernel has them.
    #[serde(default)]
    pub paths: Vec<Place>,
    /// Modules that the kernel must have, as modules or built in.
    #[serde(default)]
    pub needed: Vec<String>,
    /// Modules that are taken where the kernel has them.
    #[serde(default)]
    pub wanted: Vec<String>,
    /// Files, folders or modules of `paths` that stay out.
    #[serde(default)]
    pub except: Vec<Place>,
}

/// A path below the kernel's module folder, or a module's name.
pub type Place = String;

/// Drivers whose absence is worth a word when a machine has their device.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Absent {
    /// Files or folders below `lib/modules/RELEASE`.
    pub paths: Vec<Place>,
}

/// Which names of `pci.ids` go in, besides those of devices that a driver names.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NameSelection {
    /// The package that has `pci.ids`.
    pub package: String,
    /// Parts of names of devices that are driven by their class, not by their number.
    #[serde(default)]
    pub containing: Vec<String>,
}

/// `images/stage2.toml`: `rescue.clp`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Stage2 {
    /// Sizes that may not be exceeded.
    pub budget: Stage2Budget,
    /// How the squashfs is packed.
    pub squashfs: Squashfs,
    /// Programs and other files, by package.
    pub tools: Vec<ToolSet>,
    /// Libraries that programs load while they run, which no ELF header mentions.
    #[serde(default)]
    pub libraries: Vec<String>,
    /// Files that are never taken from a folder of `tools`.
    #[serde(default)]
    pub except: Vec<String>,
    /// Folders with their modes.
    #[serde(default)]
    pub folder: Vec<Folder>,
    /// Files with their texts.
    #[serde(default)]
    pub file: Vec<TextFile>,
    /// Symbolic links.
    #[serde(default)]
    pub link: Vec<Link>,
}

/// Sizes in bytes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Stage2Budget {
    /// Of `rescue.clp`.
    pub rescue_clp: Size,
}

/// How the squashfs is packed.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Squashfs {
    /// The compressor.
    pub compressor: Compressor,
    /// Its level.
    pub level: u32,
    /// Bytes that are compressed at once: a power of two, 4 KiB to 1 MiB.
    pub block_size: u32,
}

/// A compressor that kernels know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compressor {
    /// zstd, level 1 to 22.
    Zstd,
    /// xz, level 0 to 9.
    Xz,
}

/// Programs and files that go in for one reason.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ToolSet {
    /// What they are for.
    pub why: String,
    /// The packages that have them.
    pub packages: Vec<String>,
    /// Programs by name, looked for in `/usr/sbin` and `/usr/bin`.
    #[serde(default)]
    pub programs: Vec<String>,
    /// Programs that are taken where the packages have them: distributions move them.
    #[serde(default)]
    pub wanted: Vec<String>,
    /// Other files or folders by path.
    #[serde(default)]
    pub files: Vec<String>,
    /// Whether distributions without these packages get an image without them.
    #[serde(default)]
    pub optional: bool,
}

/// A folder.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Folder {
    /// Its path.
    pub path: String,
    /// Its permission bits, in octal as a text: `"1777"`.
    #[serde(default = "Mode::folder")]
    pub mode: Mode,
}

/// A file with a text.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TextFile {
    /// Its path.
    pub path: String,
    /// What is in it.
    pub text: String,
    /// Its permission bits, in octal as a text.
    #[serde(default = "Mode::file")]
    pub mode: Mode,
}

/// A symbolic link.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Link {
    /// Its path.
    pub path: String,
    /// What it points to.
    pub target: String,
}

/// Permission bits, written in octal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(pub u16);

impl Mode {
    fn folder() -> Self {
        Self(0o755)
    }

    fn file() -> Self {
        Self(0o644)
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        match u16::from_str_radix(&text, 8) {
            // Set-user-id has no place in a system where everybody is root.
            Ok(bits) if bits & !0o1777 == 0 => Ok(Self(bits)),
            _ => Err(D::Error::custom(format!(
                "mode {text:?} is none; write octal digits such as \"755\" or \"1777\""
            ))),
        }
    }
}

/// A size as `"18 MB"`, `"2.5 MB"` or `"700 KB"`: thousands and millions of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl Size {
    fn parse(text: &str) -> Option<Self> {
        let (number, unit) = text.split_once(' ')?;
        let unit: u64 = match unit {
            "MB" => 1_000_000,
            "KB" => 1_000,
            _ => return None,
        };
        let (whole, tenths) = number.split_once('.').unwrap_or((number, "0"));
        let digit = |text: &str| text.len() == 1 && text.starts_with(|c: char| c.is_ascii_digit());
        let tenths: u64 = tenths.parse().ok().filter(|_| digit(tenths))?;
        let whole: u64 = whole.parse().ok().filter(|_| !whole.starts_with('+'))?;
        whole
            .checked_mul(unit)?
            .checked_add(tenths * unit / 10)
            .map(Self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        Self::parse(&text).ok_or_else(|| {
            D::Error::custom(format!(
                "size {text:?} is none; write \"18 MB\", \"2.5 MB\" or \"700 KB\""
            ))
        })
    }
}

/// The word of a [`Class`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassWord(pub Class);

impl<'de> Deserialize<'de> for ClassWord {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let word = String::deserialize(input)?;
        Class::from_word(&word).map(Self).ok_or_else(|| {
            D::Error::custom(format!(
                "class {word:?} is none; write net, storage, bus, fs or other"
            ))
        })
    }
}

impl Stage1 {
    /// Reads the text of `stage1.toml`.
    ///
    /// # Errors
    /// Anything that is not exactly as described here; the message shows the line.
    pub fn parse(text: &str) -> Result<Self> {
        parse(text)
    }
}

impl Stage2 {
    /// Reads the text of `stage2.toml`.
    ///
    /// # Errors
    /// Anything that is not exactly as described here; the message shows the line.
    pub fn parse(text: &str) -> Result<Self> {
        let stage2: Self = parse(text)?;
        let size = stage2.squashfs.block_size;
        if !size.is_power_of_two() || !(4096..=1 << 20).contains(&size) {
            return Err(anyhow!(
                "squashfs.block-size {size} is not a power of two from 4096 to 1048576"
            ));
        }
        Ok(stage2)
    }

    /// Packages that must be there, and those that need not.
    pub fn packages(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let of = |optional: bool| {
            self.tools
                .iter()
                .filter(|set| set.optional == optional)
                .flat_map(|set| set.packages.iter().cloned())
                .collect()
        };
        (of(false), of(true))
    }
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T> {
    toml::from_str(text).map_err(|error| anyhow!("{}", one_line(&error, text)))
}

/// toml's message spans several lines with a drawing; a log wants one.
fn one_line(error: &toml::de::Error, text: &str) -> String {
    let Some(span) = error.span() else {
        return error.message().to_owned();
    };
    let before = &text[..span.start.min(text.len())];
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
    let shown = text.lines().nth(line - 1).unwrap_or_default().trim();
    format!(
        "line {line}, column {column} ({shown}): {}",
        error.message()
    )
}

/// Reads a recipe from a file.
///
/// # Errors
/// It cannot be read, or those of `parse`.
pub fn read<T>(path: &Path, parse: impl Fn(&str) -> Result<T>) -> Result<(T, String)> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let recipe = parse(&text).with_context(|| path.display().to_string())?;
    Ok((recipe, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAGE2: &str = "[budget]\nrescue-clp = \"80 MB\"\n[squashfs]\ncompressor = \"zstd\"\nlevel = 15\nblock-size = 131072\n";

    #[test]
    fn the_recipes_of_this_repository_are_good() {
        let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images");
        let (stage1, _) = read(&images.join("stage1.toml"), Stage1::parse).unwrap();
        assert_eq!(stage1.budget.all_rdz, Size(18_000_000));
        let (stage2, _) = read(&images.join("stage2.toml"), Stage2::parse).unwrap();
        assert_eq!(stage2.budget.rescue_clp, Size(80_000_000));
    }

    #[test]
    fn ugly_recipes_are_errors_with_their_line() {
        let tools = format!("{STAGE2}[[tools]]\nwhy = \"x\"\npackages = [\"p\"]\n");
        let table = [
            ("".to_owned(), "missing field `budget`"),
            (format!("{STAGE2}toolz = 1\n"), "toolz"),
            (
                format!("{tools}program = [\"x\"]\n"),
                "line 10, column 1 (program = [\"x\"]): unknown field `program`",
            ),
            (format!("{tools}programs = \"x\"\n"), "line 10"),
            (tools.replace("80 MB", "80"), "size \"80\" is none"),
            (tools.replace("80 MB", "99999999999999999999 MB"), "is none"),
            (tools.replace("131072", "131073"), "power of two"),
            (tools.replace("zstd", "lzo"), "lzo"),
            (
                format!("{tools}[[folder]]\npath = \"/x\"\nmode = \"4755\"\n"),
                "mode \"4755\"",
            ),
            (
                format!("{tools}[[folder]]\npath = \"/x\"\nmode = 755\n"),
                "line 12",
            ),
            (
                format!("{tools}[[link]]\npath = \"/x\"\n"),
                "missing field `target`",
            ),
            (format!("{tools}[[tools"), "line 10"),
        ];
        for (text, problem) in table {
            let error = Stage2::parse(&text).unwrap_err().to_string();
            assert!(error.contains(problem), "{problem}: {error}");
            assert!(!error.contains('\n'), "more than one line: {error}");
        }
        let good = Stage2::parse(&format!("{tools}optional = true\n")).unwrap();
        assert_eq!(good.packages().1, BTreeSet::from(["p".to_owned()]));
    }

    #[test]
    fn sizes_may_have_tenths() {
        let size = |text| Size::parse(text).map(|size| size.0);
        assert_eq!(size("18 MB"), Some(18_000_000));
        assert_eq!(size("2.5 MB"), Some(2_500_000));
        assert_eq!(size("700 KB"), Some(700_000));
        for ugly in [
            "",
            "18",
            "MB",
            " MB",
            "18MB",
            "18 GB",
            "2. MB",
            ".5 MB",
            "2.55 MB",
            "2.+ MB",
            "+2 MB",
            "-2 MB",
            "2,5 MB",
            "18446744073709551615 MB",
        ] {
            assert_eq!(size(ugly), None, "{ugly}");
        }
    }

    #[test]
    fn the_recipes_of_this_project_are_read() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../images");
        let text = |file| std::fs::read_to_string(folder.join(file)).unwrap();
        Stage1::parse(&text("stage1.toml")).unwrap();
        Stage2::parse(&text("stage2.toml")).unwrap();
    }

    #[test]
    fn classes_are_words_of_the_contract() {
        let text = |class: &str| {
            format!(
                "kernel.packages = []\nbudget = {{init = \"2 MB\", all-rdz = \"18 MB\"}}\nabsent.paths = []\n\
             names.package = \"pci.ids\"\n[[modules]]\nwhy = \"x\"\nclass = \"{class}\"\n"
            )
        };
        assert_eq!(
            Stage1::parse(&text("net")).unwrap().modules[0].class.0,
            Class::Network
        );
        let error = Stage1::parse(&text("nets")).unwrap_err().to_string();
        assert!(
            error.contains("line 7") && error.contains("class \"nets\""),
            "{error}"
        );
    }
}

//! What a kernel must have been configured with: fragments with reasons, and the check.
//!
//! The same fragments configure a kernel that is built for the images: [`merge`] puts
//! them into a configuration, and [`missing`] names what the kernel's own rules
//! (`make olddefconfig`) did not let live.
//!
//! A fragment is written like a kernel's configuration. The comment above a block is
//! the reason for it. A reason that begins with "May be missing:" is for kernels that
//! are built with these fragments; another kernel without it gets a note, no error.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::kernel::Kernel;

/// One option that a kernel must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// Its name, `CONFIG_…`.
    pub option: String,
    /// What it must be.
    pub wanted: Wanted,
    /// Why.
    pub reason: String,
    /// Whether a kernel without it will do.
    pub may_be_missing: bool,
}

/// How the reason of what may be missing begins.
const MAY_BE_MISSING: &str = "May be missing: ";

/// What an option must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Built in: it is needed before any module is there.
    BuiltIn,
    /// Built in or a module.
    Present,
    /// Not set.
    Unset,
    /// A text that must be empty, where there is one.
    NoText,
}

impl Wanted {
    /// As a person reads it behind the option's name.
    pub fn shown(self) -> &'static str {
        match self {
            Self::BuiltIn => "=y",
            Self::Present => "=y or =m",
            Self::Unset => "not set",
            Self::NoText => "=\"\"",
        }
    }
}

/// Reads a fragment. A comment is the reason of the options below it, up to the next
/// comment; `=m` means that built in is fine as well.
///
/// # Errors
/// A line that is neither, or an option without a reason.
pub fn parse_fragment(text: &str) -> Result<Vec<Requirement>> {
    let mut requirements = Vec::new();
    let mut reason = String::new();
    let mut in_comment = false;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(option) = unset(line) {
            in_comment = false;
            requirements.push(requirement(option, Wanted::Unset, &reason, number)?);
        } else if let Some(comment) = line.strip_prefix('#') {
            if !in_comment {
                reason.clear();
            }
            in_comment = true;
            let gap = if reason.is_empty() { "" } else { " " };
            reason = format!("{reason}{gap}{}", comment.trim());
        } else if !line.is_empty() {
            in_comment = false;
            let wanted = match line.split_once('=') {
                Some((option, "y")) => (option, Wanted::BuiltIn),
                Some((option, "m")) => (option, Wanted::Present),
                Some((option, "\"\"")) => (option, Wanted::NoText),
                _ => bail!(
                    "line {}: {line:?} is not CONFIG_X=y, =m, =\"\" or \"# CONFIG_X is not set\"",
                    number + 1
                ),
            };
            requirements.push(requirement(wanted.0, wanted.1, &reason, number)?);
        }
    }
    Ok(requirements)
}

fn requirement(option: &str, wanted: Wanted, reason: &str, number: usize) -> Result<Requirement> {
    let name = option.strip_prefix("CONFIG_").unwrap_or_default();
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        bail!("line {}: {option:?} is no option", number + 1);
    }
    if reason.is_empty() {
        bail!(
            "line {}: {option} has no reason; write a comment above it",
            number + 1
        );
    }
    let plain = reason.strip_prefix(MAY_BE_MISSING);
    Ok(Requirement {
        option: option.to_owned(),
        wanted,
        reason: plain.unwrap_or(reason).trim_end_matches('.').to_owned(),
        may_be_missing: plain.is_some(),
    })
}

/// `# CONFIG_X is not set`.
fn unset(line: &str) -> Option<&str> {
    line.strip_prefix("# ")?
        .strip_suffix(" is not set")
        .filter(|option| option.starts_with("CONFIG_"))
}

/// Reads a kernel's configuration: options that are set, with their values.
pub fn parse_config(text: &str) -> BTreeMap<&str, &str> {
    text.lines()
        .filter(|line| line.starts_with("CONFIG_"))
        .filter_map(|line| line.trim().split_once('='))
        .collect()
}

/// What a configuration lacks: the requirement, and a sentence about it.
pub fn missing<'r>(
    requirements: &'r [Requirement],
    config: &BTreeMap<&str, &str>,
) -> Vec<(&'r Requirement, String)> {
    let mut sentences = Vec::new();
    for requirement in requirements {
        let option = &requirement.option;
        let value = config.get(option.as_str()).copied();
        let met = match requirement.wanted {
            Wanted::BuiltIn => value == Some("y"),
            Wanted::Present => matches!(value, Some("y" | "m")),
            Wanted::Unset => matches!(value, None | Some("n")),
            Wanted::NoText => matches!(value, None | Some("\"\"")),
        };
        if met {
            continue;
        }
        let wanted = requirement.wanted.shown();
        let value = value.map_or("not set".to_owned(), |value| format!("={value}"));
        let reason = &requirement.reason;
        let sentence = format!("{option} is {value}, must be {wanted} ({reason})");
        sentences.push((requirement, sentence));
    }
    sentences
}

/// Puts requirements into a configuration. Whether they can all be had together only
/// the kernel's own rules know: run `make olddefconfig`, then see [`missing`].
pub fn merge(config: &str, requirements: &[Requirement]) -> String {
    let named = |line: &str| {
        let option = unset(line).or_else(|| line.split_once('=').map(|(option, _)| option));
        option.is_some_and(|option| requirements.iter().any(|r| r.option == option))
    };
    let kept = config.lines().filter(|line| !named(line.trim()));
    let mut text: String = kept.map(|line| format!("{line}\n")).collect();
    for Requirement { option, wanted, .. } in requirements {
        text.push_str(&match wanted {
            Wanted::BuiltIn => format!("{option}=y\n"),
            Wanted::Present => format!("{option}=m\n"),
            Wanted::Unset => format!("# {option} is not set\n"),
            Wanted::NoText => format!("{option}=\"\"\n"),
        });
    }
    text
}

/// The largest configuration that is read; Debian's has 260 kB.
const CONFIG_MAX: u64 = 16 << 20;

/// Reads the text of a configuration, from a file (plain, or packed with gzip or xz,
/// such as `/proc/config.gz`) or from a folder with a kernel.
///
/// # Errors
/// It cannot be read, or it is something else.
pub fn read_config(path: &Path) -> Result<String> {
    let file = if path.is_dir() {
        let kernel = Kernel::in_folder(path)?;
        kernel.config.with_context(|| {
            format!(
                "{} has a kernel, but not its configuration; put it there as config-{}",
                path.display(),
                kernel.release
            )
        })?
    } else {
        path.to_owned()
    };
    let context = || format!("reading {}", file.display());
    let bytes = File::open(&file).and_then(bounded).with_context(context)?;
    let bytes = match bytes.as_slice() {
        [0x1f, 0x8b, ..] => bounded(flate2::read::MultiGzDecoder::new(bytes.as_slice())),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            bounded(liblzma::read::XzDecoder::new(bytes.as_slice()))
        }
        _ => Ok(bytes),
    }
    .with_context(context)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if parse_config(&text).is_empty() {
        bail!(
            "{} is no kernel configuration: it has no line that begins with CONFIG_",
            file.display()
        );
    }
    Ok(text)
}

fn bounded(reader: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(CONFIG_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > CONFIG_MAX {
        return Err(std::io::Error::other("more than any configuration has"));
    }
    Ok(bytes)
}

/// Reads all fragments of a folder, in order of their names.
///
/// # Errors
/// The folder cannot be read, or a fragment is broken.
pub fn read_fragments(folder: &Path) -> Result<Vec<Requirement>> {
    let context = || format!("reading {}", folder.display());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(context)? {
        let path = entry.with_context(context)?.path();
        if path.extension().is_some_and(|ending| ending == "config") {
            paths.push(path);
        }
    }
    paths.sort();
    let mut all = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("reading {}", path.display()))?;
        all.extend(parse_fragment(&text).with_context(|| path.display().to_string())?);
    }
    Ok(all)
}

/// Checks a kernel against the fragments of a folder. Returns notes about what it lacks
/// and may lack.
///
/// # Errors
/// Its configuration is not known, or lacks something.
pub fn check(fragments: &Path, kernel: &Kernel) -> Result<Vec<String>> {
    let requirements = read_fragments(fragments)?;
    let Some(path) = &kernel.config else {
        bail!(
            "the configuration of Linux {} is not known: put it beside vmlinuz as config-{}, or \
             skip the check with --no-config-check",
            kernel.release,
            kernel.release
        );
    };
    let text = read_config(path)?;
    let missing = missing(&requirements, &parse_config(&text));
    let (notes, errors): (Vec<_>, Vec<_>) = missing
        .into_iter()
        .partition(|(requirement, _)| requirement.may_be_missing);
    let sentences = |list: Vec<(&Requirement, String)>| -> Vec<String> {
        list.into_iter().map(|(_, sentence)| sentence).collect()
    };
    if !errors.is_empty() {
        bail!(
            "Linux {} cannot be used: {}; take another kernel, or skip the check with \
             --no-config-check",
            kernel.release,
            sentences(errors).join("; ")
        );
    }
    Ok(sentences(notes))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_fragments_of_this_repository_are_good() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernel-config");
        let mut all = read_fragments(&folder).unwrap();
        assert!(all.len() > 60);
        for own in ["build", "small"] {
            all.extend(read_fragments(&folder.join(own)).unwrap());
        }
        let mut names: Vec<_> = all.iter().map(|r| &r.option).collect();
        names.sort();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "an option is there twice");
    }

    #[test]
    fn a_reason_is_for_the_block_below_it() {
        let text = "# one\n# reason\nCONFIG_A=y\nCONFIG_B=m\n\n# May be missing: other.\n# CONFIG_C is not set\n";
        let all = parse_fragment(text).unwrap();
        let facts: Vec<_> = all
            .iter()
            .map(|r| {
                (
                    r.option.as_str(),
                    r.wanted,
                    r.reason.as_str(),
                    r.may_be_missing,
                )
            })
            .collect();
        assert_eq!(
            facts,
            [
                ("CONFIG_A", Wanted::BuiltIn, "one reason", false),
                ("CONFIG_B", Wanted::Present, "one reason", false),
                ("CONFIG_C", Wanted::Unset, "other", true),
            ]
        );
    }

    #[test]
    fn ugly_fragments_are_errors_with_their_line() {
        for (text, problem) in [
            ("CONFIG_A=y", "line 1: CONFIG_A has no reason"),
            ("# why\nCONFIG_A", "line 2"),
            ("# why\nCONFIG_A=n", "line 2"),
            ("# why\nCONFIG_A=\"x\"", "line 2"),
            ("# why\nA=y", "\"A\" is no option"),
            ("# why\nCONFIG_=y", "is no option"),
            ("# why\nCONFIG_A-B=y", "is no option"),
        ] {
            let error = parse_fragment(text).unwrap_err().to_string();
            assert!(error.contains(problem), "{text:?}: {error}");
        }
        assert_eq!(parse_fragment("\n# only talk\n\n").unwrap(), []);
    }

    #[test]
    fn what_is_missing_is_named_with_its_reason() {
        let fragment = "# why\nCONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\n";
        let requirements = parse_fragment(fragment).unwrap();
        let sentences = |config: &str| -> Vec<String> {
            let missing = missing(&requirements, &parse_config(config));
            missing.into_iter().map(|(_, sentence)| sentence).collect()
        };
        for good in [
            "CONFIG_A=y\nCONFIG_B=y\n",
            "#\n\nCONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_D=\"a=b\"\ngarbage",
        ] {
            assert!(sentences(good).is_empty(), "{good:?}");
        }
        assert_eq!(
            sentences("CONFIG_A=m\nCONFIG_C=y\n"),
            [
                "CONFIG_A is =m, must be =y (why)",
                "CONFIG_B is not set, must be =y or =m (why)",
                "CONFIG_C is =y, must be not set (why)",
            ]
        );
        assert_eq!(sentences("").len(), 2);
    }

    #[test]
    fn what_is_merged_is_not_missing() {
        let requirements =
            parse_fragment("# why\nCONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_D=\"\"\n")
                .unwrap();
        for base in [
            "",
            "CONFIG_A=m\nCONFIG_AB=y\n",
            "# CONFIG_A is not set\nCONFIG_C=y\nCONFIG_AB=y\nCONFIG_D=\"debian/x.pem\"\n# talk",
        ] {
            let text = merge(base, &requirements);
            assert!(missing(&requirements, &parse_config(&text)).is_empty());
            assert_eq!(text.contains("CONFIG_AB=y"), base.contains("CONFIG_AB=y"));
            assert_eq!(text.matches("CONFIG_A=").count(), 1, "{text}");
            assert!(!text.contains("CONFIG_C=") && !text.contains("x.pem"));
        }
        let config = parse_config("CONFIG_A=y\nCONFIG_B=y\nCONFIG_D=\"x\"\n");
        let (_, sentence) = &missing(&requirements, &config)[0];
        assert_eq!(sentence, "CONFIG_D is =\"x\", must be =\"\" (why)");
    }

    #[test]
    fn a_configuration_is_read_in_every_wrapping_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config");
        let text = "CONFIG_A=y\n";
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(text.as_bytes()).unwrap();
        let gz = gz.finish().unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 0);
        xz.write_all(text.as_bytes()).unwrap();
        let xz = xz.finish().unwrap();
        for bytes in [text.as_bytes(), &gz, &xz] {
            std::fs::write(&file, bytes).unwrap();
            assert_eq!(read_config(&file).unwrap(), text);
        }
        for (ugly, problem) in [
            (&b""[..], "is no kernel configuration"),
            (b"\xff\xfe\0\0", "is no kernel configuration"),
            (b"# CONFIG_A is not set\n", "is no kernel configuration"),
            (b"\x7fELF", "is no kernel configuration"),
            (&gz[..gz.len() - 9], "reading"),
            (&xz[..xz.len() / 2], "reading"),
            (b"\x1f\x8b", "reading"),
        ] {
            std::fs::write(&file, ugly).unwrap();
            let error = format!("{:#}", read_config(&file).unwrap_err());
            assert!(error.contains(problem), "{ugly:?}: {error}");
        }
        let error = format!("{:#}", read_config(dir.path()).unwrap_err());
        assert!(error.contains("looking for a kernel"), "{error}");
        let module = dir.path().join("lib/modules/6.1/kernel");
        std::fs::create_dir_all(&module).unwrap();
        std::fs::write(module.join("a.ko"), "").unwrap();
        std::fs::write(dir.path().join("vmlinuz"), "").unwrap();
        std::fs::write(&file, text).unwrap();
        assert_eq!(read_config(dir.path()).unwrap(), text);
        std::fs::remove_file(&file).unwrap();
        let error = format!("{:#}", read_config(dir.path()).unwrap_err());
        assert!(error.contains("put it there as config-6.1"), "{error}");
    }

    #[test]
    fn a_bomb_is_no_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.gz");
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&vec![b'\n'; CONFIG_MAX as usize + 1]).unwrap();
        std::fs::write(&file, gz.finish().unwrap()).unwrap();
        let error = format!("{:#}", read_config(&file).unwrap_err());
        assert!(error.contains("more than any configuration has"), "{error}");
    }

    #[test]
    fn a_kernel_without_a_known_configuration_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config");
        std::fs::write(dir.path().join("x.config"), "# why\nCONFIG_A=y\n").unwrap();
        let mut kernel = Kernel {
            release: "6.1".into(),
            vmlinuz: dir.path().join("vmlinuz"),
            config: None,
            files: Vec::new(),
            packages: Vec::new(),
        };
        let error = check(dir.path(), &kernel).unwrap_err().to_string();
        assert!(
            error.contains("config-6.1") && error.contains("--no-config-check"),
            "{error}"
        );
        std::fs::write(&config, "CONFIG_B=y\n").unwrap();
        kernel.config = Some(config.clone());
        let error = check(dir.path(), &kernel).unwrap_err().to_string();
        assert!(
            error.contains("CONFIG_A is not set, must be =y (why)"),
            "{error}"
        );
        std::fs::write(&config, "CONFIG_A=y\n").unwrap();
        assert!(check(dir.path(), &kernel).unwrap().is_empty());
    }
}

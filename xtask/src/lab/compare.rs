//! A disk and its copy, byte by byte.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Reads `one` to the end; `other` may be longer.
///
/// # Errors
/// The first byte that differs, or a copy that is too short.
pub(super) fn identical(one: &Path, other: &Path) -> Result<()> {
    let open =
        |path: &Path| File::open(path).with_context(|| format!("opening {}", path.display()));
    let (mut a, mut b) = (open(one)?, open(other)?);
    let (la, lb) = (a.metadata()?.len(), b.metadata()?.len());
    if lb < la {
        bail!(
            "{} has {la} bytes, {} has {lb}",
            one.display(),
            other.display()
        );
    }
    let (mut buffer_a, mut buffer_b) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut offset = 0;
    while offset < la {
        let length = usize::try_from((la - offset).min(1 << 20))?;
        a.read_exact(&mut buffer_a[..length])?;
        b.read_exact(&mut buffer_b[..length])?;
        if buffer_a[..length] != buffer_b[..length] {
            let first = buffer_a
                .iter()
                .zip(&buffer_b)
                .take_while(|(x, y)| x == y)
                .count();
            bail!("they differ at byte {}", offset + first as u64);
        }
        offset += length as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::identical;

    #[test]
    fn a_single_byte_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        let mut bytes = vec![7_u8; (1 << 20) + 4097];
        std::fs::write(&a, &bytes).unwrap();
        std::fs::write(&b, &bytes).unwrap();
        identical(&a, &b).unwrap();
        bytes[(1 << 20) + 4000] = 8;
        std::fs::write(&b, &bytes).unwrap();
        let error = identical(&a, &b).unwrap_err().to_string();
        assert!(error.ends_with("differ at byte 1052576"), "{error}");
        std::fs::write(&b, &bytes[1..]).unwrap();
        assert!(identical(&a, &b).is_err());
        bytes[(1 << 20) + 4000] = 7;
        bytes.push(9);
        std::fs::write(&b, &bytes).unwrap();
        identical(&a, &b).unwrap();
    }
}

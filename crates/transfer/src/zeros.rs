//! Zeros to write or to send, once for the whole program.

use std::sync::LazyLock;

/// As many as anybody needs at once.
const MOST: usize = crate::pump::BUFFER;
const _: () = assert!(MOST >= goldring_wire::dollyplus::own::CHUNK);

/// So many zeros, at most [`crate::pump::BUFFER`]. They are asked of the system when they are first
/// wanted: as a constant they would make the program larger by as much.
pub(crate) fn zeros(length: usize) -> &'static [u8] {
    static ZEROS: LazyLock<Vec<u8>> = LazyLock::new(|| vec![0; MOST]);
    &ZEROS[..length]
}

//! Random numbers from the kernel.

use rustix::rand::{GetRandomFlags, getrandom};

/// Random bytes that nobody can guess once the kernel's pool is ready, never blocking.
///
/// Early in boot the pool may not be ready; then, and on kernels before 5.6 that lack
/// `GRND_INSECURE` (getrandom(2)), the clock serves, which only tells nodes apart.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    match getrandom(&mut bytes[..], GetRandomFlags::INSECURE) {
        Ok(n) if n == N => bytes,
        _ => {
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
            // Odd multiplier (Knuth): neighbouring clocks give distant numbers.
            let mut number = (now.tv_nsec as u32).wrapping_mul(2_654_435_761);
            for byte in &mut bytes {
                *byte = number.to_ne_bytes()[0];
                number = number.rotate_right(8).wrapping_mul(2_654_435_761);
            }
            bytes
        }
    }
}

/// A random number that is good enough to tell nodes apart; see [`bytes`].
pub fn number() -> u32 {
    u32::from_ne_bytes(bytes())
}

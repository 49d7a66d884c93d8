//! The kernel's own clock.

use rustix::time::{ClockId, clock_gettime};

/// Seconds since the kernel started (`CLOCK_BOOTTIME`, clock_gettime(2)).
pub fn since_kernel_start() -> f64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

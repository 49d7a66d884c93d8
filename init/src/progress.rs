//! How far stage 2 has come: a bar that is drawn over itself on a screen, and a line now
//! and then elsewhere.

use std::time::{Duration, Instant};

use goldring_transfer::fetch::Progress;

use crate::console;

/// Before the first line; the pause doubles with each line…
const BEAT: Duration = Duration::from_secs(2);
/// … up to this, so that a slow fetch does not fill a serial console.
const BEAT_MAX: Duration = Duration::from_secs(16);
/// Between two bars.
const REDRAW: Duration = Duration::from_millis(250);
/// The longest bar between its brackets, and the shortest that is worth drawing.
const BAR: usize = 20;
const BAR_MIN: usize = 5;

/// When to show progress, and how often.
pub(crate) struct Beat {
    last: Instant,
    pause: Duration,
    drawn: Option<Instant>,
}

impl Beat {
    pub(crate) fn new() -> Self {
        Self {
            last: Instant::now(),
            pause: BEAT,
            drawn: None,
        }
    }

    pub(crate) fn progress(&mut self, progress: Progress) {
        let done = progress.bytes == progress.total;
        let now = Instant::now();
        let due = done || now.duration_since(self.last) >= self.pause;
        let old = |at: Instant| now.duration_since(at) >= REDRAW;
        if !due && !self.drawn.is_none_or(old) {
            return;
        }
        self.drawn = Some(now);
        let line = due.then(|| {
            self.last = now;
            self.pause = (self.pause * 2).min(BEAT_MAX);
            format!("stage 2: {}", line(progress))
        });
        console::progress(|columns| bar(progress, columns), line.as_deref(), done);
    }
}

/// `35.5 of 71.0 MB (50 %), 11.2 MB/s, 3 s left`.
fn line(progress: Progress) -> String {
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    let seconds = progress.elapsed.as_secs_f64().max(0.001);
    let left = match left(progress) {
        Some(left) => format!(", {left} left"),
        None => String::new(),
    };
    format!(
        "{:.1} of {:.1} MB ({} %), {:.1} MB/s{left}",
        megabytes(progress.bytes),
        megabytes(progress.total),
        progress.bytes.saturating_mul(100) / progress.total.max(1),
        megabytes(progress.bytes) / seconds
    )
}

/// `stage 2 [##########----------] 35.5 of 71.0 MB (50 %), 11.2 MB/s, 3 s left`, in one
/// line of so many columns.
fn bar(progress: Progress, columns: usize) -> String {
    let line = line(progress);
    let beside = "stage 2 [] ".len() + line.len();
    // The last column would begin a new line.
    let room = columns.saturating_sub(beside + 1).min(BAR);
    let text = if room < BAR_MIN {
        format!("stage 2: {line}")
    } else {
        let full = u128::from(progress.bytes) * room as u128 / u128::from(progress.total.max(1));
        let full = usize::try_from(full).unwrap_or(room).min(room);
        format!(
            "stage 2 [{}{}] {line}",
            "#".repeat(full),
            "-".repeat(room - full)
        )
    };
    text.chars().take(columns.saturating_sub(1)).collect()
}

/// How long the rest takes at the rate so far; unknown at the begin, nothing at the end.
fn left(progress: Progress) -> Option<String> {
    let rest = progress.total.saturating_sub(progress.bytes);
    if rest == 0 || progress.bytes == 0 {
        return None;
    }
    let seconds = progress.elapsed.as_secs_f64() * rest as f64 / progress.bytes as f64;
    let seconds = seconds.ceil() as u64;
    Some(match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3600)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(bytes: u64, total: u64, seconds: u64) -> Progress {
        Progress {
            bytes,
            total,
            elapsed: Duration::from_secs(seconds),
        }
    }

    #[test]
    fn a_line_tells_rate_and_time_left() {
        let table = [
            (
                at(35_500_000, 71_000_000, 5),
                "35.5 of 71.0 MB (50 %), 7.1 MB/s, 5 s left",
            ),
            (
                at(71_000_000, 71_000_000, 10),
                "71.0 of 71.0 MB (100 %), 7.1 MB/s",
            ),
            (at(0, 71_000_000, 0), "0.0 of 71.0 MB (0 %), 0.0 MB/s"),
            (
                at(1_000_000, 71_000_000, 10),
                "1.0 of 71.0 MB (1 %), 0.1 MB/s, 12 min left",
            ),
            (
                at(100_000, 71_000_000, 60),
                "0.1 of 71.0 MB (0 %), 0.0 MB/s, 12 h left",
            ),
            (at(0, 0, 0), "0.0 of 0.0 MB (0 %), 0.0 MB/s"),
        ];
        for (progress, expected) in table {
            assert_eq!(line(progress), expected);
        }
    }

    #[test]
    fn a_bar_fits_into_its_line() {
        let half = at(35_500_000, 71_000_000, 5);
        assert_eq!(
            bar(half, 80),
            "stage 2 [##########----------] 35.5 of 71.0 MB (50 %), 7.1 MB/s, 5 s left"
        );
        assert_eq!(
            bar(half, 64),
            "stage 2 [#####-----] 35.5 of 71.0 MB (50 %), 7.1 MB/s, 5 s left"
        );
        assert_eq!(
            bar(half, 56),
            "stage 2: 35.5 of 71.0 MB (50 %), 7.1 MB/s, 5 s left"
        );
        for progress in [half, at(0, 0, 0), at(9, 3, 1), at(u64::MAX, u64::MAX, 1)] {
            for columns in 0..200 {
                assert!(bar(progress, columns).len() < columns.max(1), "{columns}");
            }
        }
        let more_than_all = bar(at(9, 3, 1), 80);
        assert!(more_than_all.starts_with("stage 2 [####################] "));
    }
}

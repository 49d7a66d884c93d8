//! Dates for people, in UTC.

/// `2026-11-28`, of so many seconds since 1970. Days to dates as in Howard Hinnant's
/// `civil_from_days`.
pub fn date(seconds: u64) -> String {
    let days = seconds / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day + 2) / 153;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{:02}", day - (153 * shifted + 2) / 5 + 1)
}

/// `2026-11-28 12:31`, of so many seconds since 1970.
pub fn minute(seconds: u64) -> String {
    let (hour, minute) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{} {hour:02}:{minute:02}", date(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written() {
        for (seconds, written) in [
            (0, "1970-01-01 00:00"),
            (951_782_400, "2000-02-29 00:00"),
            (951_868_800, "2000-03-01 00:00"),
            (1_798_761_599, "2026-12-31 23:59"),
            (4_102_444_800, "2100-01-01 00:00"),
        ] {
            assert_eq!(minute(seconds), written);
            assert_eq!(date(seconds), written[..10]);
        }
        // Whatever a file says, it is some date.
        assert!(!minute(u64::MAX).is_empty());
    }
}

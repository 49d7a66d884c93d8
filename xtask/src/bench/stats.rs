//! Least, middle and greatest of some figures.

/// Of at least one figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    pub(super) least: f64,
    pub(super) median: f64,
    pub(super) greatest: f64,
}

/// `None` without figures.
pub(super) fn spread(figures: &[f64]) -> Option<Spread> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let median = match sorted.len() % 2 {
        0 => (sorted.get(middle.checked_sub(1)?)? + sorted[middle]) / 2.0,
        _ => sorted[middle],
    };
    Some(Spread {
        least: *sorted.first()?,
        median,
        greatest: *sorted.last()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_in_the_middle() {
        assert_eq!(spread(&[]), None);
        let one = spread(&[4.0]).unwrap();
        assert_eq!((one.least, one.median, one.greatest), (4.0, 4.0, 4.0));
        let three = spread(&[9.0, 1.0, 2.0]).unwrap();
        assert_eq!((three.least, three.median, three.greatest), (1.0, 2.0, 9.0));
        assert_eq!(spread(&[1.0, 2.0, 4.0, 9.0]).unwrap().median, 3.0);
    }
}

//! The calculations.

/// Bytes of an Ethernet frame that a link's limit counts: addresses, type, 1500 of IP.
const FRAME: f64 = 1514.0;
/// Bytes of data in it, after 20 of IP, 20 of TCP and 12 of TCP's time stamp.
const PAYLOAD: f64 = 1448.0;
/// Bytes of a GiB.
const GIB: f64 = (1_u64 << 30) as f64;

/// Bytes of data that a link of `rate` Mbit/s takes in a second by TCP.
pub(in crate::bench) fn payload_limit(rate: u32) -> f64 {
    f64::from(rate) * 1e6 / 8.0 * PAYLOAD / FRAME
}

/// MB/s (10^6 bytes) of so many bytes in so many seconds.
pub(in crate::bench) fn megabytes_per_second(bytes: u64, seconds: f64) -> f64 {
    bytes as f64 / 1e6 / seconds.max(1e-9)
}

/// Seconds of processors for each GiB that was sent.
pub(in crate::bench) fn per_gib(seconds: f64, bytes: u64) -> f64 {
    seconds * GIB / bytes.max(1) as f64
}

/// What one transfer took.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::bench) struct Figures {
    /// Seconds from the start of the golden node to the end of the last host.
    pub(in crate::bench) wall: f64,
    /// Seconds of processors of each host, the golden node first.
    pub(in crate::bench) cpu: Vec<f64>,
    /// The most memory of one process of each host, in bytes.
    pub(in crate::bench) peaks: Vec<u64>,
    /// The part of all processors that was busy with something else, 0 to 1; the
    /// kernel's work for the network is in it.
    pub(in crate::bench) others: f64,
}

impl Figures {
    /// Seconds of processors of all hosts.
    pub(in crate::bench) fn cpu(&self) -> f64 {
        self.cpu.iter().sum()
    }

    /// Seconds of processors of a node, the golden one left out.
    pub(in crate::bench) fn cpu_of_a_node(&self) -> f64 {
        let nodes = self.cpu.get(1..).unwrap_or_default();
        nodes.iter().sum::<f64>() / nodes.len().max(1) as f64
    }

    /// The most memory of one process of the golden node, in bytes.
    pub(in crate::bench) fn peak_of_golden(&self) -> u64 {
        self.peaks.first().copied().unwrap_or(0)
    }

    /// The most memory of one process of a node, in bytes.
    pub(in crate::bench) fn peak_of_nodes(&self) -> u64 {
        let nodes = self.peaks.get(1..).unwrap_or_default();
        nodes.iter().copied().max().unwrap_or(0)
    }
}

/// Which part of all processors others used: from the seconds they were busy, ours, the
/// seconds that passed and their number.
pub(in crate::bench) fn others(busy: f64, ours: f64, wall: f64, processors: f64) -> f64 {
    ((busy - ours) / (wall * processors).max(1e-9)).clamp(0.0, 1.0)
}

/// Seconds that each further node costs, from the fewest to the most nodes; each point
/// is (nodes, seconds).
pub(in crate::bench) fn slope(points: &[(usize, f64)]) -> Option<f64> {
    let fewest = points.iter().min_by_key(|(nodes, _)| *nodes)?;
    let most = points.iter().max_by_key(|(nodes, _)| *nodes)?;
    let nodes = most.0 - fewest.0;
    (nodes > 0).then(|| (most.1 - fewest.1) / nodes as f64)
}

/// How many times longer the most nodes take than the fewest.
pub(in crate::bench) fn growth(points: &[(usize, f64)]) -> Option<f64> {
    let fewest = points.iter().min_by_key(|(nodes, _)| *nodes)?;
    let most = points.iter().max_by_key(|(nodes, _)| *nodes)?;
    (most.0 > fewest.0).then(|| most.1 / fewest.1.max(1e-9))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(left: f64, right: f64) {
        assert!((left - right).abs() < 1e-6, "{left} {right}");
    }

    #[test]
    fn a_link_carries_less_than_its_name() {
        near(payload_limit(400) / 1e6, 47.820343);
        near(payload_limit(1000) / 1e6, 119.550859);
    }

    #[test]
    fn rates_are_decimal_and_seconds_are_for_a_gib() {
        near(megabytes_per_second(1 << 30, 2.0), 536.870912);
        near(per_gib(3.0, 1 << 29), 6.0);
        // No time at all is no crash.
        assert!(megabytes_per_second(1, 0.0).is_finite());
        assert!(per_gib(1.0, 0).is_finite());
    }

    #[test]
    fn the_golden_node_is_no_node() {
        let figures = Figures {
            wall: 1.0,
            cpu: vec![1.0, 2.0, 4.0],
            peaks: vec![9, 1, 3],
            others: 0.0,
        };
        near(figures.cpu(), 7.0);
        near(figures.cpu_of_a_node(), 3.0);
        assert_eq!((figures.peak_of_golden(), figures.peak_of_nodes()), (9, 3));
    }

    #[test]
    fn others_are_what_is_not_ours() {
        near(others(3.0, 1.0, 2.0, 2.0), 0.5);
        // The clocks are not the same.
        near(others(1.0, 1.1, 2.0, 2.0), 0.0);
    }

    #[test]
    fn a_slope_needs_two_points() {
        assert_eq!(slope(&[]), None);
        assert_eq!(slope(&[(3, 2.0), (3, 9.0)]), None);
        near(slope(&[(7, 8.0), (1, 2.0), (3, 100.0)]).unwrap(), 1.0);
        near(growth(&[(7, 8.0), (1, 2.0), (3, 100.0)]).unwrap(), 4.0);
        assert_eq!(growth(&[(3, 2.0)]), None);
    }
}

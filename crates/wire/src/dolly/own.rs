//! How goldring finds out that a ring is goldring only, in words that old programs pass
//! over: then all of them leave this protocol for dolly+ ([`crate::dollyplus`]), where a
//! computer that dies is replaced and every byte is checked.
//!
//! 1. The golden node writes a word behind `endconfig`, where old readers ignore it and
//!    pass it on.
//! 2. A node that can says so in a line of its own; old nodes relay it like any other.
//! 3. When all are ready and all have said so, the golden node sends a total that no
//!    disk has, and closes.

/// The line that ends a text with the offer.
const OFFER: &[u8] = b"endconfig goldring";
/// The total that means: go over to dolly+.
pub const SWITCH: u64 = u64::from_le_bytes(*b"goldring");

const _: () = assert!(SWITCH < super::TOTAL_MAX);

/// Whether the golden node offers it.
pub fn is_offered(text: &[u8]) -> bool {
    let mut lines = text.split(|b| *b == b'\n');
    lines.any(|line| line.trim_ascii() == OFFER)
}

/// Writes the offer into a canonical text.
pub fn offer(text: &mut Vec<u8>) {
    let Some(end) = text.windows(9).rposition(|nine| nine == b"endconfig") else {
        return;
    };
    text.splice(end..end + 9, OFFER.iter().copied());
    super::config::pad(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_is_recognised_and_a_name_is_none() {
        let mut text = b"infile a\nserver endconfigs\nendconfig\n".to_vec();
        assert!(!is_offered(&text));
        offer(&mut text);
        assert_eq!(text, b"infile a\nserver endconfigs\nendconfig goldring\n");
        assert!(is_offered(&text));
        assert!(is_offered(b"x\nendconfig goldring \n"), "padded");
        assert!(!is_offered(b"x\nendconfig goldrings\n"));
        let mut none = b"no end".to_vec();
        offer(&mut none);
        assert_eq!(none, b"no end");
    }
}

//! What arrives in pieces, glued together, or is not what it should be.

use goldring_wire::dolly::config::Dialect;
use goldring_wire::dolly::lines::{
    self, ConfigReader, LineTooLong, NotConfig, Upward, UpwardReader,
};
use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

const TEXT: &str =
    "infile /a\noutfile /b\nserver s\nfirstclient c\nlastclient c\nclients 1\nc\nendconfig\n";

fn sample() -> Vec<u8> {
    let mut bytes = Vec::new();
    for name in ["n1", "it's", "n2"] {
        bytes.extend(lines::got(Dialect::Classic, name));
        bytes.extend(lines::ready(Dialect::Classic, name));
    }
    bytes
}

#[test]
fn garbage_is_dropped() {
    let push = |bytes: &[u8]| ConfigReader::default().push(bytes);
    assert_eq!(push(b"\x00"), Err(NotConfig::Garbage));
    assert_eq!(push(b"\x16\x03\x01\x02\x00\x01"), Err(NotConfig::Garbage));
    assert_eq!(push(b"GET / HTTP/1.0\r\n\r\n"), Ok(false));
    assert_eq!(
        push(&vec![b'x'; lines::RECEIVED_MAX + 1]),
        Err(NotConfig::TooLong)
    );
    let mut unended = ConfigReader::default();
    assert_eq!(unended.push(b"infile /a\nendconfig"), Ok(false));
    assert!(unended.may_be_complete(), "the end of line may be missing");
    assert_eq!(
        UpwardReader::default().push(&[b'x'; 4000]),
        Err(LineTooLong)
    );
}

#[test]
fn words_inside_a_line_are_not_counted() {
    let read = |bytes: &[u8]| UpwardReader::default().push(bytes).unwrap();
    assert_eq!(
        read(b"Host got parameters 'ready1'.\n"),
        [Upward::Got("ready1".into())]
    );
    assert_eq!(
        read(b"Host ready 'n1'\n"),
        [Upward::Other("Host ready 'n1'".into())]
    );
    assert_eq!(
        read(b"Host ready 'a\x1b[2Jb'.\n"),
        [Upward::Ready("a?[2Jb".into())]
    );
    assert_eq!(
        read(&lines::gave_up("n3", "100 % already\nfull")),
        [Upward::GaveUp("n3 says: 100 / alrea-dy full".into())]
    );
    let long = lines::gave_up("n3", &"\u{e9}".repeat(4000));
    assert!(long.len() <= lines::LINE_MAX);
    assert!(matches!(read(&long)[..], [Upward::GaveUp(_)]));
}

#[test]
fn a_count_that_looks_like_text_is_still_a_count() {
    let total = u64::from_le_bytes(*b"Host rea");
    let mut reader = UpwardReader::default();
    reader.expect_count(total);
    let mut bytes = lines::ready(Dialect::Classic, "n9");
    bytes.extend(total.to_le_bytes());
    // The first eight bytes of the line are the total here, which is bad luck no disk has;
    // another total is told apart.
    let mut other = UpwardReader::default();
    other.expect_count(10_000);
    let mut glued = lines::gave_up("n9", "x");
    glued.extend(10_000_u64.to_le_bytes());
    assert_eq!(other.push(&glued).unwrap().len(), 2);
    assert_eq!(
        reader.push(&total.to_le_bytes()).unwrap(),
        [Upward::Count(total)]
    );
}

proptest! {
    #[test]
    fn any_cutting_gives_the_same_lines(cuts in prop::collection::vec(1_usize..9, 0..80), total: u64) {
        let mut bytes = sample();
        let mut whole = UpwardReader::default();
        let expected = whole.push(&bytes).unwrap();
        prop_assert_eq!(expected.len(), 6);
        let mut reader = UpwardReader::default();
        let mut found = Vec::new();
        let mut at = 0;
        for cut in cuts {
            let end = (at + cut).min(bytes.len());
            found.extend(reader.push(&bytes[at..end]).unwrap());
            at = end;
        }
        found.extend(reader.push(&bytes[at..]).unwrap());
        prop_assert_eq!(&found, &expected);
        bytes.clear();
        reader.expect_count(total);
        let mut counted = Vec::new();
        for byte in total.to_le_bytes() {
            counted.extend(reader.push(&[byte]).unwrap());
        }
        prop_assert_eq!(counted, vec![Upward::Count(total)]);
    }

    #[test]
    fn a_configuration_in_any_pieces_is_complete_at_its_last_line(
        cuts in prop::collection::vec(1_usize..20, 0..100)
    ) {
        let mut reader = ConfigReader::default();
        let mut at = 0;
        let end = TEXT.len();
        for cut in cuts {
            let next = (at + cut).min(TEXT.len());
            let complete = reader.push(&TEXT.as_bytes()[at..next]).unwrap();
            at = next;
            prop_assert_eq!(complete, at >= end);
        }
    }

    #[test]
    fn bytes_never_make_a_reader_panic(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..700), 0..8),
        total in prop::option::of(any::<u64>()),
    ) {
        let mut up = UpwardReader::default();
        if let Some(total) = total { up.expect_count(total); }
        let mut config = ConfigReader::default();
        for piece in &pieces {
            let _ = up.push(piece);
            let _ = config.push(piece);
        }
        prop_assert!(config.bytes().len() <= lines::RECEIVED_MAX + 700 * 8);
    }
}

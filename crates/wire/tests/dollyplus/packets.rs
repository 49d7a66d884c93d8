//! The bytes that real programs of version 0.93 sent, and the ugliest ones that could
//! be sent.

use goldring_wire::dollyplus::cook::Cook;
use goldring_wire::dollyplus::own::{self, Encoding, File, Plan, Verdict, Verdicts};
use goldring_wire::dollyplus::packet::{
    Command, Entry, HEAD, Head, Kind, List, Strange, chunk_head, file_number, last_finished,
    left_out,
};
use proptest::prelude::{ProptestConfig, any, proptest};

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

fn list(kind: Kind, entries: &[(u8, &str)]) -> List {
    let entries = entries
        .iter()
        .map(|(flag, name)| Entry {
            flag: *flag,
            name: (*name).to_owned(),
        })
        .collect();
    List { kind, entries }
}

/// Reads a whole packet as a driver does: the head, then what it says to follow.
fn read(packet: &[u8]) -> Result<List, Strange> {
    let (head, rest) = packet.split_first_chunk::<HEAD>().unwrap();
    let Head::List { kind, bytes, count } = Head::parse(head)? else {
        panic!("no list");
    };
    assert_eq!(List::rest(bytes), rest.len());
    List::decode(kind, count, rest)
}

#[test]
fn the_lists_of_a_captured_ring() {
    // Captured: server n0, clients n1 to n3, version 0.93.
    let captured = [
        (
            "524f504e 00100004 016e3000 026e3100 036e3200 036e3300 52434c53",
            list(Kind::Ring, &[(1, "n0"), (2, "n1"), (3, "n2"), (3, "n3")]),
        ),
        (
            "484f504e 00100004 016e3000 016e3100 016e3200 016e3300 48434c53",
            list(Kind::Host, &[(1, "n0"), (1, "n1"), (1, "n2"), (1, "n3")]),
        ),
        // With n2 absent, as n1 sends it to n3.
        (
            "524f504e 00140005 016e3000 016e3100 036e3200 026e3300 036e3400 52434c53",
            list(
                Kind::Ring,
                &[(1, "n0"), (1, "n1"), (3, "n2"), (2, "n3"), (3, "n4")],
            ),
        ),
    ];
    for (hex, list) in captured {
        assert_eq!(list.encode().unwrap(), bytes(hex));
        assert_eq!(read(&bytes(hex)).unwrap(), list);
    }
    // Flags of files are zero when nothing is cooked.
    let files = list(
        Kind::File,
        &[(0, "/plain"), (1, "/z"), (0, "x"), (9, "tree")],
    );
    let packet = files.encode().unwrap();
    assert!(packet.starts_with(b"FBEG") && packet.ends_with(b"FEND"));
    assert_eq!(read(&packet).unwrap(), files);
}

#[test]
fn data_and_commands_of_captures() {
    assert_eq!(file_number(0).to_vec(), bytes("464c4e4f 00000000"));
    assert_eq!(
        chunk_head(true, 10_000, 0).to_vec(),
        bytes("53454e44 00002710 00000000")
    );
    assert_eq!(
        chunk_head(false, 0x40_0000, 16).to_vec(),
        bytes("5345514e 00400000 00000010")
    );
    let captured = [
        ("434d4e44 00040001 00000000", Command::Reconnect),
        ("434d4e44 00040002 00000010", Command::Wanted(16)),
        ("434d4e44 00040006 00000003", Command::Ping),
        ("434d4e44 00004702", Command::Probe),
        ("434d4e44 00004703", Command::StepOut),
        (
            "434d4e44 00250007 4920616d 20726561 64792074 6f20636f 6e6e6563 742e5b30 2d302d30 5d20282d 312d2d31 29",
            Command::Status(goldring_wire::dollyplus::status::WAITING.to_owned()),
        ),
    ];
    for (hex, command) in captured {
        assert_eq!(command.encode(), bytes(hex), "{command:?}");
        let packet = bytes(hex);
        let Head::Command { number, bytes } = Head::parse(packet[..8].try_into().unwrap()).unwrap()
        else {
            panic!();
        };
        assert_eq!(usize::from(bytes), packet.len() - 8);
        assert_eq!(Command::decode(number, &packet[8..]).unwrap(), command);
    }
    let stop = Command::Stop(last_finished("n3")).encode();
    assert!(stop.starts_with(&bytes("434d4e44 002a0008")), "{stop:x?}");
    assert_eq!(&stop[8..], b"END:(<n3): The last node finish recieving.");
    assert_eq!(left_out("n1", "n2"), "(<n1): Stop to sending to n2.");
}

#[test]
fn heads_that_are_none_or_announce_too_much() {
    let table: &[(&[u8; 8], &str)] = &[
        (b"GET / HT", "where a dolly+ packet begins"),
        (b"infile /", "where a dolly+ packet begins"),
        (b"SEQN\x00\x40\x00\x01", "a chunk of 4194305 bytes"),
        (b"SEND\xff\xff\xff\xff", "a chunk of 4294967295 bytes"),
        (b"ROPN\x00\x10\xff\xff", "a list of 65535 bytes"),
        (b"CMND\xff\xff\x00\x01", "a command of 65535 bytes"),
        (b"GRPL\x7f\xff\xff\xff", "a packet of 2147483647 bytes"),
        (b"\0\0\0\0\0\0\0\0", "where a dolly+ packet begins"),
        (b"\x1b[2J\x07\x07\x07\x07", "\\u{1b}[2J"),
    ];
    for (head, said) in table {
        let error = Head::parse(head).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
        assert!(!error.contains('\u{1b}'), "{error}");
    }
    assert_eq!(Command::decode(9, b"").unwrap_err(), Strange::Command(9));
    assert!(Command::decode(2, b"abc").is_err());
}

#[test]
fn lists_that_contradict_themselves() {
    let table: &[(&[u8], u16)] = &[
        (b"", 0),
        (b"RCL", 0),
        (b"XXXX", 0),
        (b"RCLS", 1),
        (b"\x01n0RCLS", 1),
        (b"\x01n0\0RCLS", 2),
        (b"\x01n0\0\x02n1\0RCLS", 1),
        (b"\x01\0RCLS", 1),
        (b"\x01n\x1b0\0RCLS", 1),
        (b"\x01\xff\xfe\0RCLS", 1),
    ];
    for (rest, count) in table {
        assert!(List::decode(Kind::Ring, *count, rest).is_err(), "{rest:?}");
    }
    let long = "x".repeat(128);
    assert!(list(Kind::File, &[(0, &long)]).encode().is_err());
    let mut rest = b"\0".to_vec();
    rest.extend(long.as_bytes());
    rest.extend(b"\0FEND");
    assert!(List::decode(Kind::File, 1, &rest).is_err());
}

#[test]
fn a_plan_and_verdicts_there_and_back() {
    let plan = Plan {
        run: "17-4".into(),
        dry: true,
        files: vec![
            File {
                cook: Cook::PLAIN,
                size: Some(10_000),
                output: "/dev/sda".into(),
            },
            File {
                cook: Cook::of_name("x.tar.zst"),
                size: None,
                output: "/home with blanks".into(),
            },
        ],
    };
    assert_eq!(Plan::decode(plan.encode().as_bytes()).unwrap(), plan);
    let mut verdicts = Verdicts::default();
    verdicts.add("n1", Verdict::Willing);
    verdicts.add(
        "n1",
        Verdict::Complete {
            bytes: 7,
            digest: "00ff".into(),
        },
    );
    verdicts.add("n2", Verdict::Failed("the disk\nis full".into()));
    let back = Verdicts::decode(verdicts.encode().as_bytes()).unwrap();
    assert_eq!(back.of("n1"), verdicts.of("n1"));
    assert_eq!(
        back.of("n2"),
        Some(&Verdict::Failed("the disk is full".into()))
    );
    assert_eq!(back.of("n3"), None);
    for text in [
        "",
        "goldring 2\nrun x\nfile 0 1 a\n",
        "goldring 1\nfile 0 1 a\n",
        "run x\nfile 0 z a\n",
        "run x\nfile 0 1 \n",
        "run x\nfile 3 1 a\n",
        "run x\nnonsense\n",
        "run x\n",
    ] {
        assert!(Plan::decode(text.as_bytes()).is_err(), "{text:?}");
    }
    for text in [
        "n1\n",
        "n1 willing much\n",
        "n1 complete 5\n",
        "n1 complete x 00\n",
        " willing\n",
        "n1 complete 5 xyz\n",
    ] {
        assert!(Verdicts::decode(text.as_bytes()).is_err(), "{text:?}");
    }
}

#[test]
fn chunks_of_our_own_with_impossible_lengths() {
    let most = u32::try_from(own::CHUNK).unwrap();
    let good = own::Chunk {
        sequence: 7,
        file: 1,
        last: true,
        encoding: Encoding::Zstd,
        offset: 1 << 40,
        length: most,
        payload: 100,
        checksum: u64::MAX,
    };
    assert_eq!(own::Chunk::decode(&good.encode()).unwrap(), good);
    let bad = [
        own::Chunk {
            length: most + 1,
            ..good
        },
        own::Chunk {
            payload: most,
            ..good
        },
        own::Chunk {
            encoding: Encoding::Raw,
            ..good
        },
        own::Chunk {
            encoding: Encoding::Zeros,
            ..good
        },
        own::Chunk {
            offset: u64::MAX,
            ..good
        },
    ];
    for chunk in bad {
        assert!(own::Chunk::decode(&chunk.encode()).is_err(), "{chunk:?}");
    }
    let mut unknown = good.encode();
    unknown[7] = 9;
    assert!(own::Chunk::decode(&unknown).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn nothing_that_comes_makes_a_reader_panic_or_take_too_much(
        head in any::<[u8; 8]>(), rest in proptest::collection::vec(any::<u8>(), 0..300), count in 0_u16..20,
    ) {
        if let Ok(head) = Head::parse(&head) {
            let follows = match head {
                Head::List { bytes, .. } => List::rest(bytes),
                Head::Chunk { length, .. } => length as usize,
                Head::Command { bytes, .. } => usize::from(bytes),
                Head::Own { bytes, .. } => bytes as usize,
                Head::File(_) => 0,
            };
            assert!(follows <= 4 << 20);
        }
        for kind in [Kind::Ring, Kind::Host, Kind::File] {
            if let Ok(list) = List::decode(kind, count, &rest) {
                assert_eq!(read(&list.encode().unwrap()).unwrap(), list);
            }
        }
        let _ = Command::decode(count, &rest);
        let _ = Plan::decode(&rest);
        let _ = Verdicts::decode(&rest);
    }
}

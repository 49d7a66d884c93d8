//! Every fault that an old dolly mishandles, with its line and its remedy.

use goldring_wire::dolly::SEGMENT;
use goldring_wire::dolly::config::{Config, Payload, TEXT_MAX};
use proptest::prelude::{prop, prop_assert, prop_assert_eq, proptest};

const GOOD: &str = "infile /dev/sda\noutfile /dev/sdb\nserver node1\nfirstclient node2\n\
                    lastclient node4\nclients 3\nnode2\nnode3\nnode4\nendconfig\n";

/// The good text with one line replaced; `None` removes it.
fn with(line: usize, new: Option<&str>) -> String {
    let mut lines: Vec<&str> = GOOD.lines().collect();
    match new {
        Some(new) => lines[line - 1] = new,
        None => {
            lines.remove(line - 1);
        }
    }
    lines.join("\n") + "\n"
}

fn complaint(text: &str) -> String {
    Config::parse(text).expect_err(text).to_string()
}

#[test]
fn what_is_good_is_written_as_it_was_read() {
    let config = Config::parse(GOOD).unwrap();
    assert_eq!(config.to_string(), GOOD);
    let full = "compressed infile /img/sda5.gz split\ncompressed outfile /dev/sda5 split 700M\n\
                segsize 1460\nfanout 2\nhyphennormal\nserver a\nfirstclient b\nlastclient b\n\
                clients 1\nb\nendconfig\n";
    assert_eq!(Config::parse(full).unwrap().to_string(), full);
    for add in ["add 1:-b", "add2 2:x:y", "add 0:z"] {
        let text = with(3, Some(&format!("{add}\nserver node1")));
        assert_eq!(Config::parse(&text).unwrap().to_string(), text);
    }
    let dummy = GOOD.replace("infile /dev/sda\noutfile /dev/sdb\n", "dummy 4096\n");
    let config = Config::parse(&dummy).unwrap();
    assert_eq!(
        config.payload,
        Payload::Dummy {
            megabytes: Some(4096)
        }
    );
}

#[test]
fn reading_is_liberal_and_writing_canonical() {
    for ugly in [
        GOOD.replace('\n', "\r\n"),
        GOOD.replace(' ', "\t"),
        GOOD.replace(' ', "   "),
        GOOD.replace('\n', "\n\n"),
        GOOD.replace('\n', "\n   # a comment\n\t"),
        GOOD.replace("node3\n", "node3   # the one in the corner  \n"),
        format!("\u{feff}# ring of the lab\n\n{GOOD}anything after the end"),
        GOOD.trim_end().to_owned(),
        GOOD.replace("endconfig", "endconfigXYZ"),
        GOOD.replace("server node1\n", "")
            .replace("infile", "server node1\ninfile"),
    ] {
        assert_eq!(Config::parse(&ugly).expect(&ugly).to_string(), GOOD);
    }
}

/// What dolly 0.57 makes of it is in the comment; see `every_fault_has_its_line_and_its_remedy`
/// for what is refused in either.
#[test]
fn what_old_programs_stumble_over_is_read_or_refused() {
    let read: &[(String, &str)] = &[
        // "Missing 'infile '": the order was fixed.
        ("outfile /b\ninfile /a\n".into(), ""),
        // "Missing 'server'": so was that of the options.
        (
            "infile /a\noutfile /b\nhyphennormal\nfanout 2\nsegsize 500\n".into(),
            "",
        ),
        // An empty path.
        ("infile  /a\noutfile  /b \n".into(), ""),
        // 2^32 bytes were 0, and 0 was for ever.
        ("dummy 4096\n".into(), ""),
        // A prefix was enough; here only from a server that got through with it.
        (
            "infile /a\noutfile /b\nhyphennormalXX\n".into(),
            "line 3: \"hyphennormalXX\" is misspelt",
        ),
        (
            "Compressed infile /a\noutfile /b\n".into(),
            "line 1: \"Compressed\" has capital letters",
        ),
        (
            "infile /a\noutfile /b\nsegsize\n".into(),
            "line 3: segsize has no value",
        ),
        (
            "infile /a\noutfile /b\nfanout\n".into(),
            "line 3: fanout has no value",
        ),
        (
            "infile /a\noutfile /b\nadd\n".into(),
            "line 3: add has no value",
        ),
        // The rest of a long line was taken for the next.
        (format!("infile /{}\noutfile /b\n", "a".repeat(246)), ""),
        (
            format!("infile /{}\noutfile /b\n", "a".repeat(247)),
            "line 1: a line of 255 characters, and old programs read 254",
        ),
        (
            "dummy 1\ninfile /a\n".into(),
            "line 2: infile and dummy (line 1) exclude each other",
        ),
        ("dummy x\n".into(), "line 1: dummy x: write a number"),
    ];
    let list = "server s\nfirstclient a\nlastclient b\nclients 2\na \nb\n\nendconfig";
    for (first, fault) in read {
        let text = format!("{first}{list}");
        match Config::parse(&text) {
            Ok(config) => {
                assert_eq!(*fault, "", "{text}");
                assert_eq!(Config::parse(&config.to_string()), Ok(config));
            }
            Err(error) => {
                let said = error.to_string();
                assert!(!fault.is_empty() && said.starts_with(fault), "{text}{said}");
            }
        }
    }
    // What a server of 0.57 got through with is no reason for a node to stay away.
    for first in [
        "infile /a extra\noutfile /b extra\nhyphennormalXX\n".to_owned(),
        format!("infile /{}\noutfile /b\n", "a".repeat(247)),
    ] {
        Config::received(format!("{first}{list}").as_bytes()).expect(&first);
    }
    // Several links and several children do not go together, whoever says so.
    let both = format!("infile /a\noutfile /b\nfanout 2\nadd 1:x\n{list}");
    assert!(Config::received(both.as_bytes()).is_err());
}

#[test]
fn names_on_further_networks() {
    let of = |line: &str, host: &str| {
        let text = with(3, Some(&format!("{line}\nserver node1")));
        let networks = Config::parse(&text).unwrap().networks.unwrap();
        (
            networks.links(),
            networks.primary(host),
            networks.further(host),
        )
    };
    let names = |list: &[&str]| {
        list.iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>()
    };
    let node3 = "node3".to_owned();
    assert_eq!(
        of("add 1:-b", "node3"),
        (2, node3.clone(), names(&["node3-b"]))
    );
    assert_eq!(
        of("add2 2:x:yy", "node3"),
        (3, node3, names(&["nodex3", "nodeyy3"]))
    );
    // Renames the first network, and there is no other.
    assert_eq!(of("add 0:-m", "node3"), (1, "node3-m".into(), vec![]));
    assert_eq!(of("add2 1:x", "master").2, names(&["masterx"]));
    let text = with(3, Some("add 1:-b\nserver node1")).replace("node3\n", "10.0.0.3\n");
    let said = complaint(&text);
    assert!(
        said.starts_with("line 9: 10.0.0.3 is an address, and add makes"),
        "{said}"
    );
}

#[test]
fn sizes() {
    use goldring_wire::dolly::config::parse_size;
    let table = [
        ("700M", Some(700 << 20)),
        ("1k", Some(1024)),
        ("2g", Some(2 << 30)),
        ("3T", Some(3 << 40)),
        ("12345", Some(12_345)),
        ("0", None),
        ("", None),
        ("M", None),
        ("2X", None),
        ("2MB", None),
        ("-1", None),
        ("1.5G", None),
        ("99999999999T", None),
    ];
    for (word, size) in table {
        assert_eq!(parse_size(word), size, "{word}");
    }
}

#[test]
fn every_fault_has_its_line_and_its_remedy() {
    let table: &[(String, &str)] = &[
        (
            String::new(),
            "line 1: the text ends here without an endconfig line; write endconfig",
        ),
        (
            with(1, None),
            "line 9: endconfig, but there was no line infile PATH; add it",
        ),
        (
            with(2, None),
            "line 9: endconfig, but there was no line outfile PATH",
        ),
        (
            with(3, None),
            "line 9: endconfig, but there was no line server NAME",
        ),
        (
            with(4, None),
            "line 9: endconfig, but there was no line firstclient NAME",
        ),
        (
            with(5, None),
            "line 9: endconfig, but there was no line lastclient NAME",
        ),
        (with(6, None), "line 6: \"node2\" is no keyword of dolly"),
        (
            with(10, None),
            "line 9: the text ends here without an endconfig line",
        ),
        (
            with(1, Some("Infile /dev/sda")),
            "line 1: \"Infile\" has capital letters; write infile",
        ),
        (with(1, Some("infile")), "line 1: infile has no path"),
        (
            with(1, Some("infile /a b")),
            "line 1: \"b\" behind infile is not understood; remove it",
        ),
        (
            with(1, Some("compressed")),
            "line 1: compressed stands alone",
        ),
        (
            with(1, Some("iofiles 1")),
            "line 1: iofiles belongs to dolly+",
        ),
        (
            with(2, Some("outfile /b split")),
            "line 2: split has no size; write split 2G",
        ),
        (
            with(2, Some("outfile /b split 2X")),
            "line 2: split 2X: write a size such as 700M",
        ),
        (
            with(2, Some("outfile /b split 0M")),
            "line 2: split 0M: write a size",
        ),
        (with(3, Some("server")), "line 3: server has no value"),
        (
            with(3, Some("server a\nserver b")),
            "line 4: a second server line, the first is line 3",
        ),
        (
            with(3, Some("segsize abc\nserver node1")),
            "line 3: segsize abc: write a number from 88",
        ),
        (
            with(3, Some("fanout 0\nserver node1")),
            "line 3: fanout 0: write a number from 1 to 8",
        ),
        (
            with(3, Some("fanout 9\nserver node1")),
            "line 3: fanout 9: write a number from 1 to 8",
        ),
        (
            with(3, Some("hypennormal\nserver node1")),
            "line 3: \"hypennormal\" is misspelt; write hyphennormal",
        ),
        (
            with(3, Some("bandwidth 10\nserver node1")),
            "line 3: \"bandwidth\" is no keyword",
        ),
        (
            with(3, Some("add 1\nserver node1")),
            "line 3: add 1: write add N:NAME",
        ),
        (
            with(3, Some("add 2:x\nserver node1")),
            "line 3: add 2:x: write add N:NAME",
        ),
        (with(3, Some("add -1:x\nserver node1")), "line 3: add -1:x"),
        (
            with(3, Some("add 8:a:b:c:d:e:f:g:h\nserver node1")),
            "line 3: add 8:a",
        ),
        (
            with(3, Some("fanout 2\nadd 1:x\nserver node1")),
            "line 4: add and fanout (line 3) exclude each other",
        ),
        (
            with(4, Some("firstclient node9")),
            "line 4: firstclient node9, but line 7 of the list says node2; write firstclient node2",
        ),
        (
            with(5, Some("lastclient node3")),
            "line 5: lastclient node3, but line 9 of the list says node4; write lastclient node4",
        ),
        (
            with(5, Some("lastclient node1")),
            "line 5: lastclient node1, but line 9",
        ),
        (
            with(6, Some("clients 4")),
            "line 6: clients 4, but the list above endconfig has 3 names; write clients 3",
        ),
        (
            with(6, Some("clients 2")),
            "line 6: clients 2, but the list above endconfig has 3 names",
        ),
        (
            with(6, Some("clients 0")),
            "line 6: clients 0: write a number from 1 to 10000",
        ),
        (
            with(6, Some("clients abc")),
            "line 6: clients abc: write a number",
        ),
        (
            with(6, Some("clients -1")),
            "line 6: clients -1: write a number",
        ),
        (
            with(6, Some("clients 10001")),
            "line 6: clients 10001: write a number",
        ),
        (
            with(8, Some("node2")),
            "line 8: node2 is in the list twice, also in line 7",
        ),
        (
            with(8, Some("node1")),
            "line 8: node1 is the server (line 3) and cannot be a client",
        ),
        (
            with(8, Some("ready1")),
            "line 8: the name \"ready1\" contains \"ready\"",
        ),
        (
            with(8, Some("node%s")),
            "line 8: the name \"node%s\" contains \"%\"",
        ),
        (
            with(8, Some("node3 node4")),
            "line 8: \"node3 node4\" is more than one name",
        ),
        (
            with(8, Some("server x")),
            "line 8: server stands in the list of clients",
        ),
    ];
    for (text, expected) in table {
        let said = complaint(text);
        assert!(
            said.starts_with(expected),
            "{text}\nsaid: {said}\nnot: {expected}"
        );
        assert!(!said.contains('\n') && said.len() < 300, "{said}");
    }
    let latin = Config::parse_bytes(b"infile /a\noutfile /\xe9\n").unwrap_err();
    assert!(
        latin.to_string().starts_with("line 2: here is a character"),
        "{latin}"
    );
}

#[test]
fn a_client_takes_what_old_clients_take() {
    let odd = GOOD
        .replace("firstclient node2", "firstclient nonsense")
        .replace("lastclient node4", "lastclient node3")
        .replace("/dev/sda", "/dev/sda and more words")
        .replace("server", "hyphennormalXX\nserver");
    assert!(Config::parse(&odd).is_err());
    let config = Config::received(odd.as_bytes()).unwrap();
    assert!(config.hyphen_normal);
    assert_eq!(config.children_of(0), 1..2);
    assert!(
        config.children_of(1).is_empty(),
        "the lastclient feeds nobody"
    );
    assert!(Config::received(b"fanout 0\nendconfig").is_err());
}

#[test]
fn the_text_never_makes_an_old_reader_wait() {
    let build = |n: usize, width: usize| {
        let names: Vec<String> = (0..n).map(|i| format!("{i:0width$}")).collect();
        let text = format!(
            "infile /a\noutfile /b\nserver s\nfirstclient {}\nlastclient {}\nclients {n}\n{}\nendconfig\n",
            names[0],
            names[n - 1],
            names.join("\n")
        );
        Config::parse(&text).unwrap()
    };
    let mut padded = 0;
    for width in 3..160 {
        for n in 1..24 {
            if let Ok(text) = build(n, width).text() {
                assert!(!text.bytes.len().is_multiple_of(SEGMENT));
                assert!(text.bytes.len() <= TEXT_MAX);
                padded += usize::from(text.bytes.ends_with(b"endconfig \n"));
                assert_eq!(text.warning.is_some(), text.bytes.len() > 1400);
            }
        }
    }
    assert!(padded > 0, "the table must hit the size that needs it");
    let error = build(100, 60).text().unwrap_err().to_string();
    assert!(
        error.contains("may have 4095; use shorter names"),
        "{error}"
    );
    // A hundred IP addresses are still fine.
    assert!(build(100, 11).text().unwrap().warning.is_none());
}

proptest! {
    #[test]
    fn nothing_makes_the_parser_panic(text in prop::collection::vec(
        prop::sample::select(vec![
            "infile", "outfile", "server", "clients", "endconfig", "compressed", "split", "add",
            " ", "\t", "\n", "\r\n", "#", "3", "2G", ":", "x", "y", "\u{e9}", "dummy", "fanout",
            "firstclient", "lastclient", "18446744073709551616", "hyphen",
        ]), 0..60)) {
        let text = text.concat();
        if let Ok(config) = Config::parse(&text) {
            prop_assert_eq!(Config::parse(&config.to_string()), Ok(config));
        }
        let _ = Config::received(text.as_bytes());
    }

    #[test]
    fn what_is_written_is_read_back(
        clients in prop::collection::hash_set("[a-c]{1,3}[0-9]{1,4}", 1..40),
        fanout in 1_usize..=8,
        hyphen: bool,
        split in prop::option::of(1_u64..1 << 45),
    ) {
        let mut config = Config::parse(GOOD).unwrap();
        config.clients = clients.into_iter().collect();
        config.first_client = config.clients[0].clone();
        config.last_client = config.clients[config.clients.len() - 1].clone();
        (config.fanout, config.hyphen_normal) = (fanout, hyphen);
        if let Payload::File { output, .. } = &mut config.payload {
            output.split = split;
        }
        let text = config.to_string();
        prop_assert!(Config::received(text.as_bytes()).as_ref() == Ok(&config));
        prop_assert_eq!(Config::parse(&text), Ok(config));
    }
}

//! Every mistake that an operator makes, with its line.

use goldring_wire::dollyplus::config::Config;

const TAIL: &str = "server n0\nfirstclient n1\nlastclient n2\nclients 2\nn1\nn2\nendconfig\n";

fn error(text: &str) -> String {
    Config::parse(text).unwrap_err().to_string()
}

#[test]
fn the_manuals_file_as_it_stands() {
    let config = Config::parse(
        "iofiles 3\n/dev/hda1 > /dev/hda1\n/data/file.gz >> /data/file\nboot.tar.Z >> /boot\n\
         server max5.paris\nfirstclient max6.paris\nlastclient max8.paris\nclients 3\n\
         max6.paris\nmax7.paris\nmax8.paris\nendconfig\n",
    )
    .unwrap();
    let flags: Vec<u8> = config.files.iter().map(|file| file.cook.flag()).collect();
    assert_eq!(flags, [0, 0o01, 0o12]);
    assert_eq!(config.files[1].input, "/data/file.gz");
    assert_eq!(config.clients.len(), 3);
    assert_eq!(config.server, "max5.paris");
}

#[test]
fn one_file_in_the_old_way_and_liberal_reading() {
    let one = Config::parse(&format!("compressed infile a.gz\noutfile b\n{TAIL}")).unwrap();
    assert_eq!(one.files[0].cook.flag(), 1);
    let odd = "\u{feff}# a comment\r\n\r\n  iofiles 3\r\na>b\r\n\tc.zip\t>>\td \r\n e.gz > f\r\n";
    let odd = Config::parse(&format!("{odd}{}", TAIL.replace('\n', "  # behind\r\n"))).unwrap();
    assert_eq!(
        (odd.files[0].input.as_str(), odd.files[0].output.as_str()),
        ("a", "b")
    );
    assert!(odd.files[1].uncookable && odd.files[1].output == "d");
    // Old programs cook this one with the flag of the line above.
    assert!(!odd.files[2].uncookable && odd.files[2].cook.flag() == 0);
    assert_eq!(odd.clients, ["n1", "n2"]);
}

#[test]
fn every_mistake_has_its_line_and_its_remedy() {
    let long = "x".repeat(40);
    let table = [
        (
            String::new(),
            "line 1: the text ends here without an endconfig",
        ),
        (
            format!("iofiles 0\n{TAIL}"),
            "line 1: iofiles 0: write a number from 1 to 32",
        ),
        (format!("iofiles 33\n{TAIL}"), "line 1: iofiles 33"),
        (format!("iofiles abc\n{TAIL}"), "line 1: iofiles abc"),
        (
            format!("iofiles 2\na > b\n{TAIL}"),
            "line 3: this is not INPUT > OUTPUT or INPUT >> OUTPUT, and line 1 announced 2",
        ),
        (
            format!("iofiles 1\na > b\nc > d\n{TAIL}"),
            "line 3: line 1 says iofiles 1, and this is one more; write iofiles 2",
        ),
        (
            format!("a > b\n{TAIL}"),
            "line 1: a file line needs a line iofiles N",
        ),
        (
            format!("iofiles 1\n > b\n{TAIL}"),
            "line 2: there is no input",
        ),
        (
            format!("iofiles 1\na >\n{TAIL}"),
            "line 2: there is no output",
        ),
        (
            format!("iofiles 1\na >> b > c\n{TAIL}"),
            "line 2: \"b > c\" has a > in it",
        ),
        (
            format!("iofiles 1\na > {}\n{TAIL}", "y".repeat(128)),
            "line 2: the output has 128 characters",
        ),
        (
            format!("iofiles 2\na > b\nc > b\n{TAIL}"),
            "line 3: file 1 has the same output",
        ),
        (
            format!(
                "iofiles 1\na > b\n{}",
                TAIL.replace("clients 2", "clients 3")
            ),
            "line 6: clients 3, but the list above endconfig has 2",
        ),
        (
            format!(
                "iofiles 1\na > b\n{}",
                TAIL.replace("clients 2", "clients 0")
            ),
            "line 6: clients 0",
        ),
        (
            format!(
                "iofiles 1\na > b\n{}",
                TAIL.replace("clients 2", "clients 1025")
            ),
            "line 6: clients 1025",
        ),
        (
            format!("iofiles 1\na > b\n{}", TAIL.replace("firstclient n1\n", "")),
            "there was no line firstclient NAME",
        ),
        (
            format!("iofiles 1\na > b\n{}", TAIL.replace("server n0\n", "")),
            "there was no line server NAME",
        ),
        (
            format!("iofiles 1\na > b\n{}", TAIL.replace("n2\nend", "n1\nend")),
            "line 8: n1 is in the list twice",
        ),
        (
            format!("iofiles 1\na > b\n{}", TAIL.replace("n2\nend", "n0\nend")),
            "line 8: n0 is the server",
        ),
        (
            format!(
                "iofiles 1\na > b\n{}",
                TAIL.replace("n2\nend", &format!("{long}\nend"))
            ),
            "has 40 characters, dolly+ takes 31",
        ),
        (
            format!(
                "iofiles 1\na > b\n{}",
                TAIL.replace("n2\nend", "n2 n3\nend")
            ),
            "more than one name",
        ),
        (format!("infile a\n{TAIL}"), "infile without outfile"),
        (
            format!("infile a\noutfile b\niofiles 1\nc > d\n{TAIL}"),
            "exclude each other",
        ),
        (
            format!("infile a\ninfile b\n{TAIL}"),
            "line 2: a second infile, the first is line 1",
        ),
        (
            format!("fanout 2\niofiles 1\na > b\n{TAIL}"),
            "line 1: fanout belongs to dolly",
        ),
        (
            format!("Iofiles 1\na > b\n{TAIL}"),
            "line 1: \"Iofiles\" is not understood",
        ),
        (TAIL.to_owned(), "there was no line iofiles N"),
        (
            "iofiles 1\na > b\nserver n0\n".to_owned(),
            "without an endconfig",
        ),
    ];
    for (text, said) in table {
        let error = error(&text);
        assert!(error.contains(said), "{text:?}\n{error}");
    }
    assert!(
        Config::parse_bytes(b"iofiles 1\n\xff > b\n")
            .unwrap_err()
            .to_string()
            .starts_with("line 2:")
    );
}

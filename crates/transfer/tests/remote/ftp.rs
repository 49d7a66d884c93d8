//! FTP, from a server that can be told to misbehave.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use goldring_transfer::fetch::{FetchError, small_with};
use goldring_transfer::remote::{RemoteError, Scheme, Url, open};

use crate::server::{SILENCE, line, options, taken};

const FILE: &[u8] = b"0123456789";

/// What the server does otherwise than others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Odd {
    Nothing,
    /// Speaks the old passive mode only, and names an address that nobody reaches.
    Old,
    /// The first data connection ends in the middle.
    Cut,
    /// The data connection stays silent in the middle.
    Silent,
    /// Cut, and the file is longer afterwards.
    Grows,
    /// Cut, and knows no REST.
    NoRest,
    /// Knows neither EPSV nor PASV.
    NoPassive,
    /// Knows no SIZE.
    NoSize,
    /// Sends more than SIZE said.
    TooMuch,
}

/// Serves `/cs4/file` to anybody, or to `me` with the password `word`. Returns where, and
/// the commands as they come.
fn server(odd: Odd) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let commands = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&commands);
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().flatten().enumerate() {
            let log = Arc::clone(&log);
            let session = Session {
                odd,
                number,
                from: 0,
                data: None,
                user: String::new(),
            };
            // A client that hangs up early is its own affair.
            std::thread::spawn(move || session.talk(stream, &log));
        }
    });
    (address, commands)
}

struct Session {
    odd: Odd,
    /// How many sessions there were before.
    number: usize,
    from: usize,
    data: Option<TcpListener>,
    user: String,
}

impl Session {
    fn talk(mut self, mut stream: TcpStream, log: &Mutex<Vec<String>>) -> std::io::Result<()> {
        stream.write_all(b"220-welcome\r\n220 ready\r\n")?;
        for command in BufReader::new(stream.try_clone()?).lines() {
            let command = command?;
            log.lock().unwrap().push(command.clone());
            let (verb, word) = command.split_once(' ').unwrap_or((&command, ""));
            let reply = self.reply(verb, word)?;
            stream.write_all(reply.as_bytes())?;
            if reply.starts_with("150") {
                self.send()?;
                stream.write_all(b"226 done\r\n")?;
            }
        }
        Ok(())
    }

    fn reply(&mut self, verb: &str, word: &str) -> std::io::Result<String> {
        let there = word == "/cs4/file";
        let again = self.number > 0;
        Ok(match verb {
            "USER" => {
                word.clone_into(&mut self.user);
                "331 password?\r\n".to_owned()
            }
            "PASS" if self.user == "me" && word != "word" => "530 Login incorrect.\r\n".to_owned(),
            "PASS" => "230 in\r\n".to_owned(),
            "TYPE" => "200 binary\r\n".to_owned(),
            "SIZE" if self.odd == Odd::NoSize => "500 what?\r\n".to_owned(),
            "SIZE" if there && self.odd == Odd::Grows && again => "213 11\r\n".to_owned(),
            "SIZE" if there => format!("213 {}\r\n", FILE.len()),
            "EPSV" | "PASV" => self.passive(verb)?,
            "REST" if self.odd == Odd::NoRest => "502 no\r\n".to_owned(),
            "REST" => {
                self.from = word.parse().unwrap();
                "350 go on\r\n".to_owned()
            }
            "RETR" if there => "150 here it comes\r\n".to_owned(),
            "CWD" if word == "/cs4" => "250 there\r\n".to_owned(),
            "SIZE" | "RETR" | "CWD" => "550 No such file or directory.\r\n".to_owned(),
            _ => "500 what?\r\n".to_owned(),
        })
    }

    fn passive(&mut self, verb: &str) -> std::io::Result<String> {
        if self.odd == Odd::NoPassive || (self.odd == Odd::Old && verb == "EPSV") {
            return Ok("500 what?\r\n".to_owned());
        }
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        self.data = Some(listener);
        Ok(if verb == "EPSV" {
            format!("229 Extended ok (|||{port}|)\r\n")
        } else {
            format!("227 ok (192,0,2,1,{},{})\r\n", port >> 8, port & 255)
        })
    }

    fn send(&mut self) -> std::io::Result<()> {
        let (mut data, _) = self.data.take().unwrap().accept()?;
        let cut = matches!(self.odd, Odd::Cut | Odd::Grows | Odd::NoRest) && self.number == 0;
        let end = if cut || self.odd == Odd::Silent {
            4
        } else {
            FILE.len()
        };
        data.write_all(&FILE[self.from..end.max(self.from)])?;
        if self.odd == Odd::Silent {
            std::thread::sleep(SILENCE * 8);
        }
        if self.odd == Odd::TooMuch {
            data.write_all(b"and more")?;
        }
        Ok(())
    }
}

fn url(server: &str) -> Url {
    Url::on_server(Scheme::Ftp, server, "/cs4", "file").unwrap()
}

fn refused(odd: Odd, directory: &str) -> RemoteError {
    let url = Url::on_server(Scheme::Ftp, &server(odd).0, directory, "file").unwrap();
    open(&url, &options()).unwrap_err()
}

#[test]
fn a_file_arrives_whole() {
    let (place, commands) = server(Odd::Nothing);
    assert_eq!(
        taken(open(&url(&place), &options()).unwrap()).unwrap(),
        FILE
    );
    let wanted = [
        "USER anonymous",
        "PASS -drakx@",
        "TYPE I",
        "SIZE /cs4/file",
        "EPSV",
        "RETR /cs4/file",
    ];
    assert_eq!(*commands.lock().unwrap(), wanted);
    assert_eq!(small_with(&url(&place), 10, &options()).unwrap(), FILE);
    let error = small_with(&url(&place), 9, &options())
        .unwrap_err()
        .to_string();
    assert!(error.contains("more than 9 bytes"), "{error}");
}

/// What was announced is taken, and the digest tells whether it was the right file.
#[test]
fn what_nobody_announced_is_not_taken() {
    let (place, _) = server(Odd::TooMuch);
    assert_eq!(
        taken(open(&url(&place), &options()).unwrap()).unwrap(),
        FILE
    );
}

#[test]
fn the_old_passive_mode_leads_to_the_server_itself() {
    let (place, commands) = server(Odd::Old);
    assert_eq!(
        taken(open(&url(&place), &options()).unwrap()).unwrap(),
        FILE
    );
    assert!(commands.lock().unwrap().contains(&"PASV".to_owned()));
}

#[test]
fn a_cut_connection_is_resumed_where_it_broke() {
    let (place, commands) = server(Odd::Cut);
    assert_eq!(
        taken(open(&url(&place), &options()).unwrap()).unwrap(),
        FILE
    );
    let commands = commands.lock().unwrap();
    let rest = commands
        .iter()
        .position(|command| command == "REST 4")
        .unwrap();
    assert_eq!(commands[rest + 1], "RETR /cs4/file");
    for (odd, sentence) in [
        (Odd::Grows, "the file has changed on the server meanwhile"),
        (Odd::NoRest, "the server does not send the rest of a file"),
    ] {
        let file = open(&url(&server(odd).0), &options()).unwrap();
        let error = line(&taken(file).unwrap_err());
        assert!(error.contains(sentence), "{odd:?}: {error}");
    }
}

#[test]
fn a_silent_server_is_left() {
    let started = Instant::now();
    let file = open(&url(&server(Odd::Silent).0), &options()).unwrap();
    let error = taken(file).unwrap_err();
    assert!(
        matches!(
            error,
            FetchError::Broken {
                got: 4,
                total: 10,
                ..
            }
        ),
        "{error}"
    );
    assert!(
        line(&error).contains("the server fell silent"),
        "{}",
        line(&error)
    );
    assert!(started.elapsed() < SILENCE * 8, "{:?}", started.elapsed());
}

#[test]
fn refusals_have_clear_sentences() {
    let mut login = url(&server(Odd::Nothing).0);
    login.login = Some(("me".to_owned(), "wrong".to_owned()));
    let error = open(&login, &options()).unwrap_err();
    assert!(error.lasts());
    let error = error.to_string();
    assert!(
        error.contains("does not let me in (530 Login incorrect.); write user:"),
        "{error}"
    );
    login.login = Some(("me".to_owned(), "word".to_owned()));
    assert_eq!(taken(open(&login, &options()).unwrap()).unwrap(), FILE);

    let missing = refused(Odd::Nothing, "/cs4/no/such").to_string();
    assert!(
        missing.contains("no such file (there is no folder /cs4/no: 550 "),
        "{missing}"
    );
    let mut other = url(&server(Odd::Nothing).0);
    other.path = "/cs4/other".to_owned();
    let missing = open(&other, &options()).unwrap_err().to_string();
    assert!(
        missing.contains("no such file (550 No such file or directory.)"),
        "{missing}"
    );
    for (odd, what) in [
        (Odd::NoPassive, "passive mode"),
        (Odd::NoSize, "the file's length"),
    ] {
        let error = refused(odd, "/cs4").to_string();
        assert!(
            error.contains(&format!("the server refuses {what} (500 what?)")),
            "{error}"
        );
    }
}

/// Sends `bytes` to whoever comes, `pause` between them, again and again.
fn babbler(bytes: &'static [u8], pause: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                while stream.write_all(bytes).is_ok() {
                    std::thread::sleep(pause);
                }
            });
        }
    });
    address
}

#[test]
fn what_is_no_ftp_server_is_left_soon() {
    for (bytes, pause, sentence) in [
        (&b""[..], SILENCE * 8, "no answer: the server fell silent"),
        (
            b"HTTP/1.1 400 Bad Request\r\n",
            SILENCE,
            "the answer is not FTP",
        ),
        (
            b"421 too many\r\n",
            SILENCE,
            "the server refuses to talk (421 too many)",
        ),
        (b"220-x\r\n", SILENCE / 4, "no answer: "),
        (b"220-endless\r\n", Duration::ZERO, "no answer: "),
    ] {
        let started = Instant::now();
        let error = line(&open(&url(&babbler(bytes, pause)), &options()).unwrap_err());
        assert!(error.contains(sentence), "{error}");
        assert!(started.elapsed() < SILENCE * 8, "{:?}", started.elapsed());
    }
    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let error = open(&url(&gone), &options()).unwrap_err();
    assert!(matches!(error, RemoteError::Connect { .. }), "{error}");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// Replies that came before they were asked for, and then the end.
    #[test]
    fn whatever_a_server_says_the_client_ends(
        replies in proptest::collection::vec(
            "(220|230|331|200|213|229|227|350|150|226|550|[0-9]{3})[ -]([0-9]{1,9}|[(][|]{3}[0-9]{1,5}[|][)]|[ -~]{0,20})\r\n",
            0..9,
        ),
    ) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.write_all(replies.concat().as_bytes());
            }
        });
        let started = Instant::now();
        let _ = small_with(&url(&place), 1000, &options());
        proptest::prop_assert!(started.elapsed() < SILENCE * 16);
    }
}

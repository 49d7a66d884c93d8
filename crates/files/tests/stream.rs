//! Files through a whole stream: a tree with ugly names, sent and received, and everything
//! that can happen to the stream on its way.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use goldring_files::compare::{self, compare};
use goldring_files::receive::receive;
use goldring_files::send::{Outgoing, Sending, Sent, send};
use goldring_files::tar::{FilesError, Source};
use goldring_files::trailer::{END, Form, Trailer, TrailerError};
use goldring_files::walk::Walk;
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

/// A tree with what is hard to carry and needs no root.
fn ugly_tree() -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    let at = |name: &[u8]| tree.path().join(OsStr::from_bytes(name));
    fs::create_dir(at(b"spool")).unwrap();
    fs::create_dir(at(b"empty")).unwrap();
    fs::set_permissions(at(b"empty"), fs::Permissions::from_mode(0o3701)).unwrap();
    for name in [
        &b"spool/new\nline"[..],
        b"spool/\xff\xfe",
        b"spool/a\\b: socket ignored",
        b"spool/*",
        b"-rf",
        &[b'x'; 255],
        b"spool/\xc3\xa4",
    ] {
        fs::write(at(name), name).unwrap();
    }
    let mut deep = at(b"deep");
    for _ in 0..20 {
        deep.push("y".repeat(200));
    }
    // Longer than a path may be for one call.
    make_deep(&deep);
    fs::hard_link(at(b"-rf"), at(b"spool/again")).unwrap();
    symlink("/no/such/place", at(b"link")).unwrap();
    rustix::fs::mknodat(
        CWD,
        at(b"pipe"),
        FileType::Fifo,
        Mode::from_raw_mode(0o604),
        0,
    )
    .unwrap();
    let mut sparse = File::create(at(b"sparse")).unwrap();
    sparse.seek(SeekFrom::Start(300 << 20)).unwrap();
    sparse.write_all(b"in the middle").unwrap();
    sparse.set_len(900 << 20).unwrap();
    let value = b"\0\xff value";
    match rustix::fs::setxattr(at(b"-rf"), c"user.goldring", value, XattrFlags::empty()) {
        // A tmpfs before Linux 6.6; the host stories have disks.
        Err(rustix::io::Errno::NOTSUP) => eprintln!("no attributes of users in {tree:?}"),
        set => set.unwrap(),
    }
    drop(UnixListener::bind(at(b"spool/socket\xff")).unwrap());
    let time = |tv_nsec| Timespec {
        tv_sec: 1_234_567_890,
        tv_nsec,
    };
    let times = Timestamps {
        last_access: time(1),
        last_modification: time(987_654_321),
    };
    for name in [&b"link"[..], b"spool", b"-rf", b"pipe", b"spool/socket\xff"] {
        rustix::fs::utimensat(CWD, at(name), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
    tree
}

fn make_deep(path: &Path) {
    fs::create_dir_all(path.parent().unwrap().parent().unwrap()).ok();
    let first: PathBuf = path.iter().take(path.iter().count().min(12)).collect();
    fs::create_dir_all(&first).unwrap();
    fs::write(first.join("end"), "deep").unwrap();
}

fn sent(tree: &Path, level: Option<i32>) -> (Vec<u8>, Sent) {
    let wish = Sending {
        source: Source::tree(tree),
        level,
        form: Form::Checked,
    };
    let mut stream = Vec::new();
    let sent = send(&wish, &mut stream, |said: &str| panic!("{said}")).unwrap();
    (stream, sent)
}

fn sent_as(tree: &Path, form: Form) -> Vec<u8> {
    let wish = Sending {
        source: Source::tree(tree),
        level: None,
        form,
    };
    let mut stream = Vec::new();
    send(&wish, &mut stream, |said: &str| panic!("{said}")).unwrap();
    stream
}

/// The differences between what was sent and what a receiver made of it.
fn arrived(stream: &[u8], form: Form, tree: &Path) -> Result<Vec<String>, FilesError> {
    let target = tempfile::tempdir().unwrap();
    receive(target.path(), form, stream, |_: &str| {})?;
    let mut said = Vec::new();
    let wish = compare::Wish::default();
    compare(tree, target.path(), &wish, &mut |text| {
        said.push(text.to_owned())
    })
    .unwrap();
    let blocks = fs::metadata(target.path().join("sparse")).unwrap().blocks();
    assert!(blocks < 2048, "a hole became {blocks} blocks");
    Ok(said)
}

#[test]
fn everything_arrives_compressed_or_not() {
    let tree = ugly_tree();
    for level in [None, Some(1)] {
        let (stream, sent) = sent(tree.path(), level);
        assert_eq!((sent.sockets, sent.changed), (1, 0));
        assert_eq!(
            arrived(&stream, Form::Checked, tree.path()).unwrap(),
            [""; 0]
        );
    }
}

#[test]
fn an_old_tar_reads_it_and_its_own_is_read() {
    let tree = ugly_tree();
    let (stream, _) = sent(tree.path(), None);
    for word in ["--read-full-records", "--no-seek"] {
        let target = tempfile::tempdir().unwrap();
        // The command of an old node, and that of somebody else.
        let mut old = std::process::Command::new("tar")
            .args(["--extract", word, "--same-permissions"])
            .args(["--numeric-owner", "--sparse", "--file", "-"])
            .current_dir(target.path())
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = old.stdin.take().unwrap();
        // It leaves as soon as it has seen the end, and an old `ka-d-client` that still has
        // something for it is killed. Slowly, so that it has the time to leave.
        let (begin, end) = stream.split_at(stream.len() - 20 * 1024);
        input.write_all(begin).unwrap();
        for block in end.chunks(512) {
            std::thread::sleep(std::time::Duration::from_millis(5));
            input.write_all(block).unwrap();
        }
        drop(input);
        assert!(old.wait().unwrap().success());
        assert_eq!(fs::read(target.path().join("-rf")).unwrap(), b"-rf");
        // What is told behind the files is no file.
        assert!(!target.path().join("goldring-files").exists());
    }
    // And the command of an old golden node.
    let output = std::process::Command::new("tar")
        .args(["--create", "--one-file-system", "--sparse", "."])
        .current_dir(tree.path())
        .stderr(std::process::Stdio::null())
        .output()
        .unwrap();
    let error = arrived(&output.stdout, Form::Checked, tree.path()).unwrap_err();
    assert!(
        matches!(error, FilesError::Trailer(TrailerError::Absent)),
        "{error}"
    );
    let differences = arrived(&output.stdout, Form::Plain, tree.path()).unwrap();
    // What it cannot carry, and nothing else: the socket, nanoseconds, attributes.
    assert!(
        differences.iter().any(|text| text.contains("socket\\377")),
        "{differences:?}"
    );
    assert!(
        !differences.iter().any(|text| text.contains("content")),
        "{differences:?}"
    );
}

/// Comes slowly, block by block.
struct Slow<'a>(&'a [u8]);

impl std::io::Read for Slow<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        std::thread::sleep(std::time::Duration::from_millis(2));
        // What is left are whole blocks, or a whole one less what was read of it.
        let block = match self.0.len() % 512 {
            0 => 512,
            rest => rest,
        };
        let most = bytes.len().min(block);
        self.0.read(&mut bytes[..most])
    }
}

#[test]
fn what_fills_an_old_stream_behind_its_end_does_no_harm() {
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("a"), "x").unwrap();
    let output = std::process::Command::new("tar")
        .args(["--create", "--blocking-factor=256", "."])
        .current_dir(tree.path())
        .output()
        .unwrap();
    let filled = output.stdout;
    // That is more than one read of the tar here. And one empty block is an end for it alone.
    let mut odd = filled.clone();
    let mut walk = Walk::new(Form::Checked);
    walk.feed(&filled).unwrap();
    odd[usize::try_from(walk.bytes()).unwrap() + 512..].fill(b'x');
    for stream in [&filled, &odd] {
        let target = tempfile::tempdir().unwrap();
        receive(target.path(), Form::Plain, Slow(stream), |_: &str| {}).unwrap();
        assert_eq!(fs::read(target.path().join("a")).unwrap(), b"x");
    }
}

#[test]
fn a_stream_that_is_cut_is_an_error_wherever_it_is_cut() {
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("sparse"), "not at all").unwrap();
    for level in [None, Some(1)] {
        let (stream, _) = sent(tree.path(), level);
        let step = (stream.len() / 40).max(1);
        // The empty block at the end of zstd may go.
        let end = stream.len() - if level.is_some() { 8 } else { 1 };
        for cut in (0..end).step_by(step).chain([end]) {
            let result = arrived(&stream[..cut], Form::Checked, tree.path());
            assert!(result.is_err(), "cut at {cut} of {}", stream.len());
        }
    }
}

#[test]
fn a_byte_that_changes_is_an_error() {
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("sparse"), "a word that may change").unwrap();
    let (mut stream, _) = sent(tree.path(), None);
    let place = stream
        .windows(6)
        .position(|part| part == b"a word")
        .unwrap();
    stream[place] = b'x';
    let error = arrived(&stream, Form::Checked, tree.path()).unwrap_err();
    assert!(
        matches!(&error, FilesError::Differ(why) if why == "the digests differ"),
        "{error}"
    );
}

#[test]
fn the_golden_nodes_trouble_is_told_at_the_node() {
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("sparse"), "x").unwrap();
    let wish = Sending {
        source: Source {
            places: vec!["/".into(), "/gone".into()],
            ..Source::tree(tree.path())
        },
        level: None,
        form: Form::Checked,
    };
    fs::create_dir(tree.path().join("gone")).unwrap();
    let mut stream = Vec::new();
    send(&wish, &mut stream, |_: &str| {}).unwrap();
    // A disk that cannot be read is hard to have here; what the sender says then is not.
    let mut walk = Walk::new(Form::Checked);
    walk.feed(&stream).unwrap();
    let mut trailer = Trailer::parse(walk.trailer().unwrap()).unwrap();
    trailer.failed = "tar: ./x: Read error at byte 0: Input/output error".to_owned();
    stream.truncate(usize::try_from(walk.bytes()).unwrap());
    stream.extend(trailer.to_bytes());
    stream.extend(END);
    let error = arrived(&stream, Form::Checked, tree.path()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the golden node could not read all of its files: tar: ./x: Read error at byte 0: \
         Input/output error"
    );
}

#[test]
fn a_file_system_that_is_not_there_fails_at_both_ends() {
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("sparse"), "x").unwrap();
    let wish = Sending {
        source: Source::tree(tree.path().join("none")),
        level: None,
        form: Form::Checked,
    };
    let mut stream = Vec::new();
    let error = send(&wish, &mut stream, |_: &str| {}).unwrap_err();
    assert!(error.to_string().contains("Cannot open"), "{error}");
    let error = arrived(&stream, Form::Checked, tree.path()).unwrap_err();
    assert!(
        matches!(error, FilesError::Trailer(TrailerError::Short)),
        "{error}"
    );
}

#[test]
fn a_folder_that_is_excluded_stays_behind_whatever_it_is_called() {
    let tree = tempfile::tempdir().unwrap();
    for name in ["a*", "ab", "c[d]", "c"] {
        fs::create_dir(tree.path().join(name)).unwrap();
        fs::write(tree.path().join(name).join(".in"), "").unwrap();
    }
    let wish = Sending {
        source: Source {
            excluded: vec!["/a*".into(), "/c[d]".into()],
            ..Source::tree(tree.path())
        },
        level: None,
        form: Form::Checked,
    };
    let mut stream = Vec::new();
    send(&wish, &mut stream, |said: &str| panic!("{said}")).unwrap();
    let target = tempfile::tempdir().unwrap();
    receive(target.path(), Form::Checked, &stream[..], |said: &str| {
        panic!("{said}")
    })
    .unwrap();
    let mut names: Vec<_> = fs::read_dir(target.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["ab", "c"]);
}

#[test]
fn what_is_no_stream_is_said() {
    let target = tempfile::tempdir().unwrap();
    let tell = |bytes: &[u8], form| receive(target.path(), form, bytes, |_: &str| {}).unwrap_err();
    assert!(matches!(
        tell(b"", Form::Checked),
        FilesError::Trailer(TrailerError::Short)
    ));
    let error = tell(&[b'x'; 5000], Form::Checked);
    assert!(matches!(error, FilesError::Walk(_)), "{error}");
    let error = tell(&[b'x'; 5000], Form::Plain);
    assert!(matches!(error, FilesError::Tar(_)), "{error}");
    let error = receive(
        Path::new("/no/such"),
        Form::Checked,
        &b"x"[..],
        |_: &str| {},
    )
    .unwrap_err();
    assert_eq!(error.to_string(), "/no/such");
}

/// A writer that takes a little and then has gone.
struct Gone(usize);

impl Write for Gone {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0 == 0 {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        }
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn it_is_the_same_however_it_is_read() {
    let tree = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c"] {
        fs::write(tree.path().join(name), name.repeat(700)).unwrap();
    }
    drop(UnixListener::bind(tree.path().join("socket")).unwrap());
    for form in [Form::Checked, Form::Agreed, Form::Plain] {
        let whole = sent_as(tree.path(), form);
        for step in [1, 7, 511, 700, 100_000] {
            let source = Source::tree(tree.path());
            let mut files = Outgoing::start(&source, form, |_: &str| {}).unwrap();
            let (mut stream, mut buffer) = (Vec::new(), vec![0; step]);
            loop {
                match files.read(&mut buffer).unwrap() {
                    0 => break,
                    length => stream.extend_from_slice(&buffer[..length]),
                }
            }
            assert!(stream == whole, "by {step}");
            files.finish().unwrap();
        }
    }
}

#[test]
fn a_node_that_goes_ends_the_golden_nodes_tar() {
    let tree = ugly_tree();
    fs::write(tree.path().join("large"), vec![7; 8 << 20]).unwrap();
    for level in [None, Some(1)] {
        let wish = Sending {
            source: Source::tree(tree.path()),
            level,
            form: Form::Checked,
        };
        let error = send(&wish, Gone(100), |_: &str| {}).unwrap_err();
        assert!(error.to_string().contains("other end has gone"), "{error}");
    }
}

/// As the scripts of ka-deploy call it; sockets are the only thing that is missing.
#[test]
fn an_old_node_reads_what_is_for_it() {
    let tree = ugly_tree();
    let stream = sent_as(tree.path(), Form::Plain);
    let mut walk = Walk::new(Form::Checked);
    assert_eq!(walk.feed(&stream), Ok(stream.len()));
    assert!(walk.has_ended() && walk.trailer().is_none());
    let target = tempfile::tempdir().unwrap();
    let mut tar = std::process::Command::new("tar")
        .args(["--extract", "--read-full-records", "--same-permissions"])
        .args(["--numeric-owner", "--sparse", "--file", "-"])
        .current_dir(target.path())
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // Nobody has gone when the last byte is written.
    tar.stdin.take().unwrap().write_all(&stream).unwrap();
    assert!(tar.wait().unwrap().success());
    let blocks = fs::metadata(target.path().join("sparse")).unwrap().blocks();
    assert!(blocks < 2048, "a hole became {blocks} blocks");
    let socket = OsStr::from_bytes(b"spool/socket\xff");
    fs::remove_file(tree.path().join(socket)).unwrap();
    let (mut said, wish) = (Vec::new(), compare::Wish::default());
    compare(tree.path(), target.path(), &wish, &mut |text| {
        said.push(text.to_owned())
    })
    .unwrap();
    // The attribute of a user, and the time of the folder that had the socket.
    said.retain(|line| !line.contains("user.goldring") && !line.contains("spool"));
    assert_eq!(said, [""; 0]);
}

#[test]
fn a_new_node_takes_everything_where_ka_compares() {
    let tree = ugly_tree();
    for form in [Form::Agreed, Form::Checked] {
        let stream = sent_as(tree.path(), form);
        assert_eq!(
            arrived(&stream, Form::Agreed, tree.path()).unwrap(),
            [""; 0]
        );
    }
    let plain = sent_as(tree.path(), Form::Plain);
    let said = arrived(&plain, Form::Agreed, tree.path()).unwrap();
    assert!(said.iter().all(|line| line.contains("socket")), "{said:?}");
    let refused = arrived(&plain, Form::Checked, tree.path()).unwrap_err();
    assert!(matches!(refused, FilesError::Trailer(_)), "{refused}");
    let cut = &plain[..plain.len() - 20_480];
    assert!(arrived(cut, Form::Agreed, tree.path()).is_err());
}

/// ka has compared all of it before this end sees its end, so nobody sums it up again; what is
/// left to compare is the count.
#[test]
fn where_ka_compares_nothing_is_summed_up_twice() {
    let tree = ugly_tree();
    let stream = sent_as(tree.path(), Form::Agreed);
    let taken = |stream: &[u8], form| {
        let target = tempfile::tempdir().unwrap();
        receive(target.path(), form, stream, |_: &str| {})
    };
    let received = taken(&stream, Form::Agreed).unwrap();
    assert_eq!(received.contents.digest, None);
    assert!(!received.is_bare);
    let plain = sent_as(tree.path(), Form::Plain);
    assert!(taken(&plain, Form::Agreed).unwrap().is_bare);
    // A node whose session did not compare says so.
    let received = taken(&stream, Form::Checked).unwrap();
    assert!(received.contents.digest.is_some() && !received.is_compared);
    let checked = sent_as(tree.path(), Form::Checked);
    assert!(taken(&checked, Form::Checked).unwrap().is_compared);
    let mut walk = Walk::new(Form::Agreed);
    walk.feed(&stream).unwrap();
    let mut trailer = Trailer::parse(walk.trailer().unwrap()).unwrap();
    trailer.contents.entries += 1;
    let mut short = stream[..usize::try_from(walk.bytes()).unwrap()].to_vec();
    short.extend([&trailer.to_bytes()[..], &END].concat());
    let error = taken(&short, Form::Agreed).unwrap_err();
    assert!(matches!(error, FilesError::Differ(_)), "{error}");
}

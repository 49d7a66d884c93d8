//! Events for programs: one line of JSON each, on the standard output.

use std::io::{self, Write};

use goldring_transfer::dollyplus::Event;
use goldring_transfer::dollyplus::client::Done;
use goldring_transfer::dollyplus::report::{Slow, SlowPart};
use goldring_transfer::dollyplus::server::{Fate, Summary};
use goldring_wire::dollyplus::own::Verdict;
use goldring_wire::dollyplus::status::State;
use serde_json::{Value, json};

/// Prints an event.
pub(super) fn event(event: &Event) {
    print(&of_event(event));
}

/// Prints how a client ended.
pub(super) fn client(done: &Done) {
    print(&json!({
        "event": "end", "ok": true, "bytes": done.bytes, "seconds": done.elapsed.as_secs_f64(),
        "verified": done.checked, "outputs": done.outputs,
    }));
}

/// Prints how a run ended.
pub(super) fn server(summary: &Summary) {
    let nodes: Vec<Value> = summary
        .fates
        .iter()
        .map(|(name, fate)| {
            let (state, why) = match fate {
                Fate::Verified { late: false } => ("verified", None),
                Fate::Verified { late: true } => ("verified-late", None),
                Fate::Sent => ("sent", None),
                Fate::Willing => ("willing", None),
                Fate::Failed(why) => ("failed", Some(why)),
            };
            json!({ "node": name, "state": state, "why": why })
        })
        .collect();
    let ok = summary.fates.iter().all(|(_, fate)| fate.is_good());
    print(&json!({
        "event": "end", "ok": ok, "dry": summary.dry, "bytes": summary.bytes,
        "seconds": summary.elapsed.as_secs_f64(), "nodes": nodes,
        "packed": {
            "bytes": summary.packed.bytes, "into": summary.packed.into, "levels": summary.packed.levels,
        },
    }));
}

fn print(value: &Value) {
    // Whoever reads it may have gone; that does not stop a clone.
    let _ = writeln!(io::stdout(), "{value}");
}

fn of_event(event: &Event) -> Value {
    match event {
        Event::Waiting { left } => {
            json!({ "event": "waiting", "seconds_left": left.map(|l| l.as_secs()) })
        }
        Event::Dropped { peer, why } => json!({ "event": "dropped", "peer": peer, "why": why }),
        Event::Missing(names) => json!({ "event": "missing", "nodes": names }),
        Event::Called { server, name } => {
            json!({ "event": "called", "server": server, "node": name })
        }
        Event::Next(name) => json!({ "event": "next", "node": name }),
        Event::Ring(hosts) => {
            let hosts: Vec<Value> = hosts
                .iter()
                .map(|host| json!({ "node": host.name, "flag": host.flag }))
                .collect();
            json!({ "event": "ring", "hosts": hosts })
        }
        Event::Files(files) => {
            let files: Vec<&String> = files.iter().map(|file| &file.name).collect();
            json!({ "event": "files", "outputs": files })
        }
        Event::Started { total, own } => {
            json!({ "event": "started", "total": total, "checksums": own })
        }
        Event::File(number, name) => json!({ "event": "file", "number": number, "output": name }),
        Event::Progress(done, total) => {
            json!({ "event": "progress", "done": done, "total": total })
        }
        Event::Host(name, state) => {
            let (state, received, stored) = match state {
                State::Waiting => ("waiting", 0, 0),
                State::Busy { received, stored } => ("busy", *received, *stored),
                State::Done => ("done", 0, 0),
            };
            json!({ "event": "node", "node": name, "state": state, "received": received, "stored": stored })
        }
        Event::Lost { name, by, why } => {
            json!({ "event": "lost", "node": name, "by": by, "why": why })
        }
        Event::Orphaned(why) => json!({ "event": "orphaned", "why": why }),
        Event::LeftBehind { name, slow } => left_behind(name, *slow),
        Event::SteppedOut => json!({ "event": "stepped-out" }),
        Event::Resumed(name, chunk) => json!({ "event": "resumed", "node": name, "chunk": chunk }),
        Event::Stored => json!({ "event": "stored" }),
        Event::Verdict(name, verdict) => match verdict {
            Verdict::Willing => json!({ "event": "verdict", "node": name, "ok": true }),
            Verdict::Complete { bytes, digest } => {
                json!({ "event": "verdict", "node": name, "ok": true, "bytes": bytes, "digest": digest })
            }
            Verdict::Failed(why) => {
                json!({ "event": "verdict", "node": name, "ok": false, "why": why })
            }
        },
        Event::Late(names, left) => {
            json!({ "event": "late", "nodes": names, "seconds_left": left.as_secs() })
        }
        Event::Note(line) => json!({ "event": "note", "text": line }),
    }
}

fn left_behind(name: &str, slow: Slow) -> Value {
    let part = match slow.part {
        SlowPart::Disk => "disk",
        SlowPart::Receives => "receives",
        SlowPart::Sends => "sends",
    };
    let Slow { rate, others, .. } = slow;
    json!({ "event": "left-behind", "node": name, "slow": part, "rate": rate, "others": others })
}

//! Who may read what is kept, and what messages say of it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::support::{Ended, Running, Sandbox, append, chmod};

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn in_a_home_that_others_may_write_in_everything_new_is_private_and_it_is_told() {
    let sandbox = Sandbox::new();
    for directory in ["", "pending"] {
        fs::create_dir_all(sandbox.home(directory)).unwrap();
        fs::set_permissions(sandbox.home(directory), fs::Permissions::from_mode(0o777)).unwrap();
    }
    append(sandbox.log("a.jsonl"), "one\ntwo\n");
    let run = |args: &[&str]| Running::start(sandbox.shell("umask 0", args)).end();
    let once = ["watch", "--once", "user/logs"];
    run(&once).exits(0).told_once("[home.open_to_others]");
    run(&["drain", "--max", "1"]).exits(0);
    append(sandbox.log("a.jsonl"), "three\n");
    run(&once).exits(0);
    run(&["status"]).exits(0);
    let (given, kept) = ([sandbox.home(""), sandbox.home("pending")], sandbox.everything());
    for (path, (mode, content)) in &kept {
        let is_given = given.iter().any(|given| given.components().eq(path.components()));
        let expected = match content {
            Some(_) => 0o600,
            None if is_given => 0o777,
            None => 0o700,
        };
        assert_eq!(*mode, expected, "{path:?} has {mode:o}");
    }
    assert_eq!(mode(sandbox.home("lock")), 0o600);
    // Nobody else: nothing to tell.
    for closed in [0o755, 0o700] {
        chmod(sandbox.home(""), closed);
        assert_eq!(run(&once).exits(0).count("[home.open_to_others]"), 0);
        assert_eq!(mode(sandbox.home("")), closed, "what its owner chose stays");
    }
}

/// In every line.
const MARKER: &str = "marked-text-of-a-line";

/// What a command said of its doing.
#[track_caller]
fn says_nothing_of_lines(what: &str, ended: &Ended) {
    let told: Vec<_> = ended.stderr.lines().filter(|line| line.contains(MARKER)).collect();
    assert!(told.is_empty(), "{what}: {told:#?}");
}

/// Runs a command with the log at its finest.
fn run(sandbox: &Sandbox, args: &[&str]) -> Ended {
    let mut command = sandbox.command(&[args, &["-vv"]].concat());
    command.env("RUST_LOG", "trace");
    Running::start(command).end()
}

/// Lines of every kind, with the marker in each.
fn lines() -> Vec<Vec<u8>> {
    let long = "x".repeat(2 << 20);
    let longer = "y".repeat(9 << 20);
    vec![
        format!("{{\"text\":\"{MARKER}\",\"cwd\":\"/w\"}}\n").into(),
        format!("{MARKER}\n").into(),
        format!("\"{MARKER}\n").into(),
        [b"\xff\xfe", MARKER.as_bytes(), b"\xff\n"].concat(),
        format!("{{\"role\":{{\"{MARKER}\":1}},\"type\":\"{MARKER}\"}}\n").into(),
        format!("\0\0{MARKER}\n").into(),
        format!("{{\"text\":\"{MARKER}{long}{MARKER}\"}}\n").into(),
        [b"\xff", longer.as_bytes(), MARKER.as_bytes(), b"\n"].concat(),
        format!("{{\"unfinished\":\"{MARKER}").into(),
    ]
}

#[test]
fn no_message_at_any_level_holds_the_text_of_a_line() {
    let sandbox = Sandbox::new();
    for (line, n) in lines().iter().zip(0..) {
        append(sandbox.log(format!("{n}.jsonl")), line);
    }
    let commands: [&[&str]; 8] = [
        &["watch", "--once", "user/logs"],
        &["status"],
        &["sessions"],
        &["verify"],
        &["drain", "--peek"],
        &["drain", "--peek", "--format", "record"],
        &["drain", "--peek", "--format", "raw"],
        &["discover"],
    ];
    let all = |when: &str| {
        for args in commands {
            says_nothing_of_lines(&format!("{when}: {args:?}"), &run(&sandbox, args));
        }
        for one in sandbox.envelopes() {
            let traced = run(&sandbox, &["trace", one["ulid"].as_str().unwrap()]);
            says_nothing_of_lines(when, &traced);
        }
    };
    all("captured");
    assert!(sandbox.records().len() >= 8);
    for (line, n) in lines().iter().zip(0..) {
        let path = sandbox.log(format!("{n}.jsonl"));
        match n % 3 {
            0 => append(path, [b"\n", &line[..]].concat()),
            1 => fs::write(path, format!("{MARKER} rewritten\n")).unwrap(),
            _ => fs::remove_file(path).unwrap(),
        }
    }
    all("changed");
    says_nothing_of_lines(
        "drained",
        &run(&sandbox, &["drain", "--exec", "cat >/dev/null; exit 1"]),
    );
    says_nothing_of_lines("drained", &run(&sandbox, &["drain", "--format", "raw"]));
}

type Poison = fn(&str) -> String;

/// Ways in which a text of a batch comes to stand where something else belongs.
const POISONS: [(&str, Poison); 16] = [
    ("the line itself", |_| format!("{MARKER}\n")),
    ("the line as JSON", |_| format!("\"{MARKER}\"\n")),
    ("a list", |_| format!("[\"{MARKER}\"]\n")),
    ("a version", |text| {
        text.replace("\"schema_version\":1", &format!("\"schema_version\":\"{MARKER}\""))
    }),
    ("a version of digits", |text| {
        text.replace("\"schema_version\":1", &format!("\"schema_version\":[1,\"{MARKER}\"]"))
    }),
    ("a record that is text", |text| {
        text.replacen("\"record\":{", &format!("\"record\":\"{MARKER}\",\"r\":{{"), 1)
    }),
    ("a surface that is an object", |text| {
        text.replacen("\"surface\":", &format!("\"surface\":{{\"{MARKER}\":1}},\"s\":"), 1)
    }),
    ("a surface that is a list", |text| {
        text.replacen("\"surface\":", &format!("\"surface\":[\"{MARKER}\"],\"s\":"), 1)
    }),
    ("base64 that is none", |text| {
        text.replacen(
            "\"surface\":",
            &format!("\"surface_base64\":\"{MARKER}\",\"surface\":"),
            1,
        )
    }),
    ("a ULID", |text| {
        text.replacen("{\"ulid\":\"", &format!("{{\"ulid\":\"z{MARKER}"), 1)
    }),
    ("a ULID that is a list", |text| {
        text.replacen("{\"ulid\":", &format!("{{\"ulid\":[\"{MARKER}\"],\"u\":"), 1)
    }),
    ("a time", |text| {
        text.replacen(
            "\"appended_at\":",
            &format!("\"appended_at\":{{\"{MARKER}\":1}},\"a\":"),
            1,
        )
    }),
    ("a file id", |text| {
        text.replacen("\"file_id\":\"", &format!("\"file_id\":\"{MARKER}"), 1)
    }),
    ("an offset", |text| {
        text.replacen("\"offset\":", &format!("\"offset\":\"{MARKER}\",\"o\":"), 1)
    }),
    ("a key twice", |text| {
        text.replacen(
            "{\"ulid\":",
            &format!("{{\"{MARKER}\":1,\"{MARKER}\":2,\"ulid\":\"{MARKER}\",\"ulid\":"),
            1,
        )
    }),
    ("cut off", |text| {
        text[..text.rfind(MARKER).unwrap() + MARKER.len()].to_owned()
    }),
];

#[test]
fn no_message_about_a_poisoned_batch_holds_what_is_in_it() {
    for (what, poison) in POISONS {
        let sandbox = Sandbox::new();
        append(
            sandbox.log("a.jsonl"),
            format!("{{\"n\":1,\"t\":\"{MARKER}\"}}\n{MARKER}\n"),
        );
        sandbox.once(&[]).exits(0);
        let ulid = sandbox.envelopes()[0]["ulid"].as_str().unwrap().to_owned();
        let batch = sandbox.home("pending").join(&sandbox.batches()[0]);
        let text = fs::read_to_string(&batch).unwrap();
        assert_ne!(poison(&text), text, "{what}");
        fs::write(&batch, poison(&text)).unwrap();
        // As other programs write them.
        let first = text.lines().next().unwrap();
        fs::write(sandbox.home("pending/pending-other.json"), poison(first)).unwrap();
        for args in [
            &["status"][..],
            &["sessions"],
            &["verify"],
            &["trace", &ulid],
            &["drain", "--peek"],
            &["drain", "--peek", "--format", "record"],
            &["drain", "--peek", "--format", "raw"],
            &["watch", "--once", "user/logs"],
            &["drain", "--format", "raw"],
            &["drain"],
            &["status"],
            &["trace", &ulid],
            &["verify"],
        ] {
            let ended = run(&sandbox, args);
            says_nothing_of_lines(&format!("{what}: {args:?}"), &ended);
            if args == ["verify"] || args == ["status"] {
                assert!(!ended.text().contains(MARKER), "{what}: {ended:#?}");
            }
        }
        for reason in sandbox.paths_with("quarantine", "reason") {
            let reason = fs::read_to_string(reason).unwrap();
            assert!(!reason.contains(MARKER), "{what}: {reason}");
        }
    }
}

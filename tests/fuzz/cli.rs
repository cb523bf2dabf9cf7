//! Any arguments are a command or a mistake, and a mistake is told in two lines that drive no terminal.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use tailspool::cli::mistake;

use super::data::Data;

const VERBS: [&str; 13] = [
    "watch",
    "drain",
    "discover",
    "status",
    "sessions",
    "trace",
    "verify",
    "replay",
    "record",
    "config",
    "completions",
    "man",
    "help",
];

/// Options and values as they are meant.
const WORDS: &[&str] = &[
    "--home",
    "--config",
    "--no-config",
    "-v",
    "-q",
    "--help",
    "-h",
    "--version",
    "--json",
    "--once",
    "--source",
    "poll",
    "notify",
    "--interval",
    "2s",
    "100ms",
    "--scope",
    ".",
    "--glob",
    "*.jsonl",
    "[",
    "--from",
    "start",
    "end",
    "--layout",
    "batch",
    "record",
    "--max-files",
    "0",
    "7",
    "--max-pending-records",
    "--max-pending-bytes",
    "1GiB",
    "--on-full",
    "drop-oldest",
    "--commit-interval",
    "--events",
    "--agents",
    "--agents=no",
    "--exclude",
    "--format",
    "raw",
    "--exec",
    "cat",
    "--follow",
    "--max",
    "--peek",
    "--bless",
    "--out",
    "--scrub",
    "--since",
    "bash",
    "--",
    "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "-",
    "",
];

pub(crate) fn run(bytes: &[u8]) {
    let mut data = Data::new(bytes);
    let mut args: Vec<OsString> = vec!["tailspool".into()];
    let count = data.below(8);
    if !data.byte().is_multiple_of(8) {
        args.push(VERBS[data.below(VERBS.len())].into());
    }
    for _ in 0..count {
        args.push(match data.byte() % 4 {
            0 => OsString::from_vec(data.text().to_vec()),
            1 => data.number().to_string().into(),
            _ => WORDS[data.below(WORDS.len())].into(),
        });
    }
    let told = told(&args);
    let has_option = args.iter().any(|arg| arg.as_encoded_bytes().starts_with(b"-"));
    let has_verb = args.get(1).is_some_and(|arg| VERBS.iter().any(|verb| arg == verb));
    assert!(
        has_verb || has_option || args.len() == 1 || told,
        "{args:?} begin no command"
    );
    args.insert(1, "--no-such-option".into());
    assert!(self::told(&args), "{args:?}");
}

/// Whether a mistake is told.
fn told(args: &[OsString]) -> bool {
    let Some((error, hint)) = mistake(args) else {
        return false;
    };
    for line in [&error, &hint] {
        assert!(
            !line.is_empty() && !line.contains(char::is_control),
            "{line:?} of {args:?}"
        );
    }
    true
}

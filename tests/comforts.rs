//! Help, completions, manual, colours, names that would drive a terminal, and what is under `contrib/`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use support::{Running, Sandbox, append, wait_until_equal};

/// A name that would colour what follows, begin a line, and turn the text around.
const ODD: &str = "a\u{1b}[31m\nhint: \u{202e}b";

/// The same as it may be printed.
const SHOWN: &str = "a\\u{1b}[31m\\nhint: \\u{202e}b";

fn contrib(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib").join(name)
}

/// Every command, as the help lists them.
fn verbs(sandbox: &Sandbox) -> Vec<String> {
    let help = sandbox.run(&["--help"]).exits(0).text().to_owned();
    let commands = help.split("Options of every command").next().unwrap();
    let entries = commands.lines().filter_map(|line| line.strip_prefix("  "));
    let entries = entries.filter(|line| !line.starts_with(' '));
    entries.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

/// The long options that the help of a command names.
fn options(sandbox: &Sandbox, verb: &str) -> Vec<String> {
    let help = sandbox.run(&[verb, "-h"]).exits(0).text().to_owned();
    let lines = help.lines().filter_map(|line| line.trim_start().strip_prefix('-'));
    let long = lines.filter_map(|line| line.split_once("--").or(line.split_once('-')));
    let names = long.map(|(_, rest)| rest.split([' ', '[', '.', '=']).next().unwrap().to_owned());
    names.collect()
}

// What is printed in colours

/// Runs with standard output and error on a terminal, and returns what it shows.
fn on_a_terminal(sandbox: &Sandbox, variables: &[(&str, &str)], args: &[&str]) -> String {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    let name = ptsname(&controller, Vec::new()).unwrap();
    let open = || {
        fs::File::options()
            .read(true)
            .write(true)
            .open(OsStr::from_bytes(name.to_bytes()))
    };
    let mut command = sandbox.command(args);
    for variable in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "CI"] {
        command.env_remove(variable);
    }
    command.env("TERM", "xterm").envs(variables.iter().copied());
    command
        .stdout(open().unwrap())
        .stderr(open().unwrap())
        .stdin(Stdio::null());
    let mut child = command.spawn().unwrap();
    drop(command);
    // The last one that has the other end open is gone: EIO ends the reading.
    let mut shown = Vec::new();
    let _ = fs::File::from(controller).read_to_end(&mut shown);
    child.wait().unwrap();
    String::from_utf8(shown).unwrap()
}

#[test]
fn there_are_colours_on_a_terminal_only_and_never_with_no_color() {
    let sandbox = Sandbox::new();
    for args in [
        &["watch", "--nope"][..],
        &["trace", "01ARZ3NDEKTSV4RRFFQ69G5FAV"],
        &["--help"],
        &["watch", "-h"],
    ] {
        let plain = sandbox.run(args);
        let plain = format!("{}{}", plain.text(), plain.stderr);
        assert!(!plain.contains('\u{1b}'), "{args:?}: {plain}");
        let coloured = on_a_terminal(&sandbox, &[], args);
        assert!(coloured.contains('\u{1b}'), "{args:?}: {coloured}");
        for without in [("NO_COLOR", "1"), ("NO_COLOR", "0"), ("TERM", "dumb"), ("TERM", "")] {
            let shown = on_a_terminal(&sandbox, &[without, ("CLICOLOR_FORCE", "1")], args);
            assert!(!shown.contains('\u{1b}'), "{args:?}, {without:?}: {shown}");
            assert!(shown.len() > 20, "{args:?}, {without:?}: {shown}");
        }
        assert!(
            on_a_terminal(&sandbox, &[("NO_COLOR", "")], args).contains('\u{1b}'),
            "{args:?}"
        );
        let mut forced = sandbox.command(args);
        forced.env("CLICOLOR_FORCE", "1").env("TERM", "xterm");
        let forced = Running::start(forced).end();
        assert!(
            !forced.stderr.contains('\u{1b}') && !forced.text().contains('\u{1b}'),
            "{args:?}: {forced:#?}"
        );
    }
    let coloured = on_a_terminal(&sandbox, &[], &["watch", "--nope"]);
    let plain = coloured
        .split('\u{1b}')
        .map(|part| part.split_once('m').map_or(part, |(_, text)| text));
    let plain: String = plain.collect();
    assert!(plain.starts_with("error: ") && plain.contains("\nhint: "), "{plain}");
}

// Names that would drive a terminal

/// As much as takes longer to capture than the first word about it waits.
fn backlog(sandbox: &Sandbox) -> usize {
    let line = format!("{{\"text\":\"{}\"}}\n", "some words ".repeat(90));
    let lines = 150_000;
    append(sandbox.log("a.jsonl"), line.repeat(lines));
    lines
}

#[test]
fn a_backlog_has_a_bar_on_a_terminal_which_is_gone_at_the_end() {
    let sandbox = Sandbox::new();
    let lines = backlog(&sandbox);
    let shown = on_a_terminal(&sandbox, &[("NO_COLOR", "1")], &["watch", "--once", "user/logs"]);
    let bar = shown.split('\r').find(|drawn| drawn.contains(" %  ")).unwrap();
    assert!(bar.contains(['█', '░']), "{shown}");
    for part in [" %  ", " MiB of 143.3 MiB", " lines, ", " MiB/s, ", " s left"] {
        assert!(bar.contains(part), "{part}: {shown}");
    }
    // Lines stand on their own, above or below it.
    for line in [
        "watching ~/logs: 1 file, 143.3 MiB",
        &format!("captured {lines} lines of 1 file"),
    ] {
        let at = shown.find(line).unwrap_or_else(|| panic!("{line}: {shown:?}"));
        let before = &shown[..at];
        assert!(
            before.is_empty() || before.ends_with(['\r', '\n']) || before.ends_with("\u{1b}[2K"),
            "{line}: {shown:?}"
        );
    }
    let end = shown.rsplit("\u{1b}[2K").next().unwrap();
    assert!(
        end.trim_start().starts_with("captured ") && !end.contains('░'),
        "{shown:?}"
    );
    assert!(!shown.contains("\u{1b}[3"), "a colour: {shown:?}");
}

#[test]
fn there_is_no_bar_where_nothing_can_be_drawn_or_is_to_be_said() {
    for (variables, args) in [
        (&[("TERM", "dumb")][..], &["watch", "--once", "user/logs"][..]),
        (&[], &["-q", "watch", "--once", "user/logs"]),
    ] {
        let sandbox = Sandbox::new();
        backlog(&sandbox);
        let shown = on_a_terminal(&sandbox, variables, args);
        assert!(
            !shown.contains(" %  ") && !shown.contains('\u{1b}'),
            "{args:?}: {shown:?}"
        );
    }
    let sandbox = Sandbox::new();
    backlog(&sandbox);
    let ended = sandbox.once(&[]).exits(0);
    assert!(!ended.stderr.contains(['\r', '\u{1b}']), "{ended:#?}");
}

#[test]
fn a_standard_error_that_nobody_reads_stops_neither_the_capture_nor_its_end() {
    let sandbox = Sandbox::new();
    let (unread, mut full) = std::io::pipe().unwrap();
    let flags = rustix::fs::fcntl_getfl(&full).unwrap();
    rustix::fs::fcntl_setfl(&full, flags | OFlags::NONBLOCK).unwrap();
    while full.write(&[b'x'; 4096]).is_ok() {}
    rustix::fs::fcntl_setfl(&full, flags).unwrap();
    let mut command = sandbox.command(&["watch", "-vv", "--interval", "100ms", "user/logs"]);
    command.stderr(full).stdin(Stdio::null());
    let mut child = command.spawn().unwrap();
    drop(command);
    for line in 1..=3 {
        append(sandbox.log("a.jsonl"), format!("{line}\n"));
        wait_until_equal("the line", &line, || sandbox.envelopes().len());
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    drop(unread);
}

#[test]
fn no_argument_drives_the_terminal() {
    let sandbox = Sandbox::new();
    let odd_option = format!("--{ODD}");
    let odd_path = format!("user/{ODD}");
    for args in [
        &[ODD][..],
        &[&odd_option],
        &["watch", &odd_option],
        &["watch", "--interval", ODD],
        &["watch", "--from", ODD],
        &["watch", "--glob", &format!("[{ODD}"), "user/logs"],
        &["watch", "--exclude", &format!("[{ODD}"), "user/logs"],
        &["watch", "--scope", ODD, "user/logs"],
        &["watch", &format!("{odd_path}/.."), &odd_path],
        &["watch", "--once", &format!("/{ODD}")],
        &["config", "--config", ODD],
        &["trace", ODD],
        &["man", ODD],
        &["completions", ODD],
        &["replay", ODD],
        &["record", ODD, "--out", "x"],
    ] {
        let ended = sandbox.run(args);
        assert!(matches!(ended.code, Some(1..=3)), "{args:?}: {ended:#?}");
        assert!(ended.error().contains(SHOWN), "{args:?}: {ended:#?}");
        let odd = |text: &str| text.chars().any(|it| it != '\n' && tailspool::show::is_unsafe(it));
        assert!(!odd(&ended.stderr) && !odd(ended.text()), "{args:?}: {ended:#?}");
        let hints = ended.stderr.lines().filter(|line| line.starts_with("hint: ")).count();
        assert!(hints <= 1, "{args:?}: {ended:#?}");
    }
}

#[test]
fn no_config_file_drives_the_terminal() {
    let sandbox = Sandbox::new();
    let escaped = r"a\u001b[31m\nhint: \u202eb";
    for text in [
        format!("\"{escaped}\" = 1"),
        format!("from = \"{escaped}\""),
        format!("exclude = [\"[{escaped}\"]"),
        format!("glob = [\"[{escaped}\"]"),
        format!("home = \"~{escaped}\""),
        format!("scope = [\"/{escaped}\"]"),
        format!("roots = [\"~/{escaped}\", \"~/{escaped}/in\"]"),
        format!("[[roots]]\n\"{escaped}\" = 1"),
    ] {
        fs::write(sandbox.path("odd.toml"), &text).unwrap();
        let mut command = sandbox.command(&["watch", "--once", "--config", "odd.toml"]);
        if !text.starts_with("roots") {
            command.arg("user/logs");
        }
        let ended = Running::start(command).end().exits(2);
        assert!(ended.stderr.contains(SHOWN), "{text}: {ended:#?}");
        assert!(!ended.stderr.contains(['\u{1b}', '\u{202e}']), "{text}: {ended:#?}");
        assert_eq!(
            ended.count(""),
            ended.count("error: ") + usize::from(ended.stderr.contains("\nhint: "))
        );
    }
}

#[test]
fn no_name_of_a_log_drives_the_terminal() {
    let sandbox = Sandbox::new();
    let directory = sandbox.log(ODD);
    fs::create_dir(&directory).unwrap();
    let log = directory.join(format!("{ODD}.jsonl"));
    append(&log, "one\ntwo\n");
    append(sandbox.log("b.jsonl"), "three\n");
    let told = |ended: support::Ended| {
        let odd = |text: &str| text.chars().any(|it| it != '\n' && tailspool::show::is_unsafe(it));
        assert!(!odd(&ended.stderr) && !odd(ended.text()), "{ended:#?}");
        assert_eq!(
            ended.count("hint: \\u") + ended.text().matches("\nhint").count(),
            ended.count(SHOWN),
            "{ended:#?}"
        );
        format!("{}{}", ended.text(), ended.stderr)
    };
    let root = format!("user/logs/{ODD}");
    let watched = told(
        sandbox
            .run(&["-vv", "watch", "--once", &root, "user/logs/b.jsonl"])
            .exits(0),
    );
    assert!(watched.contains(SHOWN), "{watched}");
    let status = told(sandbox.run(&["status"]).exits(0));
    assert!(status.contains(SHOWN), "{status}");
    let ulid = sandbox.envelopes()[0]["ulid"].as_str().unwrap().to_owned();
    assert!(told(sandbox.run(&["trace", &ulid]).exits(0)).contains(SHOWN));
    // Rewritten in its middle and told of, with the log at its finest.
    fs::write(&log, "onE\ntwo\n").unwrap();
    let verified = told(sandbox.run(&["-vv", "verify"]));
    assert!(verified.contains(SHOWN), "{verified}");
    let removed = directory.join("gone.jsonl");
    std::os::unix::fs::symlink("nothing", removed).unwrap();
    fs::remove_file(&log).unwrap();
    told(sandbox.run(&["-vv", "watch", "--once", &root]).exits(0));
    assert!(told(sandbox.run(&["trace", &ulid]).exits(0)).contains(SHOWN));
    let missing = told(
        sandbox
            .run(&["watch", "--once", &format!("user/logs/not {ODD}")])
            .exits(1),
    );
    assert!(missing.contains(SHOWN), "{missing}");
}

// Completions and manual

#[test]
fn the_completions_of_every_shell_name_every_command_and_bash_takes_its_own() {
    let sandbox = Sandbox::new();
    let verbs = verbs(&sandbox);
    assert!(verbs.len() >= 10, "{verbs:?}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = sandbox
            .run(&["completions", shell])
            .exits(0)
            .no_error()
            .text()
            .to_owned();
        for word in verbs.iter().map(String::as_str).chain(["max-pending-bytes"]) {
            assert!(script.contains(word), "{word} for {shell}");
        }
        let knows_values = ["bash", "zsh", "fish"].contains(&shell);
        assert_eq!(script.contains("drop-oldest"), knows_values, "{shell}");
        let file = sandbox.path(shell);
        fs::write(&file, script).unwrap();
        // Where that shell is not there, nobody can ask it.
        for program in ["bash", "zsh", "fish"] {
            if program == shell
                && let Ok(checked) = Command::new(program).arg("-n").arg(&file).output()
            {
                assert!(checked.status.success(), "{checked:?}");
            }
        }
    }
    let ended = sandbox.run(&["completions", "tcsh"]).exits(2);
    assert!(ended.error().contains("bash"), "{ended:#?}");
}

#[test]
fn bash_completes_commands_options_and_their_values() {
    let sandbox = Sandbox::new();
    let script = sandbox.path("completions");
    fs::write(&script, sandbox.run(&["completions", "bash"]).exits(0).stdout).unwrap();
    let complete = |words: &[&str]| {
        let list = words
            .iter()
            .map(|word| format!("'{word}'"))
            .collect::<Vec<_>>()
            .join(" ");
        let (word, before) = (words[words.len() - 1], words[words.len() - 2]);
        let run = format!(
            "source completions; COMP_WORDS=({list}); COMP_CWORD={}; _tailspool tailspool '{word}' '{before}'; echo \"${{COMPREPLY[@]}}\"",
            words.len() - 1
        );
        let output = Command::new("bash")
            .args(["-c", &run])
            .current_dir(sandbox.path(""))
            .output()
            .ok()?;
        Some(String::from_utf8(output.stdout).unwrap())
    };
    let Some(commands) = complete(&["tailspool", "wat"]) else {
        eprintln!("skipped: there is no bash");
        return;
    };
    assert_eq!(commands.trim(), "watch");
    assert_eq!(complete(&["tailspool", "watch", "--on-f"]).unwrap().trim(), "--on-full");
    assert_eq!(
        complete(&["tailspool", "watch", "--on-full", ""]).unwrap().trim(),
        "wait drop-oldest"
    );
}

#[test]
fn the_manual_has_a_page_of_every_command_with_every_option_of_it() {
    let sandbox = Sandbox::new();
    let main = sandbox.run(&["man"]).exits(0).no_error().text().to_owned();
    assert!(main.contains(".TH tailspool 1"), "{main}");
    for verb in verbs(&sandbox) {
        assert!(main.contains(&format!("tailspool\\-{verb}(1)")), "{verb} in {main}");
        if verb == "help" {
            continue;
        }
        let page = sandbox.run(&["man", &verb]).exits(0).text().to_owned();
        assert!(page.contains(&format!(".TH tailspool-{verb} 1")), "{page}");
        let options = options(&sandbox, &verb);
        assert!(options.len() >= 6, "{options:?}");
        for option in options {
            let written = format!("\\-\\-{}", option.replace('-', "\\-"));
            assert!(page.contains(&written), "{option} in {page}");
        }
    }
    let ended = sandbox.run(&["man", "wach"]).exits(2);
    assert!(ended.hint().contains("`watch`"), "{ended:#?}");
}

#[test]
fn a_reader_of_the_manual_that_closes_the_pipe_is_no_failure() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&["man", "watch"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stdout(writer);
    Running::start(command).end().exits(0).no_error();
}

// What is under contrib/

/// The arguments of each `tailspool …` that a text calls.
fn calls(text: &str) -> Vec<Vec<String>> {
    let lines = text.lines().filter_map(|line| line.split_once("/.cargo/bin/tailspool"));
    let args = lines.map(|(_, rest)| rest.split(['<', '&', ';', '|']).next().unwrap().trim_start_matches('"'));
    args.map(|rest| rest.split_whitespace().map(str::to_owned).collect())
        .collect()
}

#[test]
fn every_call_in_contrib_is_one_that_tailspool_takes() {
    let sandbox = Sandbox::new();
    let mut found = 0;
    for entry in fs::read_dir(contrib("")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        for mut call in calls(&text) {
            found += 1;
            // What is asked for help must be there.
            assert!(!call.is_empty(), "{text}");
            call.push("--help".into());
            let call: Vec<_> = call.iter().map(String::as_str).collect();
            let ended = sandbox.run(&call).exits(0);
            assert!(
                ended.text().contains(&format!("Usage: tailspool {}", call[0])),
                "{call:?}: {ended:#?}"
            );
        }
    }
    assert_eq!(found, 2);
}

#[test]
fn systemd_takes_the_unit() {
    let sandbox = Sandbox::new();
    // systemd asks whether the program is there.
    let bin = sandbox.path("user/.cargo/bin");
    fs::create_dir_all(&bin).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_tailspool"), bin.join("tailspool")).unwrap();
    let unit = sandbox.path("tailspool.service");
    let text = fs::read_to_string(contrib("tailspool.service")).unwrap();
    // The home in the user database is another one.
    fs::write(&unit, text.replace("%h", sandbox.path("user").to_str().unwrap())).unwrap();
    let verify = |path: &Path| {
        let mut command = Command::new("systemd-analyze");
        command.args(["--user", "verify"]).arg(path);
        command.env("XDG_RUNTIME_DIR", sandbox.path("")).output().ok()
    };
    let Some(checked) = verify(&unit) else {
        eprintln!("skipped: there is no systemd-analyze");
        return;
    };
    let broken = sandbox.path("broken.service");
    fs::write(&broken, text.replace("ExecStart=%h", "ExecStart=nowhere")).unwrap();
    assert!(!verify(&broken).unwrap().status.success(), "a unit can fail");
    assert!(checked.status.success() && checked.stderr.is_empty(), "{checked:?}");
    assert!(text.contains("ExecStart=%h/.cargo/bin/tailspool watch\n"));
    assert!(text.contains("RestartPreventExitStatus=2 3 4\n"));
}

/// The elements of an XML text, opening and closing ones; panics where they do not fit.
fn elements(text: &str) -> usize {
    let (mut open, mut count, mut rest) = (Vec::new(), 0, text);
    while let Some((_, behind)) = rest.split_once('<') {
        if let Some(comment) = behind.strip_prefix("!--") {
            let (inner, behind) = comment.split_once("-->").unwrap();
            assert!(!inner.contains("--"), "{inner}");
            rest = behind;
            continue;
        }
        let (tag, behind) = behind.split_once('>').unwrap();
        rest = behind;
        count += 1;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.starts_with(['?', '!']) && !tag.ends_with('/') {
            open.push(tag.split(' ').next().unwrap());
        }
        let content = rest.split('<').next().unwrap();
        assert!(!content.contains(['&', '>']), "{content}");
    }
    assert_eq!(open, [""; 0]);
    count
}

#[test]
fn the_file_of_launchd_is_well_formed_and_each_key_in_it_has_a_value() {
    let text = fs::read_to_string(contrib("tailspool.plist")).unwrap();
    assert!(elements(&text) > 20);
    let inner = text.split_once("<dict>").unwrap().1;
    let keys = inner
        .split("<key>")
        .skip(1)
        .map(|rest| rest.split_once("</key>").unwrap());
    for (key, behind) in keys {
        let value = behind.trim_start();
        let value = value
            .strip_prefix("<!--")
            .map_or(value, |rest| rest.split_once("-->").unwrap().1);
        let is_value = ["<string>", "<array>", "<dict>", "<integer>", "<true/>", "<false/>"];
        assert!(
            is_value.iter().any(|begin| value.trim_start().starts_with(begin)),
            "{key}"
        );
    }
    // Where there is something that knows.
    if let Ok(checked) = Command::new("plutil")
        .arg("-lint")
        .arg(contrib("tailspool.plist"))
        .output()
    {
        assert!(checked.status.success(), "{checked:?}");
    }
}

//! The config file: where it is, what it may say, what it does, and what is in force with it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use support::{Ended, Running, Sandbox, append, wait_until_equal};

/// Where the config file of the user is.
const PLACE: &str = "user/.config/tailspool/tailspool.toml";

/// A sandbox with this config file.
fn with(config: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    write(&sandbox, PLACE, config);
    sandbox
}

fn write(sandbox: &Sandbox, path: &str, text: impl AsRef<[u8]>) {
    let path = sandbox.path(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// `config --json`.
#[track_caller]
fn in_force(sandbox: &Sandbox, args: &[&str]) -> Value {
    let ended = sandbox.run(&[&["config", "--json"], args].concat()).exits(0).no_error();
    ended.json().remove(0)["settings"].take()
}

/// The values that `config --json` tells, without their origins.
fn values(settings: &Value) -> Value {
    let value = |entry: &Value| entry["value"].clone();
    let all = settings.as_object().unwrap().iter().map(|(key, entry)| {
        let entry = match entry.as_array() {
            Some(list) => list.iter().map(value).collect(),
            None => value(entry),
        };
        (key.clone(), entry)
    });
    Value::Object(all.collect())
}

/// Runs with a variable set.
fn run_with(sandbox: &Sandbox, variables: &[(&str, &str)], args: &[&str]) -> Ended {
    let mut command = sandbox.command(args);
    command.envs(variables.iter().copied());
    Running::start(command).end()
}

/// Every key, with a value that is not its default.
const ALL: &str = r#"
home = "there"
roots = ["~/logs", { path = "/data/codex", agent = "codex", glob = ["rollout-*.jsonl"] }]
scope = ["~/"]
exclude = [
  "-work-secret",
  "~/.claude/projects/private-*",
]
glob = ["*.jsonl", "*.log"]
from = "end"
max-files = 1_000
source = "poll"
interval = "5s"
sweep-interval = "10m"
commit-interval = "1m 30s"
max-pending-records = 100000
max-pending-bytes = "2 GiB"
on-full = "drop-oldest"
layout = "record"
allow-network-home = true
agents = true
"#;

// What counts

#[test]
fn the_commit_interval_is_auto_or_a_time_in_the_file_and_on_the_command_line() {
    for (file, asked) in [("auto", "250ms"), ("250ms", "auto")] {
        let sandbox = with(&format!("commit-interval = '{file}'"));
        let found = |args: &[&str]| in_force(&sandbox, args)["commit-interval"].take();
        let low = found(&[]);
        assert_eq!((&low["value"], &low["origin"]), (&json!(file), &json!("file")));
        let high = found(&["--commit-interval", asked]);
        assert_eq!(high, json!({"value": asked, "origin": "command line"}));
    }
    let refused = Sandbox::new()
        .run(&["watch", "--commit-interval", "often", "user/logs"])
        .exits(2);
    let error = refused.error();
    assert!(error.contains("`auto`") && error.contains("100ms"), "{error}");
}

#[test]
fn every_key_of_the_file_is_in_force_and_says_its_line() {
    let sandbox = with(ALL);
    let mut command = sandbox.command(&["config", "--json"]);
    command.env_remove("TAILSPOOL_HOME");
    let settings = Running::start(command).end().exits(0).json().remove(0)["settings"].take();
    let file = sandbox.path(PLACE);
    assert_eq!(
        values(&settings),
        json!({
            "home": sandbox.path("user/.config/tailspool/there"),
            "roots": [
                sandbox.path("user/logs"),
                {"path": "/data/codex", "agent": "codex", "glob": ["rollout-*.jsonl"]},
            ],
            "agents": true,
            "scope": [format!("{}/", sandbox.path("user").display())],
            "exclude": ["-work-secret", "~/.claude/projects/private-*"],
            "glob": ["*.jsonl", "*.log"],
            "from": "end",
            "max-files": 1000,
            "source": "poll",
            "interval": "5s",
            "sweep-interval": "10m",
            "commit-interval": "1m 30s",
            "max-pending-records": 100_000,
            "max-pending-bytes": "2 GiB",
            "on-full": "drop-oldest",
            "layout": "record",
            "allow-network-home": true,
        })
    );
    for (key, line) in [("home", 2), ("interval", 13), ("allow-network-home", 20)] {
        let entry = &settings[key];
        assert_eq!(entry["origin"], "file", "{entry}");
        assert_eq!(entry["line"], line, "{entry}");
        assert_eq!(entry["path"], file.to_str().unwrap(), "{entry}");
    }
    assert_eq!(settings["exclude"][1]["line"], 7);
    assert_eq!(settings["roots"][1]["line"], 3);
}

#[test]
fn the_command_line_goes_before_the_file_and_the_file_before_the_default() {
    let sandbox = with("interval = '5s'\nroots = ['~/logs']\nscope = ['~/logs']\nexclude = ['a']\nglob = ['*.log']");
    let settings = in_force(
        &sandbox,
        &[
            "--interval",
            "7s",
            "--scope",
            "user",
            "--exclude",
            "b",
            "--glob",
            "*.txt",
            "user",
        ],
    );
    let origin = |entry: &Value| entry["origin"].clone();
    assert_eq!(settings["interval"], json!({"value": "7s", "origin": "command line"}));
    assert_eq!(settings["glob"]["value"], json!(["*.txt"]));
    assert_eq!(
        settings["commit-interval"],
        json!({"value": "auto", "origin": "default"})
    );
    assert_eq!(settings["roots"].as_array().unwrap().len(), 1, "they do not add up");
    assert_eq!(origin(&settings["roots"][0]), "command line");
    assert_eq!(settings["roots"][0]["value"], sandbox.path("user").to_str().unwrap());
    let both = [json!("file"), json!("command line")];
    for key in ["scope", "exclude"] {
        let origins: Vec<_> = settings[key].as_array().unwrap().iter().map(origin).collect();
        assert_eq!(origins, both, "{key} adds up");
    }
    assert_eq!(in_force(&sandbox, &[])["interval"]["value"], "5s");
    assert_eq!(in_force(&sandbox, &["--no-config"])["interval"]["origin"], "default");
}

#[test]
fn the_home_is_that_of_the_command_line_the_environment_the_file_or_the_platform_in_this_order() {
    let sandbox = with("home = '~/mine'");
    append(sandbox.log("a.jsonl"), "line\n");
    let home = |variables: &[(&str, &str)], args: &[&str]| {
        let mut command = sandbox.command(&[&["config", "--json"], args].concat());
        command.env_remove("TAILSPOOL_HOME").envs(variables.iter().copied());
        let ended = Running::start(command).end().exits(0);
        let home = ended.json()[0]["settings"]["home"].clone();
        (
            home["value"].as_str().unwrap().to_owned(),
            home["origin"].as_str().unwrap().to_owned(),
        )
    };
    let at = |path: &str, origin: &str| (sandbox.path(path).to_str().unwrap().to_owned(), origin.to_owned());
    let variable = [("TAILSPOOL_HOME", "env")];
    assert_eq!(home(&variable, &["--home", "asked"]), at("asked", "command line"));
    assert_eq!(home(&variable, &[]), at("env", "environment"));
    assert_eq!(home(&[], &[]), at("user/mine", "file"));
    assert_eq!(home(&[("TAILSPOOL_HOME", "")], &[]), at("user/mine", "file"));
    assert_eq!(
        home(&[], &["--no-config"]),
        at("user/.local/state/tailspool", "default")
    );
    // And commands go by it.
    for args in [
        &["watch", "--once", "user/logs"][..],
        &["status"],
        &["verify"],
        &["drain", "--peek"],
    ] {
        let mut command = sandbox.command(args);
        command.env_remove("TAILSPOOL_HOME");
        let ended = Running::start(command).end().exits(0).no_error();
        assert!(
            !ended.stderr.contains("nothing was captured yet"),
            "{args:?}: {ended:#?}"
        );
    }
    assert!(sandbox.path("user/mine/cursors.json").exists());
}

#[test]
fn a_watch_goes_by_the_roots_patterns_and_limits_of_the_file() {
    let sandbox = with("roots = ['~/logs']\nglob = ['*.log']\nlayout = 'record'\nmax-files = 1\nfrom = 'end'");
    append(sandbox.log("a.jsonl"), "no log\n");
    append(sandbox.log("a.log"), "before\n");
    append(sandbox.log("b.log"), "too much\n");
    sandbox.run(&["watch", "--once"]).exits(0).no_error();
    append(sandbox.log("a.log"), "line\n");
    sandbox.run(&["watch", "--once"]).exits(0).no_error();
    assert_eq!(sandbox.paths_with("pending", "json").len(), 1, "a file of its own");
    assert_eq!(sandbox.drain_raw(), "line\n");
    let full = with("roots = ['~/logs']\nmax-pending-records = 1");
    append(full.log("a.jsonl"), "one\n");
    full.run(&["watch", "--once"]).exits(0);
    append(full.log("a.jsonl"), "two\n");
    full.run(&["watch", "--once"]).exits(1);
    full.run(&["watch", "--once", "--max-pending-records", "5"]).exits(0);
}

#[test]
fn without_a_root_anywhere_a_watch_says_how_to_name_one() {
    let ended = with("interval = '5s'").run(&["watch", "--once"]).exits(1);
    assert!(ended.error().contains("no agent's session logs"), "{ended:#?}");
    assert!(ended.hint().contains("roots = ["), "{ended:#?}");
    assert!(ended.hint().contains("~/.claude/projects"), "{ended:#?}");
}

#[test]
fn known_agents_are_watched_beside_roots_when_that_is_asked_for_and_not_when_it_is_forbidden() {
    let lines = |sandbox: &Sandbox, args: &[&str]| {
        sandbox.run(&[&["watch", "--once"], args].concat()).exits(0).no_error();
        let mut lines: Vec<_> = sandbox.drain_raw().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let fill = |sandbox: &Sandbox| {
        for path in ["logs", "other", ".claude/projects", ".codex/sessions"] {
            write(sandbox, &format!("user/{path}/s.jsonl"), format!("{path}\n"));
        }
    };
    for (file, args, expected) in [
        ("", &[][..], &[".claude/projects", ".codex/sessions"][..]),
        ("roots = ['~/logs']", &[], &["logs"]),
        (
            "roots = ['~/logs']\nagents = true",
            &[],
            &[".claude/projects", ".codex/sessions", "logs"],
        ),
        ("roots = ['~/logs']\nagents = true", &["user/other"], &["other"]),
        (
            "roots = ['~/logs']",
            &["user/other", "--agents"],
            &[".claude/projects", ".codex/sessions", "other"],
        ),
        (
            "",
            &["user/.codex", "--agents"],
            &[".claude/projects", ".codex/sessions"],
        ),
        (
            "roots = ['~/logs', '~/.codex/sessions']\nagents = true",
            &["--agents=false"],
            &[".codex/sessions", "logs"],
        ),
    ] {
        let sandbox = with(file);
        fill(&sandbox);
        assert_eq!(lines(&sandbox, args), expected, "{file} {args:?}");
    }
    let sandbox = with("agents = false");
    fill(&sandbox);
    let ended = sandbox.run(&["watch", "--once"]).exits(2);
    assert!(ended.error().contains("no ROOT is given"), "{ended:#?}");
    // Nothing of an agent is here; a root that is named is watched all the same.
    let sandbox = with("roots = ['~/logs']\nagents = true");
    write(&sandbox, "user/logs/s.jsonl", "alone\n");
    assert_eq!(lines(&sandbox, &[]), ["alone"]);
}

#[test]
fn each_root_of_the_file_has_its_agent_and_its_patterns() {
    let sandbox = with("[[roots]]\npath = '~/logs/a'\nagent = 'one'\n[[roots]]\npath = '~/logs/b'\nglob = ['*.log']\n");
    for name in ["a", "b"] {
        fs::create_dir(sandbox.log(name)).unwrap();
        append(sandbox.log(format!("{name}/s.jsonl")), "jsonl\n");
        append(sandbox.log(format!("{name}/s.log")), "log\n");
    }
    sandbox.run(&["watch", "--once"]).exits(0).no_error();
    let found: Vec<_> = sandbox.envelopes().iter().map(|it| it["record"].clone()).collect();
    let found: Vec<_> = found
        .iter()
        .map(|it| (&it["surface"], &it["source"]["agent"]))
        .collect();
    assert_eq!(found, [(&json!("jsonl"), &json!("one")), (&json!("log"), &Value::Null)]);
}

// What is excluded

#[test]
fn what_the_file_excludes_is_never_opened_whatever_the_command_line_says() {
    let sandbox = with("exclude = ['-secret']\nroots = ['~/logs']");
    for project in ["-secret", "open", "asked"] {
        fs::create_dir(sandbox.log(project)).unwrap();
        append(sandbox.log(format!("{project}/a.jsonl")), format!("{project}\n"));
    }
    sandbox
        .run(&["watch", "--once", "--exclude", "asked", "user/logs"])
        .exits(0)
        .no_error();
    assert_eq!(sandbox.drain_raw(), "open\n");
    sandbox.run(&["watch", "--once", "--no-config", "user/logs"]).exits(0);
    assert_eq!(sandbox.envelopes().len(), 2, "the file alone kept them out");
}

#[test]
fn a_root_that_is_excluded_is_a_usage_error_that_says_by_which_pattern() {
    let sandbox = with("exclude = ['-sec*']");
    fs::create_dir_all(sandbox.log("-secret/sub")).unwrap();
    std::os::unix::fs::symlink(sandbox.log("-secret"), sandbox.path("user/link")).unwrap();
    let secret = sandbox.log("-secret");
    for (args, pattern) in [
        (&["user/logs/-secret"][..], "-sec*"),
        (&["user/logs/-secret/sub"], "-sec*"),
        (&["user/link"], "-sec*"),
        (&["--no-config", "--exclude", "~/logs", "user/logs"], "~/logs"),
        (
            &["--no-config", "--exclude", "logs/-secret", "user/logs/-secret"],
            "logs/-secret",
        ),
        (&["--no-config", "--exclude", "~/link", "user/logs/-secret"], "~/link"),
        (
            &["--no-config", "--exclude", secret.to_str().unwrap(), "user/link"],
            secret.to_str().unwrap(),
        ),
    ] {
        for verb in [
            &["watch", "--once"][..],
            &["record", "--looks", "1", "--out", "fixture"],
        ] {
            let ended = sandbox.run(&[verb, args].concat()).exits(2);
            assert!(ended.error().contains("excluded"), "{args:?}: {ended:#?}");
            assert!(ended.error().contains(&format!("`{pattern}`")), "{args:?}: {ended:#?}");
        }
        assert!(!sandbox.home("").exists(), "{args:?}");
    }
    let watch = ["watch", "--once", "--exclude", "user", "user/logs"];
    sandbox.run(&watch).exits(0).no_error();
}

#[test]
fn verify_and_trace_do_not_open_what_is_excluded() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.log("-secret")).unwrap();
    append(sandbox.log("-secret/a.jsonl"), "one\ntwo\n");
    append(sandbox.log("b.jsonl"), "three\nfour\n");
    sandbox.once(&[]).exits(0);
    let ulids: Vec<_> = sandbox
        .envelopes()
        .iter()
        .map(|it| it["ulid"].as_str().unwrap().to_owned())
        .collect();
    sandbox.drain_raw();
    let verify = |args: &[&str], code| {
        sandbox
            .run(&[&["verify", "--json"], args].concat())
            .exits(code)
            .json()
            .remove(0)
    };
    assert_eq!(verify(&[], 0)["files"]["standing"], 2);
    write(&sandbox, PLACE, "exclude = ['-secret']");
    let report = verify(&[], 1);
    assert_eq!(
        (&report["files"]["standing"], &report["files"]["unchecked"]),
        (&json!(1), &json!(1))
    );
    let what = report["findings"][0]["what"].as_str().unwrap();
    assert!(what.contains("excluded"), "{what}");
    assert_eq!(verify(&["--exclude", "b.jsonl"], 1)["files"]["unchecked"], 2);
    verify(&["--no-config"], 0);
    // Renamed to what is excluded, it may be there, and nobody looks.
    fs::rename(sandbox.log("b.jsonl"), sandbox.log("-secret.jsonl")).unwrap();
    assert_eq!(verify(&["--exclude", "-secret.jsonl"], 1)["files"]["unchecked"], 2);
    // Which of two lines it was only the log can tell.
    let told = |args: &[&str], ulid: &str| {
        let ended = sandbox.run(&[&["trace", "--json", ulid], args].concat()).exits(0);
        ended.json()[0]["origin"]["line"].clone()
    };
    assert_eq!(told(&["--no-config"], &ulids[1])["told_by"], "file");
    assert_eq!(told(&[], &ulids[1]), Value::Null);
    assert_eq!(told(&[], &ulids[3])["told_by"], "file");
}

#[test]
fn a_recording_leaves_out_what_is_excluded() {
    let sandbox = with("exclude = ['-secret']");
    fs::create_dir(sandbox.log("-secret")).unwrap();
    append(sandbox.log("-secret/a.jsonl"), "private\n");
    append(sandbox.log("b.jsonl"), "open\n");
    let args = ["record", "user/logs", "--out", "fixture", "--looks", "1"];
    sandbox.run(&args).exits(0).no_error();
    let script = fs::read_to_string(sandbox.path("fixture/script.jsonl")).unwrap();
    assert!(
        script.contains("open") && !script.contains("secret") && !script.contains("private"),
        "{script}"
    );
}

// Where it is

#[test]
fn the_file_is_the_one_asked_for_or_that_of_the_environment_or_the_one_in_the_config_directory() {
    let sandbox = Sandbox::new();
    let read = |variables: &[(&str, &str)], args: &[&str]| {
        let ended = run_with(&sandbox, variables, &[&["config", "--json"], args].concat()).exits(0);
        let told = ended.json().remove(0);
        (
            told["settings"]["interval"]["value"].as_str().unwrap().to_owned(),
            told["read"] == true,
        )
    };
    let is = |value: &str, read: bool| (value.to_owned(), read);
    let none = sandbox.run(&["config"]).exits(0);
    let first = none.text().lines().next().unwrap();
    assert!(
        first.starts_with("# ") && first.contains(sandbox.path(PLACE).to_str().unwrap()),
        "{first}"
    );
    assert_eq!(read(&[], &[]), is("2s", false));
    write(&sandbox, "user/.config/tailspool.toml", "interval = '3s'");
    assert_eq!(read(&[], &[]), is("3s", true));
    write(&sandbox, "xdg/tailspool/tailspool.toml", "interval = '4s'");
    let xdg = sandbox.path("xdg");
    let xdg = ("XDG_CONFIG_HOME", xdg.to_str().unwrap());
    assert_eq!(read(&[xdg], &[]), is("4s", true));
    assert_eq!(read(&[xdg, ("HOME", "")], &[]), is("4s", true));
    assert_eq!(
        read(&[("XDG_CONFIG_HOME", "xdg"), ("HOME", "")], &[]),
        is("2s", false),
        "HOME is read as such"
    );
    assert_eq!(read(&[("HOME", "")], &[]), is("2s", false));
    let nowhere = run_with(&sandbox, &[("HOME", "")], &["config", "--json"]).exits(0);
    assert_eq!(
        nowhere.json()[0]["file"],
        Value::Null,
        "whatever the user database says"
    );
    write(&sandbox, "env.toml", "interval = '5s'");
    let env = ("TAILSPOOL_CONFIG", "env.toml");
    assert_eq!(read(&[env, xdg], &[]), is("5s", true));
    assert_eq!(read(&[("TAILSPOOL_CONFIG", "")], &[]), is("3s", true));
    write(&sandbox, "asked.toml", "interval = '6s'");
    assert_eq!(read(&[env], &["--config", "asked.toml"]), is("6s", true));
    assert_eq!(read(&[env], &["--config", ""]), is("5s", true));
    assert_eq!(read(&[], &["--config", ""]), is("3s", true));
    assert_eq!(read(&[env], &["--no-config"]), is("2s", false));
    assert_eq!(read(&[], &["--config", "/dev/null"]), is("2s", true));
    sandbox
        .run(&["config", "--no-config", "--config", "asked.toml"])
        .exits(2);
}

#[test]
fn two_files_in_the_config_directory_are_an_error_that_names_both() {
    let sandbox = with("");
    write(&sandbox, "user/.config/tailspool.toml", "");
    let ended = sandbox.run(&["watch", "--once", "user/logs"]).exits(2);
    for path in [PLACE, "user/.config/tailspool.toml"] {
        assert!(
            ended.error().contains(sandbox.path(path).to_str().unwrap()),
            "{ended:#?}"
        );
    }
    assert!(ended.hint().contains("--config FILE"), "{ended:#?}");
    sandbox
        .run(&["watch", "--once", "--config", PLACE, "user/logs"])
        .exits(0);
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_that_names_it() {
    let sandbox = Sandbox::unprivileged();
    fs::create_dir(sandbox.path("directory")).unwrap();
    write(&sandbox, "huge", vec![b'#'; (1 << 20) + 1]);
    write(&sandbox, "largest", vec![b'#'; 1 << 20]);
    write(&sandbox, "latin1", b"\n\n# caf\xe9\n");
    write(&sandbox, "secret", "");
    write(&sandbox, "marked", "\u{feff}interval = '5s'");
    sandbox.hand_over();
    support::chmod(sandbox.path("secret"), 0);
    for (file, why) in [
        ("nowhere.toml", "No such file"),
        ("directory", "directory"),
        ("huge", "larger than 1048576 bytes"),
        ("latin1:3", "UTF-8"),
        ("secret", "ermission denied"),
    ] {
        let path = file.split(':').next().unwrap();
        for args in [
            &["config", "--config", path][..],
            &["watch", "--once", "user/logs", "--config", path],
        ] {
            let ended = sandbox.run(args).exits(2);
            assert!(
                ended.error().contains(file) && ended.error().contains(why),
                "{ended:#?}"
            );
        }
        run_with(&sandbox, &[("TAILSPOOL_CONFIG", path)], &["verify"]).exits(2);
        assert!(!sandbox.home("").exists());
    }
    for good in ["largest", "marked"] {
        sandbox.run(&["config", "--config", good]).exits(0);
    }
}

#[test]
fn a_config_file_that_is_a_symlink_to_nothing_is_missing_and_not_unwanted() {
    let sandbox = with("");
    fs::remove_file(sandbox.path(PLACE)).unwrap();
    std::os::unix::fs::symlink("nothing", sandbox.path(PLACE)).unwrap();
    sandbox.run(&["watch", "--once", "user/logs"]).exits(2).error();
}

// What is wrong with it

#[test]
fn every_mistake_is_told_with_file_line_key_and_what_would_be_right() {
    let sandbox = with("");
    let file = sandbox.path(PLACE);
    for (text, line, key, right) in [
        ("\n\nintervall = '5s'", 3, "intervall", "did you mean `interval`?"),
        ("max_files = 3", 1, "max_files", "did you mean `max-files`?"),
        ("zzz = 1", 1, "zzz", "home, roots, agents, scope"),
        ("watch.interval = '1s'", 1, "watch", "interval"),
        ("interval = 5", 1, "interval", "interval = \"2s\""),
        ("interval = '0s'", 1, "interval", "interval = \"2s\""),
        ("interval = '25h'", 1, "interval", "interval = \"2s\""),
        ("commit-interval = '-1s'", 1, "commit-interval", "100ms"),
        ("commit-interval = 'often'", 1, "commit-interval", "\"auto\", or a time"),
        ("commit-interval = 100", 1, "commit-interval", "\"auto\", or a time"),
        ("max-files = 0", 1, "max-files", "max-files = 1000"),
        ("max-files = -1", 1, "max-files", "max-files = 1000"),
        ("max-files = '3'", 1, "max-files", "max-files = 1000"),
        ("max-files = 99999999999999999999", 1, "max-files", "max-files = 1000"),
        ("max-pending-records = 1.5", 1, "max-pending-records", "100000"),
        ("max-pending-bytes = '2 GB'", 1, "max-pending-bytes", "2 GiB"),
        ("max-pending-bytes = 0", 1, "max-pending-bytes", "2 GiB"),
        ("max-pending-bytes = true", 1, "max-pending-bytes", "2 GiB"),
        ("on-full = 'dropoldest'", 1, "on-full", "did you mean `drop-oldest`?"),
        ("on-full = 'zzz'", 1, "on-full", "drop-oldest"),
        ("layout = 1", 1, "layout", "layout = \"record\""),
        ("source = 'inotify'", 1, "source", "did you mean `notify`?"),
        ("from = 'End'", 1, "from", "did you mean `end`?"),
        (
            "allow-network-home = 'yes'",
            1,
            "allow-network-home",
            "allow-network-home = true",
        ),
        ("exclude = 'a'", 1, "exclude", "exclude = ["),
        ("exclude = [\n'a',\n'[',\n]", 3, "exclude", "exclude = ["),
        ("exclude = [\n'a',\n7]", 3, "exclude", "exclude = ["),
        ("exclude = ['/']", 1, "exclude", "exclude = ["),
        ("glob = []", 1, "glob", "glob = ["),
        ("glob = ['{a']", 1, "glob", "glob = ["),
        ("home = ''", 1, "home", "home = \"~/"),
        ("home = '~you/x'", 1, "home", "whole path"),
        ("home = \"a\\u0000\"", 1, "home", "home = \"~/"),
        ("scope = ['a', '']", 1, "scope", "scope = ["),
        ("roots = '~/logs'", 1, "roots", "roots = ["),
        ("roots = [3]", 1, "roots", "roots = ["),
        ("[roots]\npath = 'a'", 1, "roots", "roots = ["),
        ("[[roots]]\nagent = 'a'", 1, "roots", "roots = ["),
        ("[[roots]]\npaht = 'a'", 2, "paht", "did you mean `path`?"),
        ("[[roots]]\npath = 'a'\nagent = ''", 3, "agent", "agent = \"claude\""),
        ("[[roots]]\npath = 'a'\nglob = '*'", 3, "glob", "glob = ["),
        (
            "[[roots]]\npath = 'a'\n\ninterval = '1s'",
            4,
            "interval",
            "above the first [[roots]]",
        ),
    ] {
        fs::write(&file, text).unwrap();
        let ended = sandbox.run(&["watch", "--once", "user/logs"]).exits(2);
        let place = format!("{}:{line}: ", file.display());
        assert!(ended.error().contains(&place), "{text}: {ended:#?}");
        assert!(ended.error().contains(&format!("`{key}`")), "{text}: {ended:#?}");
        assert!(ended.stderr.contains(right), "{text}: {ended:#?}");
        ended.hint();
        assert!(!sandbox.home("").exists(), "{text}");
    }
    for (text, line) in [
        ("a = 1\ninterval = ", 2),
        ("interval = '1s'\n\ninterval = '2s'", 3),
        ("interval = '1s'\nroots = ['a'", 2),
        ("= 3", 1),
    ] {
        fs::write(&file, text).unwrap();
        let ended = sandbox.run(&["config"]).exits(2);
        let place = format!("{}:{line}: no valid TOML", file.display());
        assert!(ended.error().contains(&place), "{text}: {ended:#?}");
    }
}

#[test]
fn commands_that_need_no_settings_do_not_mind_a_broken_file() {
    let sandbox = with("intervall = 1");
    for args in [
        &["completions", "bash"][..],
        &["man"],
        &["man", "watch"],
        &["--help"],
        &["watch", "--help"],
    ] {
        sandbox.run(args).exits(0).no_error();
    }
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/trees/new-and-append");
    sandbox.run(&["replay", fixture]).exits(0).no_error();
    // Where the home is, the environment says.
    sandbox.run(&["status"]).exits(0).no_error();
    let mut command = sandbox.command(&["status"]);
    command.env_remove("TAILSPOOL_HOME");
    Running::start(command).end().exits(2).error();
}

// What is printed

#[test]
fn what_config_prints_can_be_the_config_file_and_says_the_same() {
    let odd = "roots = ['~/lo\\gs', {path = '/x\"y', agent = \"a\\u001b\\u202e\\n\"}]\nexclude = [\"a\\u0007'\"]";
    for (text, args) in [
        ("", &[][..]),
        (ALL, &[]),
        (
            "max-pending-bytes = 1000\ninterval = '90s'",
            &["--scope", "user", "--exclude", "x", "user/logs"],
        ),
        (odd, &["--max-files", "18446744073709551615"]),
    ] {
        let sandbox = with(text);
        let before = values(&in_force(&sandbox, args));
        let printed = sandbox.run(&[&["config"], args].concat()).exits(0);
        let unsafe_ones = printed
            .text()
            .chars()
            .any(|it| it != '\n' && tailspool::show::is_unsafe(it));
        assert!(!unsafe_ones, "{printed:#?}");
        assert_eq!(
            printed.text().lines().next().unwrap(),
            format!("# read: {}", sandbox.path(PLACE).display())
        );
        write(&sandbox, "printed.toml", printed.text());
        let after = in_force(&sandbox, &["--config", "printed.toml"]);
        if text != ALL && args.is_empty() && text.is_empty() {
            assert_eq!(after["interval"]["origin"], "file", "defaults are printed too");
        }
        assert_eq!(values(&after), before, "{text}: {}", printed.text());
    }
    let printed = with("interval = '5s'").run(&["config", "--layout", "record"]).exits(0);
    for line in [
        "interval = \"5s\"  # file, line 1",
        "layout = \"record\"  # command line",
        "commit-interval = \"auto\"  # default",
        "# max-files: no limit  # default",
    ] {
        assert!(
            printed.text().lines().any(|it| it == line),
            "{line} in {}",
            printed.text()
        );
    }
}

#[test]
fn every_key_is_an_option_of_watch_and_every_default_in_its_help_is_the_one_in_force() {
    let sandbox = Sandbox::new();
    let help = sandbox
        .run(&["watch", "-h"])
        .exits(0)
        .text()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let settings = values(&in_force(&sandbox, &[]));
    let keys: Vec<_> = settings.as_object().unwrap().keys().map(String::as_str).collect();
    let mut known = tailspool::config::KEYS.to_vec();
    known.sort_unstable();
    assert_eq!(keys, known);
    for (key, value) in settings.as_object().unwrap() {
        let default = match value {
            Value::Null => "no limit".into(),
            Value::Array(list) if list.is_empty() => continue,
            Value::Array(list) => list[0].as_str().unwrap().to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let (_, own) = help
            .split_once(&format!("--{key}"))
            .unwrap_or_else(|| panic!("--{key} in {help}"));
        let own = own.split("[default: ").nth(1).unwrap();
        if key != "home" {
            assert!(own.starts_with(&default), "{key}: {default} and {own}");
        }
    }
}

#[test]
fn a_path_that_is_not_utf8_is_told_as_one_that_cannot_stand_in_a_file() {
    use std::os::unix::ffi::OsStrExt;
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&["config"]);
    command.arg(std::ffi::OsStr::from_bytes(b"user/\xff"));
    let ended = Running::start(command).end().exits(0);
    assert!(
        ended.text().contains("# roots: ") && ended.text().contains("\\xff"),
        "{ended:#?}"
    );
    write(&sandbox, "printed.toml", ended.text());
    sandbox.run(&["config", "--config", "printed.toml"]).exits(0);
}

#[test]
fn the_example_of_the_readme_is_a_config_file() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let example = text.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let sandbox = with(example);
    let settings = in_force(&sandbox, &[]);
    let told = settings.as_object().unwrap().iter();
    let from_file = told.filter(|(_, entry)| entry["origin"] == "file" || entry[0]["origin"] == "file");
    assert!(from_file.count() >= 4, "{settings:#}");
}

#[test]
fn the_formats_name_every_key() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/formats.md")).unwrap();
    let section = text
        .split("## The config file")
        .nth(1)
        .unwrap()
        .split("\n## ")
        .next()
        .unwrap();
    for key in tailspool::config::KEYS {
        assert!(section.contains(&format!("\n| `{key}` |")), "{key}");
    }
}

#[test]
fn a_running_watcher_keeps_what_it_began_with() {
    let sandbox = with("roots = ['~/logs']\nexclude = ['b.jsonl']\ninterval = '100ms'");
    let watcher = Running::start(sandbox.command(&["watch"]));
    watcher.says("watching ");
    fs::write(sandbox.path(PLACE), "broken").unwrap();
    append(sandbox.log("b.jsonl"), "excluded\n");
    append(sandbox.log("a.jsonl"), "line\n");
    wait_until_equal("the line", &vec!["line".to_owned()], || sandbox.lines_of("a"));
    watcher.stop();
    assert_eq!(sandbox.drain_raw(), "line\n");
}

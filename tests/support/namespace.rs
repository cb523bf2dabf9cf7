//! The command in namespaces of its own, where this user may set limits and mount.

#![allow(clippy::print_stdout, reason = "it tells when a test was skipped")]

use std::process::{Command, Stdio};

use super::{Running, Sandbox};

/// The command behind `before`, in namespaces where this user is root. None, with a word, where there are none.
pub(crate) fn in_namespace(sandbox: &Sandbox, flags: &str, before: &str, args: &[&str]) -> Option<Command> {
    script_in_namespace(sandbox, flags, before, "exec \"$0\" \"$@\"", args)
}

/// A script behind the same, to which the command is `$0`, and `args` its arguments.
pub(crate) fn script_in_namespace(
    sandbox: &Sandbox,
    flags: &str,
    before: &str,
    script: &str,
    args: &[&str],
) -> Option<Command> {
    let with = |script: &str| {
        let command = sandbox.command(args);
        let mut outer = Command::new("unshare");
        outer
            .args([flags, "sh", "-ec", script])
            .arg(command.get_program())
            .args(args);
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => outer.env(key, value),
                None => outer.env_remove(key),
            };
        }
        outer.current_dir(sandbox.path("")).stdout(Stdio::piped());
        outer
    };
    let tried = with(before).stderr(Stdio::null()).status();
    if !tried.is_ok_and(|status| status.success()) {
        println!("skipped: `{before}` cannot be done here");
        return None;
    }
    Some(with(&format!("{before}\n{script}")))
}

/// Runs a script in the namespaces of a command.
pub(crate) fn inside(watcher: &Running, script: &str) -> String {
    let mut command = Command::new("nsenter");
    command
        .args(["--preserve-credentials", "-U", "-m", "-t"])
        .arg(watcher.pid().to_string());
    command.args(["sh", "-ec", script]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{script}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

//! The agents whose session logs are known: where each one writes them.
//!
//! To add an agent, add an entry to [`AGENTS`]; nothing else needs to change. Put down what its own documents or source
//! say. A pattern without `/` goes by the name of a file, another by the path below the directory; one that begins with
//! `!` leaves files out, such as side files that end in `.jsonl` and are no session.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// An agent that writes session logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agent {
    /// What its records call it.
    pub name: &'static str,
    /// What people call it.
    pub label: &'static str,
    /// The directories below which its logs are.
    pub places: &'static [Place],
    /// Whether a directory directly below such a directory is a project.
    pub by_project: bool,
}

/// A directory below which an agent writes logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The agent's own directory, below the user's home.
    pub base: &'static str,
    /// The directory with the logs, below that.
    pub below: &'static str,
    /// The environment variables that move it.
    pub moved_by: &'static [Var],
    /// Which files there are logs.
    pub globs: &'static [&'static str],
    /// The path of a log there, as the agent would name it; the tests write one.
    pub example: &'static str,
}

/// What an environment variable names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Var {
    /// The agent's own directory.
    Base(&'static str),
    /// The directory that stands for the user's home.
    Home(&'static str),
    /// The directory with the logs itself.
    Logs(&'static str),
}

impl Place {
    /// Where every `.jsonl` is a log.
    const fn new(base: &'static str, below: &'static str, moved_by: &'static [Var], example: &'static str) -> Self {
        Self {
            base,
            below,
            moved_by,
            globs: &["*.jsonl"],
            example,
        }
    }

    const fn only(self, globs: &'static [&'static str]) -> Self {
        Self { globs, ..self }
    }

    /// Where it is for this user: by default, then as each variable that is set says, and by which one.
    ///
    /// A variable does not silence the default: the shell in which an agent runs has other variables than a service
    /// that watches, and what was written before a directory moved is there still.
    pub fn paths(&self, home: Option<&Path>, var: &dyn Fn(&str) -> Option<OsString>) -> Vec<(PathBuf, Option<Var>)> {
        let mut paths: Vec<_> = home
            .map(|home| (home.join(self.base).join(self.below), None))
            .into_iter()
            .collect();
        for moved in self.moved_by {
            let Some(value) = var(moved.name()).filter(|value| !value.is_empty()) else {
                continue;
            };
            let named = match (Path::new(&value).strip_prefix("~"), home) {
                (Ok(rest), Some(home)) => home.join(rest),
                _ => value.into(),
            };
            let path = match moved {
                Var::Base(_) => named.join(self.below),
                Var::Home(_) => named.join(self.base).join(self.below),
                Var::Logs(_) => named,
            };
            paths.push((path, Some(*moved)));
        }
        paths
    }
}

impl Var {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Base(name) | Self::Home(name) | Self::Logs(name) => name,
        }
    }
}

/// The agent that records call so.
pub fn named(name: &str) -> Option<&'static Agent> {
    AGENTS.iter().find(|agent| agent.name == name)
}

const fn agent(name: &'static str, label: &'static str, places: &'static [Place]) -> Agent {
    Agent {
        name,
        label,
        places,
        by_project: true,
    }
}

/// Whose directories below the logs are dates or sessions.
const fn flat(name: &'static str, label: &'static str, places: &'static [Place]) -> Agent {
    Agent {
        by_project: false,
        ..agent(name, label, places)
    }
}

/// The known agents.
pub const AGENTS: &[Agent] = &[
    agent(
        "claude",
        "Claude Code",
        &[
            Place::new(
                ".claude",
                "projects",
                &[Var::Base("CLAUDE_CONFIG_DIR")],
                "-home-me-work/0b3f9c1e/subagents/agent-a1.jsonl",
            ),
            Place::new(".config/claude", "projects", &[], "-home-me-work/0b3f9c1e.jsonl"),
        ],
    ),
    flat(
        "codex",
        "Codex",
        &[
            Place::new(
                ".codex",
                "sessions",
                &[Var::Base("CODEX_HOME")],
                "2026/02/26/rollout-2026-02-26T14-55-16-019c9b17.jsonl",
            ),
            Place::new(
                ".codex",
                "archived_sessions",
                &[Var::Base("CODEX_HOME")],
                "rollout-2026-01-02T10-00-00-019b7d01.jsonl",
            ),
        ],
    ),
    flat(
        "copilot",
        "Copilot CLI",
        // What lies in `files` was made by the user's sessions, and is none.
        &[Place::new(
            ".copilot",
            "session-state",
            &[Var::Base("COPILOT_HOME")],
            "5c1d22/events.jsonl",
        )
        .only(&["*.jsonl", "!*/files/**"])],
    ),
    agent(
        "gemini",
        "Gemini CLI",
        &[Place::new(
            ".gemini",
            "tmp",
            &[Var::Home("GEMINI_CLI_HOME")],
            "work/chats/session-2026-02-26T14-55-0b3f.jsonl",
        )
        .only(&["*/chats/**/*.jsonl"])],
    ),
    agent(
        "antigravity",
        "Antigravity CLI",
        &[Place::new(
            ".gemini/antigravity-cli",
            "brain",
            &[],
            "0b3f/.system_generated/logs/transcript.jsonl",
        )
        .only(&["*/.system_generated/logs/transcript*.jsonl"])],
    ),
    agent(
        "cursor",
        "Cursor",
        &[Place::new(
            ".cursor",
            "projects",
            &[Var::Base("CURSOR_DATA_DIR")],
            "home-me-work/agent-transcripts/0b3f/0b3f.jsonl",
        )
        .only(&["*/agent-transcripts/**/*.jsonl"])],
    ),
    agent(
        "droid",
        "Factory droid",
        &[Place::new(".factory", "sessions", &[], "-home-me-work/0b3f.jsonl")],
    ),
    agent(
        "qwen",
        "Qwen Code",
        &[Place::new(
            ".qwen",
            "projects",
            &[Var::Base("QWEN_RUNTIME_DIR"), Var::Base("QWEN_HOME")],
            "-home-me-work/chats/0b3f.jsonl",
        )
        .only(&["*/chats/**/*.jsonl", "*/subagents/**/*.jsonl", "!*.ledger.jsonl"])],
    ),
    agent(
        "pi",
        "pi",
        &[Place::new(
            ".pi/agent",
            "sessions",
            &[
                Var::Base("PI_CODING_AGENT_DIR"),
                Var::Logs("PI_CODING_AGENT_SESSION_DIR"),
            ],
            "--home-me-work--/2026-02-26_0b3f.jsonl",
        )
        .only(&["*.jsonl", "!**/subagent-artifacts/**"])],
    ),
    agent(
        "omp",
        "Oh My Pi",
        &[Place::new(
            ".omp/agent",
            "sessions",
            &[],
            "--home-me-work--/2026-02-26_0b3f.jsonl",
        )],
    ),
    agent(
        "openclaw",
        "OpenClaw",
        &[Place::new(
            ".openclaw",
            "agents",
            &[Var::Base("OPENCLAW_STATE_DIR"), Var::Home("OPENCLAW_HOME")],
            "main/sessions/0b3f.jsonl",
        )
        .only(&["*/sessions/*.jsonl", "!*.trajectory.jsonl", "!*.checkpoint.*.jsonl"])],
    ),
    flat(
        "kimi",
        "Kimi CLI",
        &[
            Place::new(
                ".kimi",
                "sessions",
                &[Var::Base("KIMI_SHARE_DIR")],
                "6f1ed002ab5595859014ebf0951522d9/0b3f/wire.jsonl",
            )
            .only(&["wire.jsonl"]),
            Place::new(
                ".kimi-code",
                "sessions",
                &[Var::Base("KIMI_CODE_HOME")],
                "work/0b3f/agents/main/wire.jsonl",
            )
            .only(&["wire.jsonl"]),
        ],
    ),
    agent(
        "grok",
        "Grok",
        &[Place::new(
            ".grok",
            "sessions",
            &[Var::Base("GROK_HOME")],
            "%2Fhome%2Fme%2Fwork/0b3f/updates.jsonl",
        )
        .only(&["updates.jsonl"])],
    ),
    flat(
        "vibe",
        "Mistral Vibe",
        &[Place::new(
            ".vibe",
            "logs/session",
            &[Var::Base("VIBE_HOME"), Var::Logs("VIBE_SESSION_LOGGING__SAVE_DIR")],
            "session_20260226_0b3f/messages.jsonl",
        )
        .only(&["messages.jsonl"])],
    ),
    agent(
        "openclaude",
        "OpenClaude",
        &[Place::new(
            ".openclaude",
            "projects",
            &[Var::Base("OPENCLAUDE_CONFIG_DIR")],
            "-home-me-work/0b3f.jsonl",
        )],
    ),
    agent(
        "qoder",
        "Qoder",
        &[Place::new(
            ".qoder",
            "projects",
            &[Var::Base("QODER_CONFIG_DIR"), Var::Home("QODER_CLI_HOME")],
            "-home-me-work/0b3f.jsonl",
        )],
    ),
    agent(
        "codebuddy",
        "CodeBuddy",
        &[Place::new(
            ".codebuddy",
            "projects",
            &[Var::Base("CODEBUDDY_CONFIG_DIR")],
            "-home-me-work/0b3f.jsonl",
        )],
    ),
    agent(
        "commandcode",
        "Command Code",
        &[
            Place::new(".commandcode", "projects", &[], "-home-me-work/0b3f.jsonl").only(&[
                "*.jsonl",
                "!*.checkpoints.jsonl",
                "!*.prompts.jsonl",
            ]),
        ],
    ),
    agent(
        "iflow",
        "iFlow",
        &[Place::new(
            ".iflow",
            "projects",
            &[],
            "-home-me-work/session-0b3f.jsonl",
        )],
    ),
    flat(
        "trae",
        "TRAE CLI",
        &[Place::new(
            ".trae/cli",
            "sessions",
            &[],
            "2026/02/26/rollout-2026-02-26T14-55-16-0b3f.jsonl",
        )],
    ),
    flat(
        "kiro",
        "Kiro CLI",
        &[Place::new(
            ".kiro",
            "sessions/cli",
            &[Var::Base("KIRO_HOME")],
            "0b3f.jsonl",
        )],
    ),
    flat(
        "junie",
        "Junie",
        &[Place::new(
            ".junie",
            "sessions",
            &[Var::Base("JUNIE_HOME")],
            "session-0b3f/events.jsonl",
        )
        .only(&["events.jsonl"])],
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::source::globs;

    #[test]
    fn every_agent_has_a_name_of_its_own_and_places_with_patterns() {
        let mut names = BTreeSet::new();
        for agent in AGENTS {
            assert!(names.insert(agent.name), "{} is there twice", agent.name);
            assert_eq!(named(agent.name), Some(agent));
            assert!(!agent.label.is_empty() && !agent.places.is_empty(), "{}", agent.name);
            for place in agent.places {
                let patterns: Vec<_> = place.globs.iter().map(|&glob| glob.to_owned()).collect();
                let globs = globs::compile(&patterns).unwrap();
                assert!(globs.is_match(place.example), "{}: {}", agent.name, place.example);
                assert!(Path::new(place.base).is_relative() && Path::new(place.below).is_relative());
            }
        }
    }

    #[test]
    fn the_default_comes_first_and_each_variable_that_is_set_adds_a_path() {
        let place = Place::new(
            ".x/agent",
            "logs",
            &[Var::Base("X_DIR"), Var::Home("X_HOME"), Var::Logs("X_LOGS")],
            "s.jsonl",
        );
        let home = Path::new("/home/me");
        let paths = |set: &[(&str, &str)]| {
            let var = |name: &str| {
                let found = set.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| OsString::from(value))
            };
            let paths = place.paths(Some(home), &var).into_iter();
            paths
                .map(|(path, _)| path.to_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(paths(&[]), ["/home/me/.x/agent/logs"]);
        assert_eq!(paths(&[("X_DIR", "")]), ["/home/me/.x/agent/logs"]);
        assert_eq!(
            paths(&[("X_DIR", "/d"), ("X_HOME", "/h"), ("X_LOGS", "~/l")]),
            ["/home/me/.x/agent/logs", "/d/logs", "/h/.x/agent/logs", "/home/me/l"]
        );
        assert!(place.paths(None, &|_| None).is_empty());
    }
}

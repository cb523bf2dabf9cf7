//! Each kind of line that a session has.

use super::super::pen::Pen;
use super::super::text::Kind;
use super::Session;
use super::{ATTACHMENT, Writer};

impl Writer<'_> {
    /// What begins and ends a line with a uuid.
    pub(super) fn frame(&mut self, kind: &str) -> (String, String) {
        let (uuid, at) = (self.pen.uuid(), self.pen.now());
        let Session { id, cwd, agent, .. } = self.session;
        let sidechain = agent.is_some();
        let agent = agent
            .as_ref()
            .map(|agent| format!("\"agentId\":\"{agent}\","))
            .unwrap_or_default();
        let head = format!(
            "{{\"parentUuid\":\"{}\",\"isSidechain\":{sidechain},{agent}\"userType\":\"external\",\"cwd\":\"{cwd}\",\
             \"sessionId\":\"{id}\",\"version\":\"2.1.59\",\"gitBranch\":\"main\",\"slug\":\"{}\",\"type\":\"{kind}\",",
            self.parent, self.slug
        );
        let tail = format!(",\"uuid\":\"{uuid}\",\"timestamp\":\"{at}\"}}");
        self.parent = uuid;
        (head, tail)
    }

    pub(super) fn result(&mut self, size: usize) {
        let (head, tail) = self.frame("user");
        let id = self.pen.hex(24);
        let head = format!(
            "{head}\"message\":{{\"role\":\"user\",\"content\":[{{\"tool_use_id\":\"toolu_{id}\",\"type\":\"tool_result\",\"content\":\""
        );
        if self.pen.rng.bool() {
            let tail = format!("\",\"is_error\":false}}]}}{tail}");
            return self.pen.line(size, &head, &tail, Pen::output);
        }
        let middle = "\",\"is_error\":false}]},\"toolUseResult\":{\"stdout\":\"";
        let tail = format!("\",\"stderr\":\"\",\"interrupted\":false,\"isImage\":false}}{tail}");
        self.pen.line(size, &head, &tail, |pen, room| {
            let begin = pen.bytes.len();
            pen.output((room.saturating_sub(middle.len()) / 2).max(4));
            let end = pen.bytes.len();
            pen.put(middle);
            pen.bytes.extend_from_within(begin..end);
        });
    }

    pub(super) fn tool(&mut self, size: usize) {
        let cwd = self.session.cwd.clone();
        let (a, b) = (self.pen.word(), self.pen.word());
        let file = format!("{cwd}/src/{a}/{b}.rs");
        let (name, key, rest, kind) = match self.pen.rng.u32(0..10) {
            0..4 => ("Bash", "command", format!("\",\"description\":\"{a} {b}"), Kind::Log),
            4..6 => ("Read", "offset_of", format!("\",\"file_path\":\"{file}"), Kind::Prose),
            6..8 => (
                "Edit",
                "new_string",
                format!("\",\"replace_all\":\"false\",\"file_path\":\"{file}"),
                Kind::Code,
            ),
            8 => ("Write", "content", format!("\",\"file_path\":\"{file}"), Kind::Code),
            _ => ("Grep", "pattern", format!("\",\"path\":\"{cwd}"), Kind::Code),
        };
        let id = self.pen.hex(24);
        let before =
            format!("{{\"type\":\"tool_use\",\"id\":\"toolu_{id}\",\"name\":\"{name}\",\"input\":{{\"{key}\":\"");
        self.answer(size, &before, &format!("{rest}\"}}}}"), kind);
    }

    /// A line of the assistant with one block of content.
    pub(super) fn answer(&mut self, size: usize, before: &str, after: &str, kind: Kind) {
        let (head, tail) = self.answer_frame();
        self.pen.line(
            size,
            &format!("{head}{before}"),
            &format!("{after}{tail}"),
            |pen, room| pen.passage(kind, room),
        );
    }

    fn answer_frame(&mut self) -> (String, String) {
        let (head, tail) = self.frame("assistant");
        let id = self.pen.hex(24);
        let (read, output) = (self.pen.rng.u32(0..150_000), self.pen.rng.u32(1..2500));
        let head = format!(
            "{head}\"message\":{{\"model\":\"claude-sonnet-4-6\",\"id\":\"msg_{id}\",\"type\":\"message\",\"role\":\"assistant\",\"content\":["
        );
        let tail = format!(
            "],\"stop_reason\":null,\"usage\":{{\"input_tokens\":3,\"cache_read_input_tokens\":{read},\
             \"output_tokens\":{output},\"service_tier\":\"standard\"}}}}{tail}"
        );
        (head, tail)
    }

    pub(super) fn thinking(&mut self, size: usize) {
        let (head, tail) = self.answer_frame();
        let head = format!("{head}{{\"type\":\"thinking\",\"thinking\":\"");
        self.pen.line(size, &head, &format!("\"}}{tail}"), |pen, room| {
            pen.passage(Kind::Prose, room * 7 / 10);
            pen.put("\",\"signature\":\"");
            pen.base64((room * 3 / 10).saturating_sub(15));
        });
    }

    pub(super) fn prompt(&mut self, size: usize) {
        let (head, tail) = self.frame("user");
        let is_summary = (21_000..=32_000).contains(&size);
        let summary = if is_summary { ",\"isCompactSummary\":true" } else { "" };
        let head = format!("{head}\"message\":{{\"role\":\"user\",\"content\":\"");
        self.pen
            .line(size, &head, &format!("\"}}{summary}{tail}"), |pen, room| {
                pen.passage(Kind::Prose, room);
            });
    }

    pub(super) fn progress(&mut self, size: usize) {
        let (head, tail) = self.frame("progress");
        let id = self.pen.hex(24);
        let head = format!("{head}\"data\":{{\"type\":\"bash_progress\",\"output\":\"");
        let tail = format!("\"}},\"toolUseID\":\"toolu_{id}\"{tail}");
        self.pen
            .line(size, &head, &tail, |pen, room| pen.passage(Kind::Log, room));
    }

    pub(super) fn attachment(&mut self) {
        let size = ATTACHMENT.draw(&mut self.pen.rng);
        let kind = ["attachment", "ai-title", "last-prompt", "mode"][self.pen.rng.usize(0..4)];
        let head = format!(
            "{{\"type\":\"{kind}\",\"sessionId\":\"{}\",\"value\":\"",
            self.session.id
        );
        self.pen
            .line(size, &head, "\"}", |pen, room| pen.passage(Kind::Prose, room));
    }

    pub(super) fn snapshot(&mut self, size: usize) {
        let (id, at) = (self.pen.uuid(), self.pen.now());
        let head = format!(
            "{{\"type\":\"file-history-snapshot\",\"messageId\":\"{id}\",\"snapshot\":{{\"messageId\":\"{id}\",\"trackedFileBackups\":{{"
        );
        let tail = format!("}},\"timestamp\":\"{at}\"}},\"isSnapshotUpdate\":false}}");
        self.pen.line(size, &head, &tail, |pen, room| {
            let end = pen.bytes.len() + room;
            let mut comma = "";
            while pen.bytes.len() + 130 < end {
                let (hash, a, b) = (pen.hex(16), pen.word(), pen.word());
                let version = pen.rng.u32(1..9);
                pen.put(&format!(
                    "{comma}\"src/{a}/{b}.rs\":{{\"backupFileName\":\"{hash}@v{version}\",\"version\":{version},\"backupTime\":\"{at}\"}}"
                ));
                comma = ",";
            }
        });
    }

    pub(super) fn queue(&mut self, size: usize) {
        let at = self.pen.now();
        let id = &self.session.id;
        let head = format!(
            "{{\"type\":\"queue-operation\",\"operation\":\"dequeue\",\"timestamp\":\"{at}\",\"sessionId\":\"{id}\""
        );
        if size < 180 {
            return self.pen.line(size, &head, "}", |_, _| {});
        }
        self.pen
            .line(size, &format!("{head},\"content\":\""), "\"}", |pen, room| {
                pen.passage(Kind::Prose, room);
            });
    }
}

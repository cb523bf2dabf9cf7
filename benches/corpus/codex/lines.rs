//! Kinds of lines that take more than a passage of text.

use super::super::text::Kind;
use super::{Rollout, Writer};

impl Writer<'_> {
    pub(super) fn meta(&mut self, size: usize) {
        let Rollout { id, cwd, .. } = self.rollout;
        let at = self.pen.now();
        let before = format!(
            "{{\"id\":\"{id}\",\"timestamp\":\"{at}\",\"cwd\":\"{cwd}\",\"originator\":\"codex_cli_rs\",\"cli_version\":\"0.153.0\",\
             \"git\":{{\"branch\":\"main\"}},\"instructions\":\""
        );
        self.line("session_meta", size, &before, "\"}", |pen, room| {
            pen.passage(Kind::Prose, room);
        });
    }

    pub(super) fn said(&mut self, kind: &str, key: &str, size: usize) {
        let before = format!("{{\"type\":\"{kind}\",\"{key}\":\"");
        self.line("event_msg", size, &before, "\"}", |pen, room| {
            pen.passage(Kind::Prose, room);
        });
    }

    pub(super) fn call(&mut self, size: usize) {
        let id = self.pen.hex(24);
        let after = format!("\\\"}}\",\"call_id\":\"call_{id}\"}}");
        let before = "{\"type\":\"function_call\",\"name\":\"shell\",\"arguments\":\"{\\\"command\\\":\\\"";
        // The arguments are JSON in a string; a quote or an escape in them would have to be escaped twice.
        self.line("response_item", size, before, &after, |pen, room| {
            let end = pen.bytes.len() + room;
            while pen.bytes.len() + 12 < end {
                let word = pen.word();
                pen.put(word);
                pen.put(if pen.bytes.len().is_multiple_of(3) { " --" } else { " " });
            }
        });
    }

    pub(super) fn tokens(&mut self) {
        let [a, b, c] = [(); 3].map(|()| self.pen.rng.u32(100_000..999_999));
        let usage = |a, b, c| {
            format!(
                "{{\"input_tokens\":{a},\"cached_input_tokens\":{b},\"output_tokens\":{c},\"reasoning_output_tokens\":{c},\"total_tokens\":{a}}}"
            )
        };
        let limit = |name: &str, share: u32| {
            format!("\"{name}\":{{\"used_percent\":{share}.0,\"window_minutes\":10080,\"resets_in_seconds\":{c}}}")
        };
        let payload = format!(
            "{{\"type\":\"token_count\",\"info\":{{\"total_token_usage\":{},\"last_token_usage\":{},\"model_context_window\":272000}},\
             \"rate_limits\":{{{},{},\"credits\":{{\"has_credits\":false,\"unlimited\":false,\"balance\":null}},\"plan_type\":\"pro\"}}}}",
            usage(a, b, c),
            usage(b, c, a),
            limit("primary", a % 90 + 10),
            limit("secondary", b % 90 + 10),
        );
        self.line("event_msg", 0, &payload, "", |_, _| {});
    }

    pub(super) fn context(&mut self, size: usize) {
        let before = format!(
            "{{\"cwd\":\"{}\",\"approval_policy\":\"on-request\",\"model\":\"gpt-5-codex\",\"user_instructions\":\"",
            self.rollout.cwd
        );
        let known = self.context.clone();
        let mut written = known.clone();
        self.line("turn_context", size, &before, "\"}", |pen, room| {
            let begin = pen.bytes.len();
            if known.is_empty() {
                pen.passage(Kind::Prose, room);
            } else {
                pen.bytes.extend_from_within(known);
            }
            written = begin..pen.bytes.len();
        });
        self.context = written;
    }
}

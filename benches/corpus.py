"""Session logs that look like real ones, from a seed: the same arguments give the same bytes.

    corpus.py tree DIR [--files N] [--bytes N] [--seed N]    N files of 1-3 KB lines below DIR
    corpus.py line FILE [--bytes N] [--seed N]               one JSON line of N bytes, and a short one
    corpus.py noise FILE [--bytes N] [--seed N]              one line of N bytes that is no UTF-8, with NULs
                                                             and JSON text in between, and a short one

The text is drawn word by word, with the frequencies of natural text, so that it compresses about 4 times
(gzip -6), and holds quotes, backslashes and characters beyond ASCII about as often as real logs do.
"""

import argparse
import json
import os
import random
import sys

SYLLABLES = (
    "a al an ar ba be bo ca ce ci co con da de di do e el en er es fa fi fo ga ge go ha he hi i il in ir is "
    "ka ke ki la le li lo ma me mi mo na ne no o on or pa pe pi po pro qua ra re ri ro sa se si so ta te "
    "ti to tra u un ur va ve vi vo wa we wi xe ya yo za ze"
).split()
ACCENTED = ["é", "ñ", "ü", "→", "“", "”", "—", "✓", "日本", "😀"]
TOOLS = ["Read", "Edit", "Bash", "Grep", "Write", "Glob"]


class Text:
    """Words, sentences and code from one seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        pick = self.random.choice
        words = list({"".join(pick(SYLLABLES) for _ in range(self.random.randint(1, 4))) for _ in range(3000)})
        words.sort()
        self.random.shuffle(words)
        self.words = words
        total, self.weights = 0.0, []
        for rank in range(len(words)):
            total += 1 / (rank + 2.7)
            self.weights.append(total)
        # Drawing each word anew for 400 MB takes minutes; sentences are drawn from a pool of some MB, which
        # is wider than the window of gzip.
        self.prose = [self.sentence() for _ in range(30000)]
        self.code = [self.code_line() for _ in range(12000)]
        self.recent = []

    def some_words(self, count):
        return self.random.choices(self.words, cum_weights=self.weights, k=count)

    def sentence(self):
        words = self.some_words(self.random.randint(5, 16))
        if self.random.random() < 0.12:
            words.insert(self.random.randrange(len(words)), self.random.choice(ACCENTED))
        if self.random.random() < 0.15:
            at = self.random.randrange(len(words))
            words[at] = '"' + words[at] + '"'
        words[0] = words[0].capitalize()
        return " ".join(words) + self.random.choice([". ", ". ", ".\n", ".\n\n", ", "])

    def code_line(self):
        a, b, c = self.some_words(3)
        indent = "    " * self.random.randint(0, 4)
        return indent + self.random.choice([
            f"let {a}_{b} = {c}({a}, &{b})?;\n",
            f"if {a}.{b}() {{\n",
            f'println!("{a}: {{}}", {b});\n',
            f"// {a} {b} {c}\n",
            f"pub fn {a}_{b}({c}: &str) -> Result<u64, Error> {{\n",
            "}\n",
            f"use crate::{a}::{b};\n",
            f"\tassert_eq!({a}[{self.random.randint(0, 99)}], '\\n', \"{b}\");\n",
        ])

    def passage(self, size):
        """Prose and code, about `size` characters."""
        parts, length = [], 0
        while length < size:
            if self.recent and self.random.random() < 0.3:
                # A session shows the same file, or the same answer, more than once.
                part = self.random.choice(self.recent)
            else:
                pool = self.code if self.random.random() < 0.5 else self.prose
                start = self.random.randrange(len(pool))
                part = "".join(pool[start:start + self.random.randint(2, 8)])
                self.recent.append(part)
                del self.recent[:-40]
            parts.append(part)
            length += len(part)
        return "".join(parts)[:size]

    def hex(self, digits):
        return f"{self.random.getrandbits(4 * digits):0{digits}x}"

    def uuid(self):
        raw = self.hex(32)
        return f"{raw[:8]}-{raw[8:12]}-{raw[12:16]}-{raw[16:20]}-{raw[20:]}"


class Session:
    """One log file, line after line."""

    def __init__(self, text):
        self.text = text
        self.id = text.uuid()
        self.parent = None
        self.seconds = text.random.randrange(10**6)
        self.project = "/home/dev/" + "-".join(text.some_words(2))

    def line(self, size):
        """One line of about `size` bytes, without its newline."""
        text, pick = self.text, self.text.random
        self.seconds += pick.randint(1, 30)
        own = text.uuid()
        at = f"2026-02-{1 + self.seconds // 86400 % 28:02}T{self.seconds // 3600 % 24:02}:"
        at += f"{self.seconds // 60 % 60:02}:{self.seconds % 60:02}.{pick.randrange(1000):03}Z"
        line = {
            "parentUuid": self.parent, "isSidechain": False, "userType": "external", "cwd": self.project,
            "sessionId": self.id, "version": "2.1.59", "gitBranch": "main", "type": "assistant",
        }
        room = max(size - 620, 60)
        kind = pick.random()
        if kind < 0.45:
            content = [{"type": "text", "text": text.passage(room)}]
        elif kind < 0.65:
            tool = {"file_path": self.project + "/src/" + text.some_words(1)[0] + ".rs", "content": text.passage(room)}
            content = [{"type": "tool_use", "id": "toolu_" + text.hex(24), "name": pick.choice(TOOLS), "input": tool}]
        else:
            line["type"] = "user"
            content = [{"tool_use_id": "toolu_" + text.hex(24), "type": "tool_result", "content": text.passage(room)}]
        if line["type"] == "user":
            line["message"] = {"role": "user", "content": content}
        else:
            usage = {"input_tokens": pick.randrange(9), "cache_read_input_tokens": pick.randrange(99999),
                     "output_tokens": pick.randrange(2000), "service_tier": "standard"}
            line["message"] = {"model": "claude-sonnet-4-6", "id": "msg_" + text.hex(24), "type": "message",
                               "role": "assistant", "content": content, "stop_reason": None, "usage": usage}
        line["uuid"] = own
        line["timestamp"] = at
        self.parent = own
        return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode()


def tree(directory, files, size, seed):
    """Writes the files; returns how many lines they hold."""
    text, total = Text(seed), 0
    for number in range(files):
        session = Session(text)
        project = os.path.join(directory, f"-home-dev-project-{number % 20:02}")
        os.makedirs(project, exist_ok=True)
        left = size // files + (number < size % files)
        with open(os.path.join(project, session.id + ".jsonl"), "wb") as out:
            while left > 0:
                wanted = text.random.randint(1000, 3000)
                line = session.line(min(wanted, left - 1000) if left > 3000 else left)
                out.write(line + b"\n")
                left -= len(line) + 1
                total += 1
    return total


SHORT = b'{"type":"system","content":"a short line after the long one"}\n'


def long_line(path, size, seed):
    """One valid JSON line of exactly `size` bytes, and a short one."""
    text = Text(seed)
    with open(path, "wb") as out:
        head = b'{"type":"user","message":{"role":"user","content":"'
        tail = b'"},"uuid":"' + text.uuid().encode() + b'"}'
        out.write(head)
        left = size - len(head) - len(tail)
        while left > 0:
            piece = json.dumps(text.passage(65536), ensure_ascii=False)[1:-1].encode()
            if len(piece) > left:
                # Whatever was cut, nothing of an escape or of a character stays behind.
                piece = b"." * left
            out.write(piece)
            left -= len(piece)
        out.write(tail + b"\n" + SHORT)
    return 2


def noise_line(path, size, seed):
    """One line of exactly `size` bytes that is not UTF-8, and a short one."""
    text, left = Text(seed), size
    with open(path, "wb") as out:
        while left > 0:
            kind = text.random.random()
            if kind < 0.4:
                piece = text.random.randbytes(65536).replace(b"\n", b"\xff")
            elif kind < 0.6:
                piece = bytes(65536)
            else:
                piece = json.dumps(text.passage(65536), ensure_ascii=False).encode()[:65536]
            piece = piece[:left]
            out.write(piece)
            left -= len(piece)
        out.write(b"\n" + SHORT)
    return 2


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["tree", "line", "noise"])
    parser.add_argument("path")
    parser.add_argument("--files", type=int, default=400)
    parser.add_argument("--bytes", type=int, default=400_000_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if args.kind == "tree":
        print(tree(args.path, args.files, args.bytes, args.seed))
    else:
        print({"line": long_line, "noise": noise_line}[args.kind](args.path, args.bytes, args.seed))


if __name__ == "__main__":
    sys.exit(main())

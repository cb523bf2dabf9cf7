//! The `tailspool` command.

fn main() {}

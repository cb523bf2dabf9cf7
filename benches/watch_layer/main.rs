//! What it costs to hear of changes, by each of the layers that could be built on: prints a table.
//!
//! Usage: `cargo bench --bench watch_layer -- [DIR] [--rounds N] [--quick]`
//!
//! Trees are made in a temporary directory below DIR, or below the current directory. Each layer is measured in a
//! process of its own, round by round in turns; what appends is another process still, so that the CPU and the
//! wake-ups are those of the listener alone.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::panic,
    clippy::cast_precision_loss,
    reason = "a bench that cannot go on has failed"
)]

#[cfg(target_os = "linux")]
mod appends;
#[cfg(target_os = "linux")]
mod figures;
#[cfg(target_os = "linux")]
mod layers;
#[cfg(target_os = "linux")]
mod rounds;

#[cfg(target_os = "linux")]
fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["append", tree, per_second, count] => {
            appends::run(tree.as_ref(), per_second.parse().unwrap(), count.parse().unwrap());
        }
        ["measure", layer, trees, sizes] => println!("{}", figures::measure(layer, trees.as_ref(), sizes)),
        _ => rounds::run(&words),
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("the layers are compared on Linux only");
}

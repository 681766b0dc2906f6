//! What leaves the program: stdout for results, stderr for everything about the run itself.
//! Writes report errors instead of panicking, so a closed pipe ends the program quietly.

use std::io::{self, Write};

/// Writes `text` to stdout as it is.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes `text` and a newline to stdout.
pub fn line(text: &str) -> io::Result<()> {
    print(&format!("{text}\n"))
}

/// Writes `text` and a newline to stderr. A closed stderr is not worth failing for.
pub fn diagnostic(text: &str) {
    writeln!(io::stderr().lock(), "{text}").unwrap_or_default();
}

//! House rules that neither rustfmt nor clippy checks: how long files, functions and lines may
//! be, and that every module says what it is for.
//!
//! Works on text: rustfmt has put every function's last brace under its first word.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

const FILE_SOFT: usize = 500;
const FILE_HARD: usize = 800;
const FUNCTION: usize = 70;
const COLUMNS: usize = 100;
const FOLDERS: [&str; 4] = ["orchestrator", "ebpf", "xtask", "tests"];

/// A rule that is not kept.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    file: PathBuf,
    line: usize,
    message: String,
    /// False for a warning.
    pub fails: bool,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.fails { "error" } else { "warning" };
        write!(
            f,
            "{kind}: {}:{}: {}",
            self.file.display(),
            self.line,
            self.message
        )
    }
}

/// Checks every Rust file of the workspace.
pub fn check(root: &Path) -> Result<Vec<Finding>> {
    let mut files = Vec::new();
    for folder in FOLDERS {
        collect(&root.join(folder), &mut files)?;
    }
    files.sort();
    let mut findings = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file)?;
        let name = file.strip_prefix(root).unwrap_or(&file);
        findings.extend(check_text(name, &text));
    }
    Ok(findings)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if entry.file_name() != "target" {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn check_text(file: &Path, text: &str) -> Vec<Finding> {
    let lines: Vec<&str> = text.lines().collect();
    let mut findings = Vec::new();
    let mut find = |line: usize, fails: bool, message: String| {
        findings.push(Finding {
            file: file.to_path_buf(),
            line: line + 1,
            message,
            fails,
        });
    };
    if lines.len() > FILE_SOFT {
        let fails = lines.len() > FILE_HARD;
        find(
            0,
            fails,
            format!("{} lines; at most {FILE_SOFT} are wanted", lines.len()),
        );
    }
    if !lines.first().is_some_and(|line| line.starts_with("//!")) {
        find(
            0,
            true,
            "no module documentation (`//!` on the first line)".to_owned(),
        );
    }
    for (number, line) in lines.iter().enumerate() {
        let columns = line.chars().count();
        if columns > COLUMNS && !may_be_wide(line) {
            find(
                number,
                true,
                format!("{columns} columns; at most {COLUMNS}"),
            );
        }
        if let Some(length) = function_length(&lines[number..])
            && length > FUNCTION
        {
            find(
                number,
                true,
                format!("a function of {length} lines; at most {FUNCTION}"),
            );
        }
    }
    findings
}

/// How many lines the function has that begins on the first line; None when none does.
fn function_length(lines: &[&str]) -> Option<usize> {
    let first = lines.first()?;
    let code = first.trim_start();
    let indent = &first[..first.len() - code.len()];
    let words: Vec<&str> = code.split_whitespace().collect();
    let keyword = words.iter().position(|word| *word == "fn")?;
    let qualifier = |word: &str| {
        word.starts_with("pub")
            || ["const", "async", "unsafe", "extern", "default"].contains(&word)
            || word.starts_with('"')
    };
    if !words[..keyword]
        .iter()
        .all(|word| qualifier(word) || word.starts_with("in "))
    {
        return None;
    }
    let end = format!("{indent}}}");
    let last = lines
        .iter()
        .position(|line| *line == end || declaration_ends(line, indent))?;
    Some(last + 1)
}

/// A function without a body, or with all of it on one line, ends where it begins.
fn declaration_ends(line: &str, indent: &str) -> bool {
    line.strip_prefix(indent)
        .is_some_and(|code| !code.starts_with(' ') && (code.ends_with(';') || code.ends_with("{}")))
}

/// Whether a line would read worse wrapped: a row of a table, a drawing, or a text that a test
/// expects to the letter.
fn may_be_wide(line: &str) -> bool {
    line.starts_with("//! |")
        || line.contains('─')
        || line.contains('"')
        || line.ends_with(r"\n\")
        || line.ends_with(r" \")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> Vec<String> {
        check_text(Path::new("a.rs"), text)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    fn function(lines: usize) -> String {
        let body = "    one();\n".repeat(lines - 2);
        format!("//! Doc.\npub(crate) fn long(\n) {{\n{}}}\n", &body[11..])
    }

    #[test]
    fn a_clean_file_has_no_findings() {
        assert_eq!(findings(&function(70)), Vec::<String>::new());
    }

    #[test]
    fn long_functions_and_lines_are_found() {
        assert_eq!(
            findings(&function(71)),
            ["error: a.rs:2: a function of 71 lines; at most 70"]
        );
        let wide = format!("//! Doc.\n// {}\n", "x".repeat(98));
        assert_eq!(findings(&wide), ["error: a.rs:2: 101 columns; at most 100"]);
        let row = format!("//! | {} |\n", "x".repeat(98));
        assert_eq!(findings(&row), Vec::<String>::new());
    }

    #[test]
    fn long_files_are_a_warning_first() {
        let file = |lines: usize| format!("//! Doc.\n{}", "// x\n".repeat(lines - 1));
        assert_eq!(findings(&file(500)), Vec::<String>::new());
        assert!(findings(&file(501))[0].starts_with("warning"));
        assert!(findings(&file(801))[0].starts_with("error"));
    }

    #[test]
    fn a_module_says_what_it_is_for() {
        assert!(findings("fn f() {}\n")[0].contains("no module documentation"));
    }

    #[test]
    fn a_trait_method_without_body_is_no_long_function() {
        assert_eq!(
            function_length(&["    fn f(&self);", "    fn g() {", "    }"]),
            Some(1)
        );
    }
}

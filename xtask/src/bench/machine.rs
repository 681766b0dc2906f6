//! On what was measured: figures without it mean nothing.

use std::fs;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::cmd::Cmd;
use crate::setup;
use crate::workspace;

/// The machine and the programs that took part.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// The processor's own name.
    pub processor: String,
    /// How many of them this machine has.
    pub processors: usize,
    /// In GiB.
    pub memory_gib: f64,
    /// Its release.
    pub kernel: String,
    /// The kernel's TCP congestion control.
    pub congestion_control: String,
    /// Those that took part, as they name themselves.
    pub programs: Vec<String>,
    /// The commit that was measured; "+" after it means that the tree had changes.
    pub commit: String,
}

impl Machine {
    /// Looks at this machine, and at the programs of these names.
    pub fn look(programs: &[&str]) -> Result<Self> {
        let processors = fs::read_to_string("/proc/cpuinfo")?;
        let memory = fs::read_to_string("/proc/meminfo")?;
        let kib: f64 = field(&memory, "MemTotal")
            .and_then(|value| value.split_whitespace().next()?.parse().ok())
            .context("/proc/meminfo has no MemTotal")?;
        Ok(Self {
            processor: field(&processors, "model name").unwrap_or("unknown").into(),
            processors: std::thread::available_parallelism()?.get(),
            memory_gib: (kib / 1024.0 / 1024.0 * 10.0).round() / 10.0,
            kernel: proc_line("sys/kernel/osrelease")?,
            congestion_control: proc_line("sys/net/ipv4/tcp_congestion_control")?,
            programs: programs
                .iter()
                .map(|program| version(program))
                .collect::<Result<_>>()?,
            commit: commit()?,
        })
    }

    /// What has to be known of it to read a table, as items of a Markdown list.
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "- Commit {}; Linux {}; {} processors: {}; {} GiB\n",
            self.commit, self.kernel, self.processors, self.processor, self.memory_gib
        );
        if !self.programs.is_empty() {
            text += &format!(
                "- {}; TCP congestion control {}\n",
                self.programs.join(", "),
                self.congestion_control
            );
        }
        text
    }
}

/// The load average of the last minute, as a number of processes.
pub fn load() -> Result<f64> {
    let line = proc_line("loadavg")?;
    let first = line.split_whitespace().next().unwrap_or_default();
    first
        .parse()
        .with_context(|| format!("/proc/loadavg says {line:?}"))
}

fn proc_line(path: &str) -> Result<String> {
    let path = format!("/proc/{path}");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    Ok(text.trim().to_owned())
}

/// The first value of that name in a file of `name : value` lines.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.find_map(|(key, value)| (key.trim() == name).then_some(value.trim()))
}

fn version(program: &str) -> Result<String> {
    let file = setup::find(program).with_context(|| format!("{program} is missing"))?;
    let text = Cmd::new(file).arg("--version").ok()?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn commit() -> Result<String> {
    let git = |words| Cmd::new("git").dir(workspace::root()).words(words).ok();
    let commit = git("rev-parse --short HEAD")?;
    let changed = !git("status --porcelain")?.trim().is_empty();
    Ok(format!(
        "{}{}",
        commit.trim(),
        if changed { "+" } else { "" }
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_proc_files_are_found_by_their_whole_name() {
        let text = "MemTotalish: 1\nMemTotal:  2048 kB\nmodel name\t: A: B\n";
        assert_eq!(field(text, "MemTotal"), Some("2048 kB"));
        assert_eq!(field(text, "model name"), Some("A: B"));
        assert_eq!(field(text, "absent"), None);
    }
}

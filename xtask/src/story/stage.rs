//! The stage on which the story is played: shows what is typed, what it prints, and whether what
//! was claimed about it holds.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::cluster::{Cluster, Task};
use crate::cmd::{Cmd, Output};
use crate::lab::{self, Daemon, Host, host};
use crate::wait;

/// How long the cluster may take to become what it was told to be.
pub const SOON: Duration = Duration::from_secs(60);
/// Most lines of output that are shown of one command.
const SHOWN_LINES: usize = 40;
/// Output that is worth repeating in an error.
const SHORT_LINES: usize = 3;

/// Plays commands on a lab's hosts and reports them.
#[derive(Debug)]
pub struct Stage {
    /// The hosts, and what their cluster knows.
    pub cluster: Cluster,
}

impl Stage {
    /// A stage on these hosts; the first one is asked about the cluster.
    pub fn new(hosts: &[Host]) -> Self {
        Self {
            cluster: Cluster::new(hosts),
        }
    }

    /// Host n`number`.
    pub fn host(&self, number: usize) -> Result<Host> {
        let host = self.cluster.hosts().get(number - 1).copied();
        host.with_context(|| format!("the story needs a host n{number}"))
    }

    /// `orchctl` on a host, which has to succeed; its standard output.
    pub fn orchctl(&self, host: Host, words: &str) -> Result<String> {
        let output = show(&host.name(), lab::orchctl(host).words(words))?;
        if !output.success() {
            bail!("`orchctl {words}` failed: {}", output.shown());
        }
        Ok(output.stdout)
    }

    /// `orchctl` on a host, which has to fail; everything it printed.
    pub fn refused(&self, host: Host, words: &str) -> Result<String> {
        let output = show(&host.name(), lab::orchctl(host).words(words))?;
        if output.success() {
            bail!("`orchctl {words}` should have been refused");
        }
        Ok(output.shown())
    }

    /// A command on a host or on `client`; any exit status.
    pub fn on(&self, place: &str, words: &str) -> Result<Output> {
        let (program, args) = words.split_once(' ').unwrap_or((words, ""));
        show(place, host::cmd_on(place, program)?.words(args))
    }

    /// A command in a task's container; any exit status.
    pub fn inside(&self, task: &Task, words: &str) -> Result<Output> {
        show(&task.name, self.exec(task)?.words(words))
    }

    /// A shell script in a task's container, not shown; any exit status.
    pub fn script(&self, task: &Task, script: &str) -> Result<Output> {
        self.exec(task)?.args(["sh", "-c", script]).output()
    }

    /// `docker` against a host's own engine; any exit status.
    pub fn engine(&self, host: Host, args: &[&str]) -> Result<Output> {
        show(&host.name(), lab::docker(host, Daemon::Engine).args(args))
    }

    /// Tries a command until `check` likes its output, then shows it with the claim.
    pub fn until(
        &self,
        place: &str,
        claim: &str,
        command: impl Fn() -> Result<Cmd>,
        check: impl Fn(&Output) -> Result<()>,
    ) -> Result<Output> {
        let mut last = None;
        let line = command()?.line().to_owned();
        let held = wait::until("it", SOON, || {
            let output = command()?.output()?;
            let verdict = check(&output);
            last = Some(output);
            verdict
        });
        if let Some(output) = &last {
            shown(place, &line, output);
        }
        self.holds(claim, held)?;
        last.context("the command ran")
    }

    /// As [`Self::until`], for `orchctl`.
    pub fn orchctl_until(
        &self,
        host: Host,
        words: &str,
        claim: &str,
        check: impl Fn(&str) -> Result<()>,
    ) -> Result<Output> {
        let command = || Ok(lab::orchctl(host).words(words));
        self.until(&host.name(), claim, command, |output| {
            check(&output.shown())
        })
    }

    /// As [`Self::until`], for a command in a task's container.
    pub fn inside_until(
        &self,
        task: &Task,
        words: &str,
        claim: &str,
        check: impl Fn(&Output) -> Result<()>,
    ) -> Result<Output> {
        self.until(
            &task.name,
            claim,
            || Ok(self.exec(task)?.words(words)),
            check,
        )
    }

    /// Reports a claim, and passes on what is wrong with it.
    pub fn holds<T>(&self, claim: &str, truth: Result<T>) -> Result<T> {
        match &truth {
            Ok(_) => println!("  ✓ {claim}"),
            Err(error) => println!("  ✗ {claim}: {error:#}"),
        }
        truth.with_context(|| claim.to_owned())
    }

    /// Reports whether `output` contains all of `wanted`.
    pub fn says(&self, claim: &str, output: &str, wanted: &[&str]) -> Result<()> {
        self.holds(claim, contains(output, wanted))
    }

    /// Waits until a service has exactly `count` running tasks, and returns them.
    pub fn running(&self, service: &str, count: usize) -> Result<Vec<Task>> {
        let plural = if count == 1 { "" } else { "s" };
        let claim = format!("{service} has {count} running task{plural}");
        let tasks = wait::until("it", SOON, || {
            let running = self.cluster.running(service)?;
            if running.len() == count {
                return Ok(running);
            }
            let all: Vec<String> = self
                .cluster
                .tasks(service)?
                .iter()
                .map(Task::summary)
                .collect();
            bail!("its tasks: {}", all.join("; "))
        });
        self.holds(&claim, tasks)
    }

    fn exec(&self, task: &Task) -> Result<Cmd> {
        let host = self.cluster.host_of(task)?;
        let docker = lab::docker(host, Daemon::Engine).args(["exec", &task.container]);
        Ok(docker.hide())
    }
}

/// An error that names the first of `wanted` that is not in `text`.
pub fn contains(text: &str, wanted: &[&str]) -> Result<()> {
    match wanted.iter().find(|word| !text.contains(**word)) {
        None => Ok(()),
        Some(word) if text.lines().count() > SHORT_LINES => bail!("{word:?} is not in it"),
        Some(word) => bail!("{word:?} is not in {:?}", text.trim()),
    }
}

/// Fails with `message` unless `condition` holds.
pub fn ensure(condition: bool, message: impl Into<String>) -> Result<()> {
    if condition {
        Ok(())
    } else {
        bail!(message.into())
    }
}

/// Runs `work` and wants it done within `limit`.
pub fn within<T>(limit: Duration, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    let value = work()?;
    let took = started.elapsed();
    ensure(
        took < limit,
        format!("took {took:.1?}, more than {limit:?}"),
    )?;
    Ok(value)
}

fn show(place: &str, cmd: Cmd) -> Result<Output> {
    let line = cmd.line().to_owned();
    let output = cmd.output()?;
    shown(place, &line, &output);
    Ok(output)
}

fn shown(place: &str, line: &str, output: &Output) {
    println!("  {place}$ {line}");
    let text = output.shown();
    let lines: Vec<&str> = text.lines().collect();
    for line in lines.iter().take(SHOWN_LINES) {
        println!("    {line}");
    }
    if lines.len() > SHOWN_LINES {
        println!("    ... ({} more lines)", lines.len() - SHOWN_LINES);
    }
}

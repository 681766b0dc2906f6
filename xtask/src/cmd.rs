//! Running other programs with a deadline, their output captured.
//!
//! Owns the process while it runs; must not know what the program is for.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Lines, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::interrupt;
use crate::wait::patient;

/// How long a command may take unless told otherwise.
const DEFAULT_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(4);

/// A command to be run. Built like [`std::process::Command`].
#[derive(Debug)]
pub struct Cmd {
    inner: Command,
    line: String,
    limit: Duration,
    uninterruptible: bool,
}

/// What a command left behind.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its exit status; None after a signal.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
    /// How long it ran.
    pub took: Duration,
}

impl Output {
    /// True for exit status 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// Standard output followed by standard error, trimmed: what a user would have seen.
    pub fn shown(&self) -> String {
        let both = format!("{}\n{}", self.stdout.trim_end(), self.stderr.trim_end());
        both.trim_matches('\n').to_owned()
    }
}

impl Cmd {
    /// A command by its name or path.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let program = program.as_ref();
        let name = Path::new(program).file_name().unwrap_or(program);
        Self {
            inner: Command::new(program),
            line: name.to_string_lossy().into_owned(),
            limit: DEFAULT_LIMIT,
            uninterruptible: false,
        }
    }

    /// Adds one argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        if !self.line.is_empty() {
            self.line.push(' ');
        }
        self.line.push_str(&quote(&arg.as_ref().to_string_lossy()));
        self.inner.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(self, args: impl IntoIterator<Item = S>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    /// Adds arguments that are written as one line without quotes.
    pub fn words(self, line: &str) -> Self {
        self.args(line.split_whitespace())
    }

    /// Takes what was said so far off the command line that is shown: how a host is entered is no
    /// part of what a user types there.
    pub fn hide(mut self) -> Self {
        self.line.clear();
        self
    }

    /// Sets a variable of the command's environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.inner.env(name, value);
        self
    }

    /// Removes a variable of the command's environment.
    pub fn env_remove(mut self, name: &str) -> Self {
        self.inner.env_remove(name);
        self
    }

    /// The directory it runs in.
    pub fn dir(mut self, dir: impl AsRef<std::path::Path>) -> Self {
        self.inner.current_dir(dir);
        self
    }

    /// Kills the command when it takes longer.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs on after Ctrl-C: for cleaning up.
    pub fn uninterruptible(mut self) -> Self {
        self.uninterruptible = true;
        self
    }

    /// The command as a user would type it.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// Runs it to its end, in a process group that ends with it. An error when it cannot start,
    /// takes too long or is interrupted; an exit status other than 0 is no error here.
    pub fn output(mut self) -> Result<Output> {
        let started = Instant::now();
        self.inner
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = self
            .inner
            .spawn()
            .with_context(|| format!("cannot start `{}`", self.line))?;
        let stdout = drain(child.stdout.take());
        let stderr = drain(child.stderr.take());
        let ended = self.wait(&mut child, started, end_group);
        let (stdout, stderr) = (collect(stdout), collect(stderr));
        match ended {
            Ok(code) => Ok(Output {
                code,
                stdout,
                stderr,
                took: started.elapsed(),
            }),
            Err(error) => Err(error.context(format!("its output so far: {stdout}{stderr}"))),
        }
    }

    /// Runs it and wants exit status 0; returns its standard output.
    pub fn ok(self) -> Result<String> {
        let line = self.line.clone();
        let output = self.output()?;
        if !output.success() {
            bail!(
                "`{line}` failed ({}): {}",
                describe(output.code),
                output.shown()
            );
        }
        Ok(output.stdout)
    }

    /// Runs it with this process's own input and output; returns its exit status.
    pub fn through(mut self) -> Result<i32> {
        let started = Instant::now();
        let mut child = self
            .inner
            .spawn()
            .with_context(|| format!("cannot start `{}`", self.line))?;
        Ok(self.wait(&mut child, started, end_child)?.unwrap_or(128))
    }

    /// Runs it with each line of its standard output handed over as it comes; its standard error
    /// is this process's own. Returns its exit status.
    pub fn follow(mut self, mut on_line: impl FnMut(&str)) -> Result<i32> {
        let started = Instant::now();
        self.inner
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0);
        let mut child = self
            .inner
            .spawn()
            .with_context(|| format!("cannot start `{}`", self.line))?;
        let pipe = child.stdout.take().context("standard output is piped")?;
        let (sender, lines) = mpsc::sync_channel(64);
        thread::spawn(move || {
            let mut lines = BufReader::new(pipe).lines().map_while(Result::ok);
            lines.all(|line| sender.send(line).is_ok())
        });
        loop {
            match lines.recv_timeout(POLL) {
                Ok(line) => on_line(&line),
                Err(RecvTimeoutError::Timeout) => {
                    self.check_limit(&mut child, started, end_group)?;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        Ok(self.wait(&mut child, started, end_group)?.unwrap_or(128))
    }

    /// Starts it in the background, in a process group that ends when the value is dropped; it
    /// is told to end by the end of its standard input.
    pub fn background(mut self) -> Result<Background> {
        self.inner
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0);
        let mut child = self
            .inner
            .spawn()
            .with_context(|| format!("cannot start `{}`", self.line))?;
        let pipe = child.stdout.take().context("standard output is piped")?;
        Ok(Background {
            child,
            lines: BufReader::new(pipe).lines(),
        })
    }

    /// Runs it with this process's own output and wants exit status 0.
    pub fn through_ok(self) -> Result<()> {
        let line = self.line.clone();
        match self.through()? {
            0 => Ok(()),
            code => Err(anyhow!("`{line}` failed (exit status {code})")),
        }
    }

    fn wait(
        &self,
        child: &mut Child,
        started: Instant,
        end: fn(&mut Child) -> Result<()>,
    ) -> Result<Option<i32>> {
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status.code());
            }
            self.check_limit(child, started, end)?;
            thread::sleep(POLL);
        }
    }

    /// Ends the command when its time is over or the user wants to stop.
    fn check_limit(
        &self,
        child: &mut Child,
        started: Instant,
        end: fn(&mut Child) -> Result<()>,
    ) -> Result<()> {
        let interrupted = interrupt::raised() && !self.uninterruptible;
        if !interrupted && started.elapsed() < patient(self.limit) {
            return Ok(());
        }
        end(child)?;
        if interrupted {
            bail!("interrupted during `{}`", self.line);
        }
        bail!(
            "`{}` took longer than {} s",
            self.line,
            patient(self.limit).as_secs()
        );
    }
}

/// A command that runs until it is told to end.
#[derive(Debug)]
pub struct Background {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Background {
    /// The next line of its standard output; waits for it, until the command ends.
    pub fn line(&mut self) -> Result<Option<String>> {
        Ok(self.lines.next().transpose()?)
    }

    /// Ends its standard input and waits for the rest of its output.
    pub fn finish(mut self) -> Result<Vec<String>> {
        drop(self.child.stdin.take());
        let rest = self.lines.by_ref().collect::<Result<_, _>>()?;
        self.child.wait()?;
        Ok(rest)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None))
            && let Err(error) = end_group(&mut self.child)
        {
            println!("a command in the background could not be ended: {error:#}");
        }
    }
}

/// Ends a command and what it started: `nsenter` and `cargo` are only the parents of the work.
fn end_group(child: &mut Child) -> Result<()> {
    killpg(Pid::from_raw(child.id().try_into()?), Signal::SIGKILL)?;
    child.wait()?;
    Ok(())
}

/// Ends a command that shares the terminal's process group.
fn end_child(child: &mut Child) -> Result<()> {
    child.kill()?;
    child.wait()?;
    Ok(())
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> Option<JoinHandle<Vec<u8>>> {
    pipe.map(|mut pipe| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            // What could be read before an error is still worth showing.
            drop(pipe.read_to_end(&mut bytes));
            bytes
        })
    })
}

fn collect(reader: Option<JoinHandle<Vec<u8>>>) -> String {
    let bytes = reader
        .and_then(|reader| reader.join().ok())
        .unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn describe(code: Option<i32>) -> String {
    code.map_or_else(
        || "ended by a signal".to_owned(),
        |code| format!("exit status {code}"),
    )
}

/// A word as a shell takes it for one word.
pub fn quote(arg: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !arg.is_empty() && arg.chars().all(plain) {
        arg.to_owned()
    } else {
        format!("'{}'", arg.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_both_streams_are_captured() {
        let output = Cmd::new("sh")
            .args(["-c", "echo out; echo err >&2; exit 3"])
            .output()
            .unwrap();
        assert_eq!(output.code, Some(3));
        assert_eq!(output.shown(), "out\nerr");
    }

    #[test]
    fn a_command_that_hangs_is_ended_at_its_limit() {
        let slow = Cmd::new("sleep").arg("60").limit(Duration::from_millis(50));
        let error = slow.output().unwrap_err();
        assert!(format!("{error:#}").contains("took longer"), "{error:#}");
    }

    #[test]
    fn what_a_command_started_ends_with_it() {
        let family = Cmd::new("sh").args(["-c", "sleep 60; true"]);
        let started = Instant::now();
        family
            .limit(Duration::from_millis(50))
            .output()
            .unwrap_err();
        // The pipe is only closed when the grandchild is gone as well.
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn lines_are_handed_over_as_they_come() {
        let mut seen = Vec::new();
        let status = Cmd::new("printf")
            .arg("a\nb\n")
            .follow(|line| seen.push(line.to_owned()));
        assert_eq!(
            (status.unwrap(), seen),
            (0, vec!["a".to_owned(), "b".to_owned()])
        );
    }

    #[test]
    fn a_command_in_the_background_ends_with_its_input() {
        let mut cat = Cmd::new("sh")
            .args(["-c", "echo begun; cat; echo over"])
            .background()
            .unwrap();
        assert_eq!(cat.line().unwrap().as_deref(), Some("begun"));
        assert_eq!(cat.finish().unwrap(), ["over"]);
    }

    #[test]
    fn a_line_can_be_pasted_into_a_shell() {
        let cmd = Cmd::new("echo").args(["a b", "it's", "plain-1.2"]);
        assert_eq!(cmd.line(), r"echo 'a b' 'it'\''s' plain-1.2");
    }
}

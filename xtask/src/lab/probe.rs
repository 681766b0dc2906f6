//! Conversations between places of the lab, by the program `probe`.

use std::net::IpAddr;

use anyhow::{Context, Result, bail, ensure};

use super::place::Place;
use crate::cmd::Background;
use crate::workspace;

/// Starts a server in the background that answers over TCP and UDP with its name and the address
/// of the client that it sees, and waits until it listens. It ends with the lab.
pub fn serve(place: &Place, name: &str, port: u16, addresses: &[String]) -> Result<()> {
    let probe = workspace::binary("probe");
    // Whoever keeps the pipes of the command open would be waited for.
    let script = r#""$@" </dev/null >/dev/null 2>&1 &"#;
    place
        .cmd("setsid")?
        .args(["sh", "-c", script, "sh"])
        .arg(probe)
        .args(["serve", name, &port.to_string()])
        .args(addresses)
        .ok()?;
    let own = addresses.first().map_or("127.0.0.1", String::as_str);
    crate::wait::until(
        &format!("{name} to listen"),
        crate::wait::secs(10),
        || match &ask(place, &[format!("tcp,{own},{port}")])?[..] {
            [Ok(_)] => Ok(()),
            answers => bail!("{answers:?}"),
        },
    )
}

/// What a server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// An echo reply, which says nothing.
    Echo,
    /// Who answered, and the client's address as it saw it.
    Line {
        /// The server's name.
        server: String,
        /// The client's address.
        client: IpAddr,
    },
}

/// Asks all targets at the same time; for each its answer, or what was wrong. A target is
/// `PROTOCOL,HOST[,PORT[,v4|v6]]`.
pub fn ask(place: &Place, targets: &[String]) -> Result<Vec<Result<Answer, String>>> {
    let probe = place.cmd(workspace::binary("probe"))?;
    let shown = probe.arg("ask").args(targets).ok()?;
    let answers: Vec<_> = shown.lines().map(parse).collect();
    ensure!(answers.len() == targets.len(), "probe printed {shown:?}");
    Ok(answers)
}

fn parse(line: &str) -> Result<Answer, String> {
    let Some(answer) = line.strip_prefix("ok ") else {
        return Err(line.trim_start_matches("error ").to_owned());
    };
    if answer == "echo" {
        return Ok(Answer::Echo);
    }
    answer
        .split_once(' ')
        .and_then(|(server, client)| {
            Some(Answer::Line {
                server: server.to_owned(),
                client: client.parse().ok()?,
            })
        })
        .ok_or_else(|| format!("a strange answer: {answer:?}"))
}

/// Conversations that go on in the background.
#[derive(Debug)]
pub struct Held {
    probe: Background,
}

/// Begins a conversation with each target and keeps them all.
pub fn hold(place: &Place, targets: &[String]) -> Result<Held> {
    let probe = place.cmd(workspace::binary("probe"))?;
    let mut probe = probe.arg("hold").args(targets).background()?;
    let begun = probe.line()?;
    ensure!(
        begun.as_deref() == Some("held"),
        "not all of {} answer: what probe said is above",
        targets.join(" ")
    );
    Ok(Held { probe })
}

impl Held {
    /// Ends them; an error that names those that were interrupted.
    pub fn end(self) -> Result<()> {
        let lines = self.probe.finish().context("probe has died")?;
        ensure!(!lines.is_empty(), "probe has died");
        let broken: Vec<&String> = lines.iter().filter(|l| !l.starts_with("ok ")).collect();
        ensure!(broken.is_empty(), "conversations ended: {broken:?}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_from_what_probe_prints() {
        let line = Answer::Line {
            server: "near".to_owned(),
            client: "fd00::1".parse().unwrap(),
        };
        assert_eq!(parse("ok near fd00::1"), Ok(line));
        assert_eq!(parse("ok echo"), Ok(Answer::Echo));
        assert_eq!(parse("error no answer"), Err("no answer".to_owned()));
        assert!(parse("ok near").is_err());
    }
}

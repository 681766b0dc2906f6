//! Managers against Docker's own: three managers and a worker of each kind on the same lab, one
//! after the other.

use std::fmt::Write as _;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde_json::{Value, json};

use super::machine::Machine;
use super::statistics::{Comparison, Summary};
use crate::lab::host::set_link;
use crate::lab::{self, Daemon, Host, Lab, Options};
use crate::wait::{self, secs};

/// Tasks that run while the leader has nothing to do.
const TASKS: u64 = 60;
/// Tasks of the service that loses a host.
const SPREAD: u64 = 4;
/// How long an idle leader is looked at.
const IDLE: Duration = Duration::from_secs(20);
/// How long writes are counted.
const WRITING: Duration = Duration::from_secs(3);
/// Lists that are asked for.
const LISTS: u32 = 50;
/// Clock ticks of a process per second (`getconf CLK_TCK`).
const TICKS: f64 = 100.0;
const LONG: Duration = Duration::from_secs(300);

/// Whose managers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Docker,
    Orchd,
}

/// What is measured; an aim is for orchd.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Metric {
    name: &'static str,
    unit: &'static str,
    aim: Option<f64>,
}

const fn metric(name: &'static str, unit: &'static str, aim: Option<f64>) -> Metric {
    Metric { name, unit, aim }
}

/// In the order in which they are measured.
const METRICS: [Metric; 9] = [
    metric("60 tasks run, from their service's creation", "s", None),
    metric("memory of the leader, idle with 60 tasks", "MB", Some(60.0)),
    metric(
        "processor of the leader, idle with 60 tasks",
        "% of one",
        Some(0.5),
    ),
    metric("list of services, in the leader", "ms", Some(10.0)),
    metric("list of tasks, in the leader", "ms", Some(10.0)),
    metric("writes, one after the other", "per s", None),
    metric(
        "a host that is cut off is not ready any more",
        "s",
        Some(2.0),
    ),
    metric(
        "its task runs elsewhere, a container's start in it",
        "s",
        None,
    ),
    metric(
        "a write is accepted after the leader was killed",
        "s",
        Some(1.5),
    ),
];

/// A metric, and what came out.
#[derive(Debug, Serialize)]
pub struct Line {
    metric: Metric,
    comparison: Comparison,
}

/// Measures both so often.
pub fn measure(pairs: u32) -> Result<Vec<Line>> {
    let mut samples: Vec<Vec<(f64, f64)>> = METRICS.iter().map(|_| Vec::new()).collect();
    for number in 1..=pairs {
        println!("bench: round {number} of {pairs}");
        // Which of the two goes first changes, so that going first helps neither.
        let (docker, orchd) = if number.is_multiple_of(2) {
            let orchd = one(Kind::Orchd)?;
            (one(Kind::Docker)?, orchd)
        } else {
            (one(Kind::Docker)?, one(Kind::Orchd)?)
        };
        for (index, pair) in docker.into_iter().zip(orchd).enumerate() {
            let Metric { name, unit, .. } = METRICS[index];
            println!("  {name}: Docker {:.3}, orchd {:.3} {unit}", pair.0, pair.1);
            samples[index].push(pair);
        }
    }
    let lines = METRICS.into_iter().zip(samples).map(|(metric, pairs)| {
        let comparison = Comparison::of(&pairs).context("there is a sample")?;
        Ok(Line { metric, comparison })
    });
    lines.collect()
}

/// The table as Markdown.
pub fn markdown(date: &str, machine: &Machine, lines: &[Line]) -> Result<String> {
    let mut text = format!("# Managers, {date}\n\n{}\n", machine.markdown());
    text += "Three managers and a worker, of each kind on the same machine, one after the other. \
             Medians, with the smallest and the largest in brackets. The leader is one process: of \
             Docker the whole engine, with the containers of its host; of orchd the daemon beside \
             the engine.\n\n\
             | what | unit | Docker Swarm | orchd | ratio | aim | |\n|---|---|---|---|---|---|---|\n";
    for Line { metric, comparison } in lines {
        let shown = |s: Summary| format!("{:.2} ({:.2}–{:.2})", s.median, s.min, s.max);
        let (aim, verdict) = match metric.aim {
            None => (String::new(), ""),
            Some(aim) if comparison.measured.median <= aim => (format!("≤ {aim}"), "hit"),
            Some(aim) => (format!("≤ {aim}"), "**miss**"),
        };
        let [docker, orchd, ratio] =
            [comparison.baseline, comparison.measured, comparison.ratio].map(shown);
        let Metric { name, unit, .. } = metric;
        writeln!(
            text,
            "| {name} | {unit} | {docker} | {orchd} | {ratio} | {aim} | {verdict} |"
        )?;
    }
    Ok(text)
}

/// Everything of one kind, in the order of [`METRICS`].
fn one(kind: Kind) -> Result<[f64; 9]> {
    let swarm = Swarm::up(kind)?;
    let figures = swarm.measure();
    swarm.lab.down()?;
    figures.with_context(|| format!("{kind:?}"))
}

struct Swarm {
    lab: Lab,
    daemon: Daemon,
}

impl Swarm {
    fn up(kind: Kind) -> Result<Self> {
        match kind {
            Kind::Orchd => Ok(Self {
                lab: Lab::up(Options {
                    managers: 3,
                    ..Options::swarm(4)
                })?,
                daemon: Daemon::Orchd,
            }),
            Kind::Docker => {
                let lab = Lab::up(Options {
                    engines_only: true,
                    ..Options::daemons(4)
                })?;
                form(lab.hosts())?;
                Ok(Self {
                    lab,
                    daemon: Daemon::Engine,
                })
            }
        }
    }

    fn measure(&self) -> Result<[f64; 9]> {
        let [leader, other, .., worker] = self.lab.hosts() else {
            anyhow::bail!("a lab of four hosts");
        };
        let started = Instant::now();
        self.create(*leader, "idle", TASKS)?;
        self.running(*leader, "idle", TASKS, None)?;
        let run = started.elapsed().as_secs_f64();
        self.create(*leader, "spread", SPREAD)?;
        self.running(*leader, "spread", SPREAD, None)?;
        thread::sleep(secs(10));
        let processor = self.idle(*leader)?;
        let memory = self.memory(*leader)?;
        let services = self.list(*leader, "/services")?;
        let tasks = self.list(*leader, "/tasks")?;
        let writes = self.writes(*leader)?;
        let (missed, replaced) = self.lose(*leader, *worker)?;
        let led = self.lose_leader(*leader, *other)?;
        Ok([
            run, memory, processor, services, tasks, writes, missed, replaced, led,
        ])
    }

    /// Makes a service.
    fn create(&self, host: Host, name: &str, replicas: u64) -> Result<()> {
        let container = json!({
            "Image": "busybox:1.35", "Command": ["sleep", "1000000"],
            "StopGracePeriod": 1_000_000_000,
        });
        let spec = json!({
            "Name": name, "TaskTemplate": { "ContainerSpec": container },
            "Mode": { "Replicated": { "Replicas": replicas } },
            // Without virtual addresses, of which a network has a few hundred.
            "EndpointSpec": { "Mode": "dnsrr" },
        });
        let made = host
            .api(self.daemon)
            .post("/services/create", &spec.to_string());
        let (status, words) = made?;
        ensure!(status == 201, "{name}: {status} {words}");
        Ok(())
    }

    /// Waits until so many tasks of a service run, none of them on `lost`.
    fn running(&self, host: Host, service: &str, count: u64, lost: Option<&str>) -> Result<()> {
        let filter = format!("%7B%22service%22%3A%7B%22{service}%22%3Atrue%7D%7D");
        let path = format!("/tasks?filters={filter}");
        wait::until(service, LONG, || {
            let tasks = host.api(self.daemon).want(&path)?;
            let tasks = tasks.as_array().into_iter().flatten();
            let running = tasks.filter(|task| {
                task["Status"]["State"] == "running" && task["NodeID"].as_str() != lost
            });
            let running = running.count() as u64;
            ensure!(running == count, "{running} of {count} run");
            Ok(())
        })
    }

    /// Of a processor, in percent.
    fn idle(&self, leader: Host) -> Result<f64> {
        let before = self.used(leader)?;
        let began = Instant::now();
        thread::sleep(IDLE);
        let used = self.used(leader)? - before;
        Ok(used / TICKS / began.elapsed().as_secs_f64() * 100.0)
    }

    fn proc(&self, host: Host, file: &str) -> Result<String> {
        let pid = host.pid(self.daemon).context("the leader runs")?;
        Ok(fs::read_to_string(
            host.path(&format!("/proc/{pid}/{file}"))?,
        )?)
    }

    fn used(&self, host: Host) -> Result<f64> {
        let stat = self.proc(host, "stat")?;
        let after = stat.rsplit(')').next().context("proc(5)")?;
        let fields: Vec<&str> = after.split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|f| f.parse::<f64>().ok());
        // User and system time are the 14th and 15th field, and the third is the first here.
        ticks(11)
            .zip(ticks(12))
            .map(|(user, system)| user + system)
            .context("proc(5)")
    }

    /// In MB.
    fn memory(&self, host: Host) -> Result<f64> {
        let status = self.proc(host, "status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        Ok(kib.context("proc(5)")? * 1024.0 / 1e6)
    }

    /// The middle of some, in milliseconds.
    fn list(&self, host: Host, path: &str) -> Result<f64> {
        let mut times = Vec::new();
        for _ in 0..LISTS {
            let began = Instant::now();
            host.api(self.daemon).want(path)?;
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
        Ok(Summary::of(times).context("there are lists")?.median)
    }

    fn writes(&self, leader: Host) -> Result<f64> {
        let began = Instant::now();
        let mut count = 0_u32;
        while began.elapsed() < WRITING {
            self.create(leader, &format!("w{count}"), 0)?;
            count += 1;
        }
        Ok(f64::from(count) / began.elapsed().as_secs_f64())
    }

    /// Seconds until a host that is cut off is missed, and until its task runs elsewhere.
    fn lose(&self, leader: Host, worker: Host) -> Result<(f64, f64)> {
        let node = |nodes: &Value| {
            let mut nodes = nodes.as_array().into_iter().flatten();
            nodes
                .find(|n| n["Description"]["Hostname"] == *worker.name())
                .cloned()
        };
        let api = leader.api(self.daemon);
        let id = node(&api.want("/nodes")?).context("the worker is a node")?["ID"].clone();
        set_link(worker, false)?;
        let began = Instant::now();
        wait::until("the host to be missed", LONG, || {
            let node = node(&api.want("/nodes")?).context("the worker is a node")?;
            ensure!(node["Status"]["State"] != "ready", "ready");
            Ok(())
        })?;
        let missed = began.elapsed().as_secs_f64();
        self.running(leader, "spread", SPREAD, id.as_str())?;
        let replaced = began.elapsed().as_secs_f64();
        set_link(worker, true)?;
        Ok((missed, replaced))
    }

    fn lose_leader(&self, leader: Host, other: Host) -> Result<f64> {
        leader.kill(self.daemon)?;
        let began = Instant::now();
        wait::until("a write to be accepted", LONG, || {
            self.create(other, "after", 0)
        })?;
        Ok(began.elapsed().as_secs_f64())
    }
}

/// Docker's own swarm: the last host is a worker.
fn form(hosts: &[Host]) -> Result<()> {
    let engine = |host: Host, words: &str| lab::docker(host, Daemon::Engine).words(words).ok();
    let [first, others @ ..] = hosts else {
        anyhow::bail!("a lab has hosts");
    };
    engine(
        *first,
        &format!("swarm init --advertise-addr {}", first.address()),
    )?;
    for (number, host) in others.iter().enumerate() {
        let role = if number < 2 { "manager" } else { "worker" };
        let token = engine(*first, &format!("swarm join-token --quiet {role}"))?;
        let join = format!("swarm join --token {} {}", token.trim(), first.address());
        engine(*host, &join)?;
    }
    Ok(())
}

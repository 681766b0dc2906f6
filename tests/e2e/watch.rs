//! What must not happen during any scenario, whatever it is about: a packet dropped for a reason
//! that nobody expects, a conversation interrupted, an error in a log of orchd.

use std::fs;

use anyhow::{Context, Result, ensure};
use aya::maps::{Map, MapData, PerCpuArray};
use orch_ebpf_common::{DropReason, LAYOUT_VERSION};
use xtask::lab::place::Place;
use xtask::lab::probe::{self, Held};
use xtask::lab::{CLIENT, Daemon, Host};

/// Where the servers of hosts and of the client listen: a port that nothing publishes.
pub const PORT: u16 = 17_007;

/// Packets that are dropped in every cluster, and why that is right.
const EXPECTED: &[(DropReason, &str)] = &[
    (
        DropReason::NeighbourUnanswered,
        "containers ask whether somebody has their IPv6 address already, and for routers",
    ),
    (
        DropReason::Multicast,
        "containers announce themselves to groups that overlay networks do not carry",
    ),
    (
        DropReason::EndpointNotAttached,
        "the others' last words in conversations with a container that has ended",
    ),
];

/// What was so before the scenario.
pub struct Watch {
    hosts: Vec<Host>,
    drops: Vec<Vec<u64>>,
    held: Vec<Held>,
}

impl Watch {
    /// Begins to watch hosts: traffic between them and from the outside goes on from here, to a
    /// port that is not the cluster's.
    pub fn begin(hosts: &[Host]) -> Result<Self> {
        let mut held = Vec::new();
        let all: Vec<String> = hosts
            .iter()
            .flat_map(|host| [host.address(), host.address6()])
            .map(|address| format!("tcp,{address},{PORT}"))
            .collect();
        for &host in hosts {
            let own = [host.address(), host.address6()];
            probe::serve(&Place::Host(host), &host.name(), PORT, &own)?;
        }
        held.push(probe::hold(&Place::Namespace(CLIENT.to_owned()), &all)?);
        for &host in hosts {
            held.push(probe::hold(&Place::Host(host), &all)?);
        }
        Ok(Self {
            hosts: hosts.to_vec(),
            drops: hosts
                .iter()
                .map(|&host| drops(host))
                .collect::<Result<_>>()?,
            held,
        })
    }

    /// Also wants these conversations to go on to the end.
    pub fn hold(&mut self, place: &Place, targets: &[String]) -> Result<()> {
        self.held.push(probe::hold(place, targets)?);
        Ok(())
    }

    /// Ends it; an error that says all that should not have happened.
    pub fn end(self) -> Result<()> {
        let mut wrong = Vec::new();
        for held in self.held {
            wrong.extend(held.end().err().map(|error| format!("{error:#}")));
        }
        for (&host, before) in self.hosts.iter().zip(&self.drops) {
            wrong.extend(unexpected(host, before)?);
            wrong.extend(complaints(host)?);
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    }
}

/// How many packets a host has dropped, by reason; zeros while it is in no swarm, or has just
/// become a member and brings its data plane up.
fn drops(host: Host) -> Result<Vec<u64>> {
    let info = host.api(Daemon::Orchd).get("/info");
    let active = info.is_ok_and(|(_, info)| info["Swarm"]["LocalNodeState"] == "active");
    let pin = format!("{}/v{LAYOUT_VERSION}/maps/DROPS", host.bpf_dir());
    let pin = host.path(&pin)?;
    if !active || !pin.exists() {
        return Ok(vec![0; DropReason::ALL.len()]);
    }
    let map = Map::PerCpuArray(MapData::from_pin(pin)?);
    let counters: PerCpuArray<_, u64> = map.try_into()?;
    (0..DropReason::COUNT)
        .map(|reason| Ok(counters.get(&reason, 0)?.iter().sum()))
        .collect()
}

fn unexpected(host: Host, before: &[u64]) -> Result<Vec<String>> {
    let counted = DropReason::ALL.iter().zip(before).zip(drops(host)?);
    let moved = counted.filter(|((_, before), now)| now > before);
    Ok(moved
        .filter(|((reason, _), _)| EXPECTED.iter().all(|(expected, _)| expected != *reason))
        .map(|((reason, before), now)| {
            let count = now - before;
            format!("{} dropped {count} packets: {}", host.name(), reason.name())
        })
        .collect())
}

/// Lines of orchd's log that speak of an error.
fn complaints(host: Host) -> Result<Vec<String>> {
    let log = host.log(Daemon::Orchd);
    if !log.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(&log).with_context(|| format!("{}", log.display()))?;
    let bad = |line: &&str| line.contains(" ERROR ") || line.contains("panicked at");
    let lines = text.lines().filter(bad);
    Ok(lines
        .map(|line| format!("orchd on {}: {line}", host.name()))
        .collect())
}

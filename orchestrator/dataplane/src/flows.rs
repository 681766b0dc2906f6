//! The connection tables as values: what talks to what, for people and for draining.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use aya::Pod;
use aya::maps::{HashMap, Map, MapData};
use orch_core::network;
use orch_ebpf_common::{Address, Be16, Delivery, Flow, FlowKey, Origin, Phase, Vni};
use tokio::sync::watch;

use crate::services::Names;
use crate::{Error, kernel};

/// One direction of a conversation.
///
/// Ports of echo requests and replies: the identifier is the asking side's, the other one is 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowEntry {
    /// The network in which its packets are seen; `None`: the host's own world.
    pub vni: Option<network::Vni>,
    /// IP protocol number.
    pub protocol: u8,
    /// Source of its packets as they come.
    pub source: SocketAddr,
    /// Destination of its packets as they come.
    pub destination: SocketAddr,
    /// Source of its packets as they go.
    pub new_source: SocketAddr,
    /// Destination of its packets as they go: the chosen backend, if one was chosen.
    pub new_destination: SocketAddr,
    /// The network to which they go; `None`: the host's own world.
    pub new_vni: Option<network::Vni>,
    /// Why the entry exists.
    pub origin: FlowOrigin,
    /// How far the conversation is.
    pub state: FlowState,
    /// Where its packets go.
    pub exit: FlowExit,
    /// The service that it is counted for.
    pub service: Option<String>,
    /// How long ago the conversation began.
    pub age: Duration,
    /// How long ago a packet of either direction last came, to the second.
    pub idle: Duration,
    /// Packets of this direction.
    pub packets: u64,
    /// Their bytes, Ethernet headers included.
    pub bytes: u64,
    /// Whether answers leave the backend's host straight to the client.
    pub direct_return: bool,
}

/// Why an entry exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowOrigin {
    /// It is the way back of a conversation's answers.
    Reply,
    /// Its packets are sent to a service's virtual address.
    Vip,
    /// Its packets are sent to a published port of this host.
    Published,
    /// Its packets need a rewrite, but no backend had to be chosen: the way to the outside.
    Direct,
    /// Its packets come from an outside client through another host's published port.
    Ingress,
}

/// How far a conversation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowState {
    /// It has not proved to be one yet, and goes first when room is short.
    Opening,
    /// Both sides know of it.
    Established,
    /// TCP: one side has ended it.
    Closing,
}

/// Where the packets of a flow go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowExit {
    /// To the task with the new destination address, wherever it runs.
    Task,
    /// Through the tunnel to this host.
    Node(IpAddr),
    /// To this host's own stack.
    Host,
    /// Out of the device with this index.
    Uplink(u32),
}

/// A view of the connection tables. Reading may take a second when they are full, and blocks.
pub struct FlowTables {
    flows: HashMap<MapData, FlowKey, Flow>,
    opening: HashMap<MapData, FlowKey, Flow>,
    names: watch::Receiver<Names>,
}

impl FlowTables {
    /// Opens the tables that are pinned in `maps`.
    pub(crate) fn open(maps: &Path, names: watch::Receiver<Names>) -> Result<Self, Error> {
        Ok(Self {
            flows: pinned(maps, "FLOWS")?,
            opening: pinned(maps, "OPENING")?,
            names,
        })
    }

    /// Every conversation that is going on, each direction for itself, in no useful order.
    ///
    /// # Errors
    ///
    /// When the kernel refuses a look.
    pub fn entries(&self) -> Result<Vec<FlowEntry>, Error> {
        let now = kernel::monotonic();
        let names = self.names.borrow().clone();
        let entries = self.read()?;
        let live = entries
            .iter()
            .filter(|(key, (is_opening, flow))| is_live(key, *is_opening, flow, now));
        let entry = |(key, (is_opening, flow)): (&_, &(bool, _))| {
            entry(key, *is_opening, flow, now, &names)
        };
        Ok(live.map(entry).collect())
    }

    /// How many conversations this host leads to each backend, closed ones not counted.
    ///
    /// # Errors
    ///
    /// When the kernel refuses a look.
    pub fn live_per_backend(&self) -> Result<BTreeMap<(network::Vni, IpAddr), u64>, Error> {
        let now = kernel::monotonic();
        let mut live = BTreeMap::new();
        for (key, (is_opening, flow)) in self.read()? {
            let chosen = [Origin::Vip as u8, Origin::Published as u8].contains(&flow.origin);
            let ended = flow.phase == Phase::Closing as u8;
            if chosen && !ended && is_live(&key, is_opening, &flow, now) {
                let backend = (network::Vni(flow.vni.get()), flow.destination.into());
                *live.entry(backend).or_default() += 1;
            }
        }
        Ok(live)
    }

    /// The task, by its address in a network, whose conversation the service `server` of this host
    /// sees as one with `client`; `protocol` is the IP protocol's number.
    pub fn task_behind(
        &self,
        protocol: u8,
        client: SocketAddr,
        server: SocketAddr,
    ) -> Option<(network::Vni, IpAddr)> {
        let answers = FlowKey {
            vni: Vni::HOST,
            source: server.ip().into(),
            destination: client.ip().into(),
            source_port: Be16::new(server.port()),
            destination_port: Be16::new(client.port()),
            protocol,
            ..FlowKey::default()
        };
        let flow = self.flows.get(&answers, 0);
        let flow = flow.or_else(|_| self.opening.get(&answers, 0)).ok()?;
        Some((network_of(flow.vni)?, flow.destination.into()))
    }

    /// The entries of both tables, and whether each is of an opening.
    fn read(&self) -> Result<BTreeMap<FlowKey, (bool, Flow)>, Error> {
        let mut entries = BTreeMap::new();
        // What moved to the other table leaves a copy behind.
        collect(&self.opening, "OPENING", true, &mut entries)?;
        collect(&self.flows, "FLOWS", false, &mut entries)?;
        Ok(entries)
    }
}

/// The table that is pinned in `dir` as `map`.
pub(crate) fn pinned<K: Pod, V: Pod>(
    dir: &Path,
    map: &'static str,
) -> Result<HashMap<MapData, K, V>, Error> {
    MapData::from_pin(dir.join(map))
        .and_then(|data| HashMap::try_from(Map::LruHashMap(data)))
        .map_err(Error::map("open", map))
}

/// Reads a table while others change it: one that loses its entries as fast as they are read would
/// be read for ever, so that there is a limit.
fn collect(
    table: &HashMap<MapData, FlowKey, Flow>,
    name: &'static str,
    is_opening: bool,
    into: &mut BTreeMap<FlowKey, (bool, Flow)>,
) -> Result<(), Error> {
    const LIMIT: usize = 1 << 25;
    for entry in table.iter().take(LIMIT) {
        let (key, flow) = entry.map_err(Error::map("read", name))?;
        into.insert(key, (is_opening, flow));
    }
    Ok(())
}

/// Whether another conversation could not take its place yet.
fn is_live(key: &FlowKey, is_opening: bool, flow: &Flow, now: Duration) -> bool {
    let phase = if is_opening {
        Phase::Opening as u8
    } else {
        flow.phase
    };
    let flow = Flow { phase, ..*flow };
    !flow.is_stale(key.protocol, seconds(now))
}

fn seconds(now: Duration) -> u32 {
    u32::try_from(now.as_secs()).unwrap_or(u32::MAX)
}

fn entry(key: &FlowKey, is_opening: bool, flow: &Flow, now: Duration, names: &Names) -> FlowEntry {
    let since = |second: u32| Duration::from_secs(seconds(now).saturating_sub(second).into());
    FlowEntry {
        vni: network_of(key.vni),
        protocol: key.protocol,
        source: socket(key.source, key.source_port),
        destination: socket(key.destination, key.destination_port),
        new_source: socket(flow.source, flow.source_port),
        new_destination: socket(flow.destination, flow.destination_port),
        new_vni: network_of(flow.vni),
        origin: origin(flow.origin),
        state: if flow.phase == Phase::Closing as u8 {
            FlowState::Closing
        } else if is_opening {
            FlowState::Opening
        } else {
            FlowState::Established
        },
        exit: exit(flow),
        service: names.get(&flow.service).cloned(),
        age: since(flow.opened),
        idle: since(flow.last_seen),
        packets: flow.packets,
        bytes: flow.bytes,
        direct_return: flow.flags & Flow::DIRECT_RETURN != 0,
    }
}

/// An address and a port of a packet.
pub(crate) fn socket(address: Address, port: Be16) -> SocketAddr {
    SocketAddr::new(address.into(), port.get())
}

/// The cluster's form of a network's number.
pub(crate) fn network_of(vni: Vni) -> Option<network::Vni> {
    (vni != Vni::HOST).then(|| network::Vni(vni.get()))
}

fn origin(origin: u8) -> FlowOrigin {
    const VIP: u8 = Origin::Vip as u8;
    const PUBLISHED: u8 = Origin::Published as u8;
    const DIRECT: u8 = Origin::Direct as u8;
    const INGRESS: u8 = Origin::Ingress as u8;
    match origin {
        VIP => FlowOrigin::Vip,
        PUBLISHED => FlowOrigin::Published,
        DIRECT => FlowOrigin::Direct,
        INGRESS => FlowOrigin::Ingress,
        _ => FlowOrigin::Reply,
    }
}

fn exit(flow: &Flow) -> FlowExit {
    const TUNNEL: u8 = Delivery::Tunnel as u8;
    const HOST: u8 = Delivery::Host as u8;
    const UPLINK: u8 = Delivery::Uplink as u8;
    match flow.delivery {
        TUNNEL => FlowExit::Node(flow.node.into()),
        HOST => FlowExit::Host,
        UPLINK => FlowExit::Uplink(flow.ifindex),
        _ => FlowExit::Task,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(phase: Phase, last_seen: u32) -> Flow {
        Flow {
            phase: phase as u8,
            last_seen,
            ..Flow::default()
        }
    }

    #[test]
    fn an_opening_is_live_for_a_short_time_only() {
        let key = FlowKey {
            protocol: 6,
            ..FlowKey::default()
        };
        let answered = flow(Phase::Established, 100);
        let live = |is_opening, now| is_live(&key, is_opening, &answered, Duration::from_secs(now));
        assert!(live(true, 160) && live(false, 161) && live(false, 100 + 6 * 3600));
        assert!(!live(true, 161) && !live(false, 101 + 6 * 3600));
    }

    #[test]
    fn an_entry_says_who_talks_to_whom() {
        let ip = |text: &str| Address::from(text.parse::<IpAddr>().unwrap());
        let key = FlowKey {
            vni: Vni::new(4097),
            source: ip("10.0.10.7"),
            destination: ip("10.0.10.100"),
            source_port: Be16::new(40000),
            destination_port: Be16::new(80),
            protocol: 6,
            ..FlowKey::default()
        };
        let flow = Flow {
            destination: ip("10.0.10.8"),
            destination_port: Be16::new(80),
            vni: Vni::new(4097),
            origin: Origin::Vip as u8,
            service: 3,
            opened: 90,
            ..flow(Phase::Established, 98)
        };
        let names = Names::from([(3, "web".into())]);
        let entry = entry(&key, false, &flow, Duration::from_secs(100), &names);
        assert_eq!(entry.source, "10.0.10.7:40000".parse().unwrap());
        assert_eq!(entry.new_destination, "10.0.10.8:80".parse().unwrap());
        assert_eq!(entry.vni, Some(network::Vni(4097)));
        assert_eq!(
            (entry.origin, entry.exit),
            (FlowOrigin::Vip, FlowExit::Task)
        );
        assert_eq!(entry.state, FlowState::Established);
        assert_eq!(entry.service.as_deref(), Some("web"));
        assert_eq!((entry.age.as_secs(), entry.idle.as_secs()), (10, 2));
    }
}

//! Answers of `/orch/net/...`.

use serde::Deserialize;

/// Packets dropped for one reason.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct DropCount {
    /// Its name.
    pub reason: String,
    /// How many.
    pub packets: u64,
    /// What the reason means.
    pub meaning: String,
}

/// The maps of a host against what was written into them.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Tables {
    /// Every map.
    pub maps: Vec<MapSummary>,
    /// What was not as it must be.
    pub differences: Vec<Difference>,
    /// Whether it is right now.
    pub healed: bool,
    /// The entries of the map that was asked for.
    pub entries: Option<Vec<Entry>>,
}

/// One map.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct MapSummary {
    /// Its name.
    pub map: String,
    /// How many entries it must have.
    pub wanted: usize,
    /// How many it has.
    pub found: usize,
    /// How many are not as they must be.
    pub differences: usize,
}

/// One entry of a map.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// An entry that is not as it must be.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Difference {
    /// Name of the map.
    pub map: String,
    /// `missing`, `unexpected` or `altered`.
    pub kind: String,
    /// Its key.
    pub key: String,
    /// The value that is there.
    pub found: Option<String>,
    /// The value that must be there.
    pub wanted: Option<String>,
}

/// What would happen to a packet.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Trace {
    /// The packet.
    pub packet: String,
    /// What was taken for granted.
    pub notes: Vec<String>,
    /// What each host does, one after the other.
    pub hops: Vec<Hop>,
}

/// What one host does with a packet.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Hop {
    /// The host.
    pub host: String,
    /// The program that sees the packet.
    pub program: String,
    /// The packet as it comes in.
    pub packet: String,
    /// What is decided, and why.
    pub steps: Vec<String>,
    /// What becomes of it.
    pub outcomes: Vec<Outcome>,
}

/// What may become of a packet on a host.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Outcome {
    /// A word for it.
    pub verdict: String,
    /// The words for people.
    pub text: String,
}

/// A conversation, or the first packet of one; what one of the two has not, is empty.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Flow {
    /// `flow`, `event`, or `lost` for events that came too fast.
    pub kind: String,
    /// Number of the network; none outside of all.
    pub network: Option<u32>,
    /// Name of the protocol.
    pub protocol: String,
    /// Who began.
    pub source: String,
    /// Whom it asked for.
    pub destination: String,
    /// Whom it was led to.
    pub backend: Option<String>,
    /// How far the conversation is, or what became of the packet.
    pub verdict: String,
    /// How its packets leave this host.
    pub exit: String,
    /// The service it is counted for.
    pub service: Option<String>,
    /// Packets from who began.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packets of the answers.
    pub answer_packets: u64,
    /// Their bytes.
    pub answer_bytes: u64,
    /// Seconds since it began.
    pub age: u64,
    /// Seconds since the last packet.
    pub idle: u64,
    /// How many events were lost.
    pub events: u64,
}

/// What went through the services of a host.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Counters {
    /// When, in nanoseconds since 1970.
    pub time: u64,
    /// Each service.
    pub services: Vec<ServiceCounters>,
}

/// What went through a service, both directions.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ServiceCounters {
    /// Its name.
    pub service: String,
    /// Conversations that go on.
    pub live: u64,
    /// Conversations begun.
    pub flows: u64,
    /// Packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packets that were refused.
    pub refused: u64,
}

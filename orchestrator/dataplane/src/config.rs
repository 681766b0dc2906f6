//! What a data plane is opened with.

use std::net::IpAddr;
use std::path::PathBuf;

use orch_ebpf_common::flow::{FLOW_ENTRIES, FRAGMENT_ENTRIES, OPENING_ENTRIES};
use orch_ebpf_common::service::AFFINITY_ENTRIES;

/// What a data plane is opened with.
#[derive(Debug, Clone)]
pub struct Config {
    /// The host's underlay address, by which the other hosts tunnel to it.
    pub node_address: IpAddr,
    /// UDP port of the tunnels; the same on all hosts of a cluster.
    pub vxlan_port: u16,
    /// Directory for pins, on a BPF file system or where one can be mounted.
    pub bpf_dir: PathBuf,
    /// How much the programs may remember.
    pub table_sizes: TableSizes,
}

/// How many entries the tables have that the programs fill. Their memory is taken at the start;
/// when one is full, what was used longest ago goes. A change of a size makes the tables anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableSizes {
    /// Conversations that have proved to be one, two entries of 192 bytes each.
    pub flows: u32,
    /// Conversations that have not yet, two entries of 192 bytes each.
    pub opening: u32,
    /// Clients of services with affinity, one entry of 120 bytes each.
    pub affinity: u32,
    /// Datagrams in pieces, one entry of 104 bytes each.
    pub fragments: u32,
}

impl TableSizes {
    /// The sizes, by name of the map.
    pub(crate) fn by_map(&self) -> [(&'static str, u32); 4] {
        [
            ("FLOWS", self.flows),
            ("OPENING", self.opening),
            ("AFFINITY", self.affinity),
            ("FRAGMENTS", self.fragments),
        ]
    }
}

impl Default for TableSizes {
    fn default() -> Self {
        Self {
            flows: FLOW_ENTRIES,
            opening: OPENING_ENTRIES,
            affinity: AFFINITY_ENTRIES,
            fragments: FRAGMENT_ENTRIES,
        }
    }
}

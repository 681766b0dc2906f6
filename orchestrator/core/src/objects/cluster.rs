//! The cluster: its settings, its trust root and its join tokens. One per store.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{ClusterOptions, Labels, Meta};
use crate::ids::{ClusterId, NodeId};
use crate::time::Timestamp;

/// The one cluster object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Name of the cluster, also the organisation of its certificates.
    pub id: ClusterId,
    /// Versions and times.
    pub meta: Meta,
    /// What the user may change.
    pub spec: ClusterSpec,
    /// Address ranges that networks without a subnet are cut from. If none is of IPv6, those are
    /// cut from [`Self::own_v6_pool`].
    pub address_pools: Vec<IpNet>,
    /// Prefix length of an IPv4 network cut from a pool; those of IPv6 have
    /// [`Self::SUBNET_SIZE_V6`].
    pub subnet_size: u8,
    /// UDP port of the overlay's tunnels, the same on every node.
    pub data_path_port: u16,
    /// The root of trust.
    pub root_ca: RootCa,
    /// Secrets that let a host in.
    pub join_tokens: JoinTokens,
    /// Nodes that were removed, and until when they may still have a certificate that is good.
    #[serde(default)]
    pub removed_nodes: BTreeMap<NodeId, Timestamp>,
}

impl Cluster {
    /// Prefix length of an IPv6 network cut from a pool: what every link has (RFC 4291 section
    /// 2.5.1).
    pub const SUBNET_SIZE_V6: u8 = 64;

    /// The cluster's unique local range (RFC 4193): its global id is a hash of the cluster's id,
    /// which is random, so that clusters that meet have different ones.
    pub fn own_v6_pool(&self) -> IpNet {
        const UNIQUE_LOCAL: u128 = 0xfd << 120;
        const GLOBAL_ID_BITS: u32 = 40;
        const BEHIND_GLOBAL_ID: u32 = 80;
        const PREFIX: u8 = 48;
        // 64-bit FNV-1a.
        let hash = self
            .id
            .as_str()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        let global_id = u128::from(hash >> (u64::BITS - GLOBAL_ID_BITS));
        let address = Ipv6Addr::from_bits(UNIQUE_LOCAL | (global_id << BEHIND_GLOBAL_ID));
        IpNet::new_assert(address.into(), PREFIX)
    }

    /// The prefix length of a network cut from `pool`.
    pub fn subnet_size_in(&self, pool: IpNet) -> u8 {
        match pool {
            IpNet::V4(_) => self.subnet_size,
            IpNet::V6(_) => Self::SUBNET_SIZE_V6,
        }
    }
}

/// Settings that `swarm update` may change; defaults are Docker's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterSpec {
    /// Always `default`, as in Docker.
    pub name: String,
    /// User labels.
    pub labels: Labels,
    /// Finished tasks kept per slot; negative keeps all.
    pub task_history_limit: i64,
    /// Raft and snapshot settings.
    pub raft: RaftSettings,
    /// How often a node reports that it lives.
    pub heartbeat_period: Duration,
    /// Lifetime of node certificates.
    pub node_cert_expiry: Duration,
}

/// Raft and snapshot settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaftSettings {
    /// Log entries between snapshots.
    pub snapshot_interval: u64,
    /// Snapshots kept beside the newest.
    pub keep_old_snapshots: u64,
    /// Entries kept after a snapshot for slow followers.
    pub log_entries_for_slow_followers: u64,
    /// Raft ticks without a leader before an election.
    pub election_tick: u32,
    /// Raft ticks between heartbeats.
    pub heartbeat_tick: u32,
}

impl ClusterSpec {
    /// The options that its labels give. They were checked before they came into the store.
    pub fn options(&self) -> ClusterOptions {
        ClusterOptions::from_labels(&self.labels).unwrap_or_default()
    }
}

impl Default for ClusterSpec {
    fn default() -> Self {
        Self {
            name: "default".to_owned(),
            labels: Labels::new(),
            task_history_limit: 5,
            raft: RaftSettings {
                snapshot_interval: 10_000,
                keep_old_snapshots: 0,
                log_entries_for_slow_followers: 500,
                election_tick: 10,
                heartbeat_tick: 1,
            },
            heartbeat_period: Duration::from_secs(5),
            node_cert_expiry: Duration::from_secs(90 * 24 * 3600),
        }
    }
}

/// The certificate authority that signs node certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootCa {
    /// Self-signed root certificate, PEM.
    pub certificate_pem: String,
    /// Its private key, PKCS#8 PEM. Lives in the managers' sealed log only.
    pub key_pem: String,
}

/// The two join tokens, in Swarm's form `SWMTKN-1-<CA digest>-<secret>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinTokens {
    /// Lets a host in as a worker.
    pub worker: String,
    /// Lets a host in as a manager.
    pub manager: String,
}

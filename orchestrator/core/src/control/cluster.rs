//! The cluster object: `swarm init` and `swarm update`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::ControlError;
use crate::ids::{ClusterId, NodeId};
use crate::objects::cluster::{JoinTokens, RootCa};
use crate::objects::network::INGRESS;
use crate::objects::node::{
    Availability, ManagerStatus, NodeDescription, NodeState, NodeStatus, Role,
};
use crate::objects::{Cluster, ClusterSpec, Labels, Meta, NetworkSpec, Node, NodeSpec};
use crate::store::{Object, Tx};
use crate::validate;

/// What `swarm init` was asked for and what the shell made for it.
#[derive(Debug, Clone)]
pub struct InitCluster {
    /// The new cluster's id.
    pub id: ClusterId,
    /// Its settings.
    pub spec: ClusterSpec,
    /// Address ranges for networks without a subnet of their own.
    pub address_pools: Vec<IpNet>,
    /// Prefix length of a network cut from a pool.
    pub subnet_size: u8,
    /// UDP port of the overlay's tunnels.
    pub data_path_port: u16,
    /// The root of trust.
    pub root_ca: RootCa,
    /// The first join tokens.
    pub join_tokens: JoinTokens,
    /// This host: the first node.
    pub node: NodeId,
    /// Whether it takes tasks.
    pub availability: Availability,
    /// Its raft member id.
    pub raft_id: u64,
    /// Where it serves node-to-node calls.
    pub manager_address: SocketAddr,
    /// Its underlay address.
    pub address: IpAddr,
    /// What it says of itself.
    pub description: NodeDescription,
}

/// Founds the cluster: its object, the first manager and the ingress network.
pub fn init_cluster(tx: &mut Tx<'_>, init: InitCluster) -> Result<(), ControlError> {
    if tx.cluster().is_some() {
        return Err(ControlError::FailedPrecondition(
            "the cluster is initialised already".to_owned(),
        ));
    }
    validate::cluster_spec(&init.spec)?;
    validate::address_pools(&init.address_pools, init.subnet_size)?;
    validate::data_path_port(init.data_path_port)?;
    tx.put(Object::Cluster(Cluster {
        id: init.id,
        meta: Meta::default(),
        spec: init.spec,
        address_pools: init.address_pools,
        subnet_size: init.subnet_size,
        data_path_port: init.data_path_port,
        root_ca: init.root_ca,
        join_tokens: init.join_tokens,
        removed_nodes: BTreeMap::new(),
    }));
    tx.put(Object::Node(Node {
        id: init.node,
        meta: Meta::default(),
        spec: NodeSpec {
            name: None,
            labels: Labels::new(),
            role: Role::Manager,
            availability: init.availability,
        },
        description: Some(init.description),
        status: NodeStatus {
            state: NodeState::Unknown,
            message: String::new(),
            address: Some(init.address),
        },
        manager: Some(ManagerStatus {
            raft_id: init.raft_id,
            address: init.manager_address,
        }),
        taken_ports: BTreeSet::new(),
    }));
    let ingress = NetworkSpec {
        name: INGRESS.to_owned(),
        labels: Labels::new(),
        attachable: false,
        internal: false,
        ingress: true,
        ipv6: false,
        ipam: Vec::new(),
        driver_options: BTreeMap::new(),
    };
    super::create_network(tx, ingress).map(|_| ())
}

/// Changes the cluster's settings and, when given, its join tokens.
pub fn update_cluster(
    tx: &mut Tx<'_>,
    version: u64,
    spec: ClusterSpec,
    tokens: Option<JoinTokens>,
) -> Result<(), ControlError> {
    let current = tx
        .cluster()
        .ok_or_else(|| ControlError::not_found("cluster", "default"))?;
    if current.meta.version != version {
        return Err(ControlError::OutOfSequence);
    }
    validate::cluster_spec(&spec)?;
    validate::cluster_update(&current.spec, &spec)?;
    let mut cluster = Cluster::clone(current);
    cluster.spec = spec;
    if let Some(tokens) = tokens {
        cluster.join_tokens = tokens;
    }
    tx.put(Object::Cluster(cluster));
    Ok(())
}

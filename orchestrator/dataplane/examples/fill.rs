//! A data plane with many services and two containers: what `cargo xtask bench` measures against
//! as many rules of nft.
//!
//! `fill NODE-ADDRESS SERVICES` runs in a network namespace of its own, as a host's daemon does. It
//! prints the containers' devices, the client's first, and lives until its standard input ends;
//! its pins go with its mount namespace. Every service has the second container as its backend.
#![allow(clippy::print_stdout, reason = "what it made goes to who started it")]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};

use orch_core::ids::NetworkId;
use orch_core::network::{Backend, DesiredNetwork, Frontend, OverlayNetwork, Pool, Subnet, Vni};
use orch_dataplane::{Attachment, Config, DataPlane, TableSizes};

const VNI: Vni = Vni(4096);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 2);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 3);
/// The first service; the others follow it.
const FIRST_VIP: Ipv4Addr = Ipv4Addr::new(10, 64, 1, 0);
const VXLAN_PORT: u16 = 4789;

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let (Some(node), Some(services)) = (words.next(), words.next()) else {
        return Err("usage: fill NODE-ADDRESS SERVICES".into());
    };
    let (node, services) = (node.parse()?, services.parse()?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let plane = runtime.block_on(build(node, services))?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    drop(plane);
    Ok(())
}

async fn build(node: IpAddr, services: u32) -> Result<DataPlane, Box<dyn Error>> {
    let config = Config {
        node_address: node,
        vxlan_port: VXLAN_PORT,
        bpf_dir: "/sys/fs/bpf/orch".into(),
        table_sizes: TableSizes::default(),
    };
    let mut plane = DataPlane::open(config).await?;
    plane.apply(&desired(node, services)?).await?;
    for (name, address) in [("client", CLIENT), ("server", SERVER)] {
        let attachment = Attachment {
            endpoint_id: format!("{:011x}", u32::from(address)),
            sandbox_id: name.to_owned(),
            vni: VNI,
            v4: Some(address),
            v6: None,
            mac: Attachment::mac_address(address.into()),
        };
        println!("{}", plane.attach(attachment).await?);
    }
    Ok(plane)
}

fn desired(node: IpAddr, services: u32) -> Result<DesiredNetwork, Box<dyn Error>> {
    let network = OverlayNetwork {
        id: NetworkId::from_random(1),
        subnets: vec![Subnet {
            range: format!("{GATEWAY}/16").parse::<ipnet::IpNet>()?.trunc(),
            gateway: GATEWAY.into(),
        }],
        internal: false,
    };
    let backend = Backend {
        vni: VNI,
        address: SERVER.into(),
        port: None,
    };
    let first = u32::from(FIRST_VIP);
    let frontends = (first..first + services).map(|number| {
        let frontend = Frontend::Vip {
            vni: VNI,
            address: Ipv4Addr::from(number).into(),
        };
        let pool = Pool {
            service: format!("service-{number}"),
            backends: BTreeSet::from([backend]),
            ..Pool::default()
        };
        (frontend, pool)
    });
    let endpoints = [CLIENT, SERVER].map(|address| ((VNI, address.into()), node));
    Ok(DesiredNetwork {
        version: 1,
        networks: BTreeMap::from([(VNI, network)]),
        endpoints: endpoints.into(),
        frontends: frontends.collect(),
        ..DesiredNetwork::default()
    })
}

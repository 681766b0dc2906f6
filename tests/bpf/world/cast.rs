//! Who takes part: addresses, devices and frontends that every test knows by these names.

use std::net::{Ipv4Addr, Ipv6Addr};

use orch_ebpf_common::{Be16, FrontendKey, MacAddress, Vni};

/// The network that most tests are in.
pub const VNI: Vni = Vni::new(4097);
/// Its gateway.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 10, 1);
/// The task that sends: its veth is the loopback device, which test runs come from.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 10, 7);
/// A task of the same host.
pub const LOCAL: Ipv4Addr = Ipv4Addr::new(10, 0, 10, 8);
/// A task of the other host.
pub const REMOTE: Ipv4Addr = Ipv4Addr::new(10, 0, 10, 9);
/// A service's virtual address.
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 10, 100);
/// This host.
pub const NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The other host.
pub const OTHER_NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// Somebody outside the cluster.
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 5);

/// [`GATEWAY`] of the network's IPv6 range.
pub const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 10, 0, 0, 0, 0, 0, 1);
/// The IPv6 address of the task that sends.
pub const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 10, 0, 0, 0, 0, 0, 7);
/// That of the other task of the same host.
pub const LOCAL_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 10, 0, 0, 0, 0, 0, 8);
/// That of the task of the other host.
pub const REMOTE_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 10, 0, 0, 0, 0, 0, 9);
/// That of a service.
pub const VIP_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 10, 0, 0, 0, 0, 0, 0x100);
/// That of this host.
pub const NODE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// That of somebody outside the cluster.
pub const OUTSIDE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 5);

/// Link-layer address of the client's container.
pub const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];
/// Link-layer address of the local task's container.
pub const LOCAL_MAC: [u8; 6] = [2, 0, 0, 0, 0, 8];
/// Link-layer address of the host's end of the host link.
pub const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xaa];
/// Link-layer address that all neighbours have.
pub const GATEWAY_MAC: [u8; 6] = MacAddress::GATEWAY.0;

/// The container of the client.
pub const SANDBOX: u64 = 77;

pub const LOOPBACK: u32 = 1;
pub const LOCAL_IFINDEX: u32 = 1008;

/// tc's verdict for what the next program or the stack shall have.
pub const PASS: i32 = -1;
pub const SHOT: i32 = 2;
pub const REDIRECT: i32 = 7;

/// The frontend of [`VIP`].
pub fn vip() -> FrontendKey {
    FrontendKey::vip(VNI, VIP.into())
}

/// The frontend of [`VIP_V6`].
pub fn vip_v6() -> FrontendKey {
    FrontendKey::vip(VNI, VIP_V6.into())
}

/// The frontend of a published TCP port.
pub fn published(port: u16) -> FrontendKey {
    FrontendKey::published(true, 6, Be16::new(port))
}

/// The same for clients of IPv6.
pub fn published_v6(port: u16) -> FrontendKey {
    FrontendKey::published(false, 6, Be16::new(port))
}

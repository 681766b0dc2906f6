//! Published ports as the host's own processes see them.
//!
//! A connection to `127.0.0.1:PORT` could not leave the loopback device, so the socket itself is
//! pointed at the mesh address, and told the address it asked for when it looks.

use aya_ebpf::bindings::bpf_sock_addr;
use aya_ebpf::helpers::generated::{bpf_get_netns_cookie, bpf_get_socket_cookie};
use aya_ebpf::programs::SockAddrContext;
use orch_ebpf_common::{
    Address, Be16, Be32, EndpointKey, FrontendKey, OriginalDestination, SocketKey, Vni,
};

use crate::{maps, service};

const LOOPBACK_NET: u32 = 127;
const LOOPBACK_V6: Address =
    Address::from_words([Be32::ZERO, Be32::ZERO, Be32::ZERO, Be32::new(1)]);

/// A socket call that names an address.
pub struct Socket(*mut bpf_sock_addr);

// SAFETY of the accesses below: the pointer is the context that the kernel gave the program; the
// verifier checks each field's use.
impl Socket {
    /// The call of a program's context.
    #[inline(always)]
    pub fn new(ctx: &SockAddrContext) -> Self {
        Self(ctx.sock_addr)
    }

    /// Points an IPv4 socket that names a published port of this host at the mesh.
    #[inline(always)]
    pub fn translate4(&self) {
        let address = self.address4();
        if self.is_of_this_host() && self.is_published(&address) && is_local(address) {
            self.remember(address);
            self.set_address4(Address::MESH);
        }
    }

    /// Points an IPv6 socket that names a published port of this host, by an address of either
    /// family, at the mesh.
    #[inline(always)]
    pub fn translate6(&self) {
        let address = self.address6();
        if self.is_of_this_host() && self.is_published(&address) && is_local(address) {
            self.remember(address);
            self.set_address6(Address::mesh(address.is_v4()));
        }
    }

    /// Shows an IPv4 socket the address it had named.
    #[inline(always)]
    pub fn restore4(&self) {
        if let Some(address) = self.original(self.address4()) {
            self.set_address4(address);
        }
    }

    /// Shows an IPv6 socket the address it had named.
    #[inline(always)]
    pub fn restore6(&self) {
        if let Some(address) = self.original(self.address6()) {
            self.set_address6(address);
        }
    }

    /// Whether the socket's port is published on `address`, or on all of its family.
    #[inline(always)]
    fn is_published(&self, address: &Address) -> bool {
        let Ok(config) = maps::config() else {
            return false;
        };
        let (protocol, port, is_v4) = (self.protocol(), self.port(), address.is_v4());
        let (mut key, mut at_mesh) = (FrontendKey::default(), FrontendKey::default());
        let own = FrontendKey::HAS_OWN_PORTS;
        // The mesh has one address. A port that is published on this address alone, beside another
        // service's on another, is not reached from here rather than mistaken for that.
        service::at_address(&mut key, address, own, protocol, port).is_some()
            && service::at_mesh(config, &mut at_mesh, is_v4, protocol, port).is_some()
            && key == at_mesh
    }

    /// Several hosts may share a kernel, each with its own programs at the cgroup root.
    #[inline(always)]
    fn is_of_this_host(&self) -> bool {
        let Ok(config) = maps::config() else {
            return false;
        };
        // SAFETY: see above.
        unsafe { bpf_get_netns_cookie(self.0.cast()) == config.netns_cookie }
    }

    #[inline(always)]
    fn key(&self) -> SocketKey {
        // SAFETY: see above.
        let cookie = unsafe { bpf_get_socket_cookie(self.0.cast()) };
        SocketKey {
            cookie,
            port: self.port(),
            reserved: [0; 6],
        }
    }

    #[inline(always)]
    fn remember(&self, address: Address) {
        maps::remember_destination(&self.key(), &OriginalDestination { address });
    }

    #[inline(always)]
    fn original(&self, address: Address) -> Option<Address> {
        let is_mesh = address == Address::MESH || address == Address::MESH_V6;
        if !is_mesh || !self.is_of_this_host() {
            return None;
        }
        maps::original_destination(&self.key()).map(|original| original.address)
    }

    #[inline(always)]
    fn protocol(&self) -> u8 {
        // SAFETY: see above.
        unsafe { (*self.0).protocol as u8 }
    }

    #[inline(always)]
    fn port(&self) -> Be16 {
        // SAFETY: see above. The port lies in the first two bytes, in network byte order.
        let port = unsafe { (*self.0).user_port };
        Be16::from_bytes((port as u16).to_ne_bytes())
    }

    #[inline(always)]
    fn address4(&self) -> Address {
        // SAFETY: see above.
        Address::from_v4(Be32::from_raw(unsafe { (*self.0).user_ip4 }))
    }

    #[inline(always)]
    fn address6(&self) -> Address {
        // SAFETY: see above.
        let words = unsafe { (*self.0).user_ip6 };
        Address::from_words(words.map(Be32::from_raw))
    }

    #[inline(always)]
    fn set_address4(&self, address: Address) {
        // SAFETY: see above.
        unsafe { (*self.0).user_ip4 = address.v4().raw() };
    }

    #[inline(always)]
    fn set_address6(&self, address: Address) {
        // SAFETY: see above.
        unsafe { (*self.0).user_ip6 = address.words().map(Be32::raw) };
    }
}

/// Whether an address leads to this host.
#[inline(always)]
fn is_local(address: Address) -> bool {
    if address.is_v4() && address.v4().get() >> 24 == LOOPBACK_NET {
        return true;
    }
    address == LOOPBACK_V6
        || address == Address::ANY_V4
        || address == Address::UNSPECIFIED
        || maps::local_address(&EndpointKey {
            vni: Vni::HOST,
            address,
        })
        .is_some()
}

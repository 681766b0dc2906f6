//! Addresses of one network each: which are taken, which comes next.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::control::ControlError;
use crate::ids::NetworkId;
use crate::network::Family;
use crate::objects::{Network, Task};
use crate::planted::{self, Fault};
use crate::store::State;

/// Why there is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// All addresses are taken.
    #[error("no address in network {network}: its address pool {pool} is exhausted")]
    Exhausted {
        /// The network's name.
        network: String,
        /// The ranges that addresses are taken from.
        pool: String,
    },
    /// The address asked for is not one of the network's.
    #[error("address {address} does not belong to network {network}")]
    Foreign {
        /// The network's name.
        network: String,
        /// The address asked for.
        address: IpAddr,
    },
    /// The address asked for is taken.
    #[error("Address already in use: {address} in network {network}")]
    Taken {
        /// The network's name.
        network: String,
        /// The address asked for.
        address: IpAddr,
    },
}

impl From<AddressError> for ControlError {
    fn from(error: AddressError) -> Self {
        match error {
            AddressError::Exhausted { .. } => Self::ResourceExhausted(error.to_string()),
            AddressError::Foreign { .. } => Self::InvalidArgument(error.to_string()),
            AddressError::Taken { .. } => Self::FailedPrecondition(error.to_string()),
        }
    }
}

/// The addresses that are taken: by gateways, by services, and by tasks that have not ended.
#[derive(Debug, Default)]
pub struct AddressBook {
    taken: BTreeMap<NetworkId, BTreeSet<IpAddr>>,
}

impl AddressBook {
    /// The addresses taken in `state`.
    pub fn of(state: &State) -> Self {
        let mut book = Self::default();
        for network in state.networks() {
            for subnet in &network.subnets {
                book.mark(&network.id, subnet.gateway);
            }
        }
        for vip in state.services().flat_map(|s| &s.endpoint.vips) {
            book.mark(&vip.network, vip.address.addr());
        }
        let reused = |task: &Task| planted::is(Fault::ReuseAddress) && !task.is_wanted();
        let holding = state.tasks().filter(|t| t.holds_addresses() && !reused(t));
        for task in holding {
            for attachment in &task.attachments {
                for address in &attachment.addresses {
                    book.mark(&attachment.network, address.addr());
                }
            }
        }
        book
    }

    fn mark(&mut self, network: &NetworkId, address: IpAddr) {
        self.taken
            .entry(network.clone())
            .or_default()
            .insert(address);
    }

    /// Gives an address back.
    pub fn release(&mut self, network: &NetworkId, address: IpAddr) {
        if let Some(taken) = self.taken.get_mut(network) {
            taken.remove(&address);
        }
    }

    /// Takes a certain address.
    pub fn take(&mut self, network: &Network, address: IpAddr) -> Result<IpNet, AddressError> {
        let name = || network.spec.name.clone();
        let pools = pools(network);
        let pool = pools
            .iter()
            .find(|p| p.subnet.contains(&address) && !p.is_reserved(address))
            .ok_or_else(|| AddressError::Foreign {
                network: name(),
                address,
            })?;
        if self.is_taken(&network.id, address) {
            return Err(AddressError::Taken {
                network: name(),
                address,
            });
        }
        self.mark(&network.id, address);
        Ok(pool.with_prefix(address))
    }

    /// Takes the next free address of each of the network's families.
    pub fn take_each(&mut self, network: &mut Network) -> Result<Vec<IpNet>, AddressError> {
        let mut given = Vec::new();
        for family in network.families() {
            match self.take_next(network, family) {
                Ok(address) => given.push(address),
                Err(error) => {
                    for address in given {
                        self.release(&network.id, address.addr());
                    }
                    return Err(error);
                }
            }
        }
        Ok(given)
    }

    /// Takes the next free address of a family behind the one given out last, and moves that
    /// mark.
    pub fn take_next(
        &mut self,
        network: &mut Network,
        family: Family,
    ) -> Result<IpNet, AddressError> {
        let mut pools = pools(network);
        pools.retain(|pool| Family::of(pool.subnet.addr()) == family);
        let start = last_address(network, family).and_then(|last| {
            let index = pools.iter().position(|p| p.range.contains(&last))?;
            Some((index, to_bits(last).checked_add(1)?))
        });
        let (first, offset) = start.unwrap_or((0, 0));
        // Behind the mark, the other ranges in turn, and at last the part before the mark.
        let from_mark = std::iter::once((first, offset));
        let others = (1..=pools.len()).map(|step| ((first + step) % pools.len(), 0));
        for (index, from) in from_mark.chain(others) {
            let Some(pool) = pools.get(index) else {
                continue;
            };
            let free = pool.from(from).find(|a| !self.is_taken(&network.id, *a));
            if let Some(address) = free {
                self.mark(&network.id, address);
                *last_address(network, family) = Some(address);
                return Ok(pool.with_prefix(address));
            }
        }
        let pool: Vec<_> = pools.iter().map(|p| p.range.to_string()).collect();
        Err(AddressError::Exhausted {
            network: network.spec.name.clone(),
            pool: pool.join(", "),
        })
    }

    fn is_taken(&self, network: &NetworkId, address: IpAddr) -> bool {
        self.taken
            .get(network)
            .is_some_and(|taken| taken.contains(&address))
    }
}

/// The mark of a family.
fn last_address(network: &mut Network, family: Family) -> &mut Option<IpAddr> {
    match family {
        Family::V4 => &mut network.last_address,
        Family::V6 => &mut network.last_address_v6,
    }
}

/// A subnet and the part of it that addresses are taken from.
struct Pool {
    subnet: IpNet,
    range: IpNet,
}

impl Pool {
    /// Usable addresses of the range from `from` (as bits) on, in order.
    fn from(&self, from: u128) -> impl Iterator<Item = IpAddr> {
        let first = to_bits(self.range.network()).max(from);
        let last = to_bits(self.range.broadcast());
        let v4 = matches!(self.range, IpNet::V4(_));
        (first..=last)
            .map(move |bits| from_bits(bits, v4))
            .filter(|a| !self.is_reserved(*a))
    }

    /// The subnet's own address, and IPv4's broadcast address.
    fn is_reserved(&self, address: IpAddr) -> bool {
        address == self.subnet.network()
            || (address.is_ipv4() && address == self.subnet.broadcast())
    }

    fn with_prefix(&self, address: IpAddr) -> IpNet {
        IpNet::new_assert(address, self.subnet.prefix_len())
    }
}

fn pools(network: &Network) -> Vec<Pool> {
    let range_of = |subnet: IpNet| {
        let config = network.spec.ipam.iter().find(|c| c.subnet == subnet);
        config.and_then(|c| c.range).unwrap_or(subnet)
    };
    let subnets = network.subnets.iter().map(|s| s.range);
    subnets
        .map(|subnet| Pool {
            subnet,
            range: range_of(subnet),
        })
        .collect()
}

fn to_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn from_bits(bits: u128, v4: bool) -> IpAddr {
    match u32::try_from(bits) {
        Ok(bits) if v4 => IpAddr::V4(Ipv4Addr::from_bits(bits)),
        _ => IpAddr::V6(Ipv6Addr::from_bits(bits)),
    }
}

/// The first address of a range behind the range's own: the gateway unless another is named.
pub(super) fn first_host(range: IpNet) -> IpAddr {
    from_bits(
        to_bits(range.network()).saturating_add(1),
        matches!(range, IpNet::V4(_)),
    )
}

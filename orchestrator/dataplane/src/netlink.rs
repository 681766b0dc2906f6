//! Devices, addresses and routes of the current network namespace.
//!
//! A thin layer over rtnetlink that speaks in this crate's terms. It knows nothing of what a
//! device is for; that is [`crate::devices`]' business.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _};
use ipnet::IpNet;
use rtnetlink::packet_core::ErrorMessage;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope,
};
use rtnetlink::packet_route::link::{
    InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteScope, RouteType,
};
use rtnetlink::{Handle, LinkUnspec, MulticastGroup, RouteMessageBuilder};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::Error;

/// A device of this namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    /// Number that the kernel knows it by.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whether it is set up.
    pub up: bool,
    /// Whether it is the loopback device.
    pub loopback: bool,
    /// Largest packet without the link header, in bytes.
    pub mtu: u32,
    /// Hardware address.
    pub mac: [u8; 6],
    /// Free text that an owner may leave on a device.
    pub alias: Option<String>,
    /// What makes it the device that it is.
    pub kind: DeviceKind,
}

/// Kinds of devices that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeviceKind {
    /// A VXLAN device.
    Vxlan {
        /// UDP port that it listens on.
        port: u16,
        /// Whether tunnel keys come with each packet, as BPF programs set them.
        external: bool,
    },
    /// One end of a pair.
    Veth {
        /// The other end, when it is in this namespace too.
        peer: Option<u32>,
    },
    /// Any other.
    Other,
}

/// An address on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeviceAddress {
    /// The device.
    pub device: u32,
    /// The address.
    pub address: IpAddr,
    /// Whether it is valid everywhere, not only on the link or the host.
    pub global: bool,
    /// Whether it cannot be used yet, or no longer: another host may have it (RFC 4862).
    pub tentative: bool,
    /// Whether it is one of IPv6 that goes by itself: temporary (RFC 8981) or deprecated.
    pub transient: bool,
}

/// A connection to the kernel's routing netlink.
pub(crate) struct Netlink {
    handle: Handle,
    connection: JoinHandle<()>,
}

impl Netlink {
    /// Connects for the network namespace of the calling thread.
    pub fn open() -> Result<Self, Error> {
        let (connection, handle, _) =
            rtnetlink::new_connection().map_err(Error::io("open a netlink socket"))?;
        Ok(Self {
            handle,
            connection: tokio::spawn(connection),
        })
    }

    /// All devices.
    pub async fn devices(&self) -> Result<Vec<Device>, Error> {
        self.handle
            .link()
            .get()
            .execute()
            .map_ok(|message| Device::from(&message))
            .try_collect()
            .await
            .map_err(Error::netlink("list the devices"))
    }

    /// The device called `name`, if there is one.
    pub async fn device(&self, name: &str) -> Result<Option<Device>, Error> {
        let mut answer = Box::pin(self.handle.link().get().match_name(name).execute());
        match answer.try_next().await {
            Ok(message) => Ok(message.as_ref().map(Device::from)),
            Err(error) if is_no_device(&error) => Ok(None),
            Err(source) => Err(Error::Netlink {
                action: format!("look up device {name}"),
                source,
            }),
        }
    }

    /// The device called `name`, which was just made.
    pub async fn expect_device(&self, name: &str) -> Result<Device, Error> {
        self.device(name).await?.ok_or_else(|| Error::Io {
            action: format!("find device {name}, which was there a moment ago"),
            source: std::io::ErrorKind::NotFound.into(),
        })
    }

    /// Creates a device.
    pub async fn add(&self, name: &str, message: LinkMessage) -> Result<(), Error> {
        let request = self.handle.link().add(message).execute();
        request
            .await
            .map_err(Error::netlink(format!("create device {name}")))
    }

    /// Changes the device that `message` names by its index.
    pub async fn change(&self, name: &str, message: LinkMessage) -> Result<(), Error> {
        let request = self.handle.link().change(message).execute();
        request
            .await
            .map_err(Error::netlink(format!("change device {name}")))
    }

    /// Sets a device up.
    pub async fn set_up(&self, device: &Device) -> Result<(), Error> {
        let message = LinkUnspec::new_with_index(device.index).up().build();
        self.change(&device.name, message).await
    }

    /// Deletes a device; one that is gone already is fine.
    pub async fn delete(&self, index: u32) -> Result<(), Error> {
        match self.handle.link().del(index).execute().await {
            Err(error) if !is_no_device(&error) => Err(Error::Netlink {
                action: format!("delete device {index}"),
                source: error,
            }),
            _ => Ok(()),
        }
    }

    /// Deletes the device called `name`; one that is gone already is fine.
    pub async fn delete_named(&self, name: &str) -> Result<(), Error> {
        match self.device(name).await? {
            Some(device) => self.delete(device.index).await,
            None => Ok(()),
        }
    }

    /// All addresses of all devices.
    pub async fn addresses(&self) -> Result<Vec<DeviceAddress>, Error> {
        let messages: Vec<AddressMessage> = self
            .handle
            .address()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(Error::netlink("list the addresses"))?;
        Ok(messages.iter().filter_map(device_address).collect())
    }

    /// Puts an address on a device, without a route to its range.
    pub async fn add_address(&self, device: &Device, address: IpAddr) -> Result<(), Error> {
        let mut request = self
            .handle
            .address()
            .add(device.index, address, IpNet::from(address).prefix_len())
            .replace();
        // Nobody else is on these links; and while the kernel would look for somebody, it refuses
        // routes that have the address as their source.
        request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
        let action = format!("add address {address} to device {}", device.name);
        request.execute().await.map_err(Error::netlink(action))
    }

    /// Routes `range` to what is on the link of `device`, with `source` as the host's address.
    pub async fn route(&self, range: IpNet, device: &Device, source: IpAddr) -> Result<(), Error> {
        let action = format!("route {range} to device {} from {source}", device.name);
        let route = RouteMessageBuilder::<IpAddr>::new()
            .output_interface(device.index)
            .scope(RouteScope::Link)
            .destination_prefix(range.network(), range.prefix_len())
            .and_then(|route| route.pref_source(source))
            .map_err(|error| Error::io(&action)(io::Error::other(error)))?
            .build();
        self.handle
            .route()
            .add(route)
            .replace()
            .execute()
            .await
            .map_err(Error::netlink(action))
    }
}

impl Netlink {
    /// Removes the route that leads to a device; one that is not there is fine.
    pub async fn unroute(&self, range: IpNet, device: &Device) -> Result<(), Error> {
        let action = format!("remove the route of {range} to device {}", device.name);
        let route = RouteMessageBuilder::<IpAddr>::new()
            .output_interface(device.index)
            .scope(RouteScope::Link)
            .destination_prefix(range.network(), range.prefix_len())
            .map_err(|error| Error::io(&action)(io::Error::other(error)))?
            .build();
        match self.handle.route().del(route).execute().await {
            Err(error) if is_no_route(&error) => Ok(()),
            done => done.map_err(Error::netlink(action)),
        }
    }
}

/// A range of addresses and the device that leads there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    /// The range.
    pub range: IpNet,
    /// Name of the device.
    pub device: String,
    /// The address that packets to there have by default.
    pub source: Option<IpAddr>,
}

impl Netlink {
    /// The routes of the main table, of both families, as far as they lead to a device.
    pub async fn routes(&self) -> Result<Vec<Route>, Error> {
        let devices = self.devices().await?;
        let device = |index| devices.iter().find(|device| device.index == index);
        let mut routes = Vec::new();
        for question in [
            RouteMessageBuilder::<Ipv4Addr>::new().build(),
            RouteMessageBuilder::<Ipv6Addr>::new().build(),
        ] {
            let answer = self.handle.route().get(question).execute();
            let messages: Vec<RouteMessage> = answer
                .try_collect()
                .await
                .map_err(Error::netlink("list the routes"))?;
            routes.extend(messages.iter().filter_map(|message| {
                let (range, index) = range_and_device(message)?;
                Some(Route {
                    range,
                    device: device(index)?.name.clone(),
                    source: preferred_source(message),
                })
            }));
        }
        Ok(routes)
    }
}

fn range_and_device(message: &RouteMessage) -> Option<(IpNet, u32)> {
    let header = &message.header;
    if header.table != RouteHeader::RT_TABLE_MAIN || header.kind != RouteType::Unicast {
        return None;
    }
    let (mut address, mut device) = (None, None);
    for attribute in &message.attributes {
        if let RouteAttribute::Destination(RouteAddress::Inet(v4)) = attribute {
            address = Some(IpAddr::from(*v4));
        } else if let RouteAttribute::Destination(RouteAddress::Inet6(v6)) = attribute {
            address = Some(IpAddr::from(*v6));
        } else if let RouteAttribute::Oif(index) = attribute {
            device = Some(*index);
        }
    }
    let range = IpNet::new(address?, header.destination_prefix_length).ok()?;
    Some((range, device?))
}

fn preferred_source(message: &RouteMessage) -> Option<IpAddr> {
    message.attributes.iter().find_map(|attribute| {
        let RouteAttribute::PrefSource(address) = attribute else {
            return None;
        };
        match address {
            RouteAddress::Inet(v4) => Some(IpAddr::from(*v4)),
            RouteAddress::Inet6(v6) => Some(IpAddr::from(*v6)),
            RouteAddress::Mpls(_) | RouteAddress::Other(_) | _ => None,
        }
    })
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Tells that devices or addresses of the namespace changed.
pub(crate) struct Changes {
    notify: Arc<Notify>,
    tasks: [JoinHandle<()>; 2],
}

impl Changes {
    /// Subscribes in the network namespace of the calling thread.
    pub fn subscribe() -> Result<Self, Error> {
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
        ];
        let (connection, handle, mut messages) = rtnetlink::new_multicast_connection(&groups)
            .map_err(Error::io("subscribe to changes of devices"))?;
        let notify = Arc::new(Notify::new());
        let told = Arc::clone(&notify);
        // Any number of events between two looks is one notice: nothing queues up.
        let listen = async move {
            // The connection ends when its last handle goes.
            let _handle = handle;
            while messages.next().await.is_some() {
                told.notify_one();
            }
        };
        Ok(Self {
            notify,
            tasks: [tokio::spawn(connection), tokio::spawn(listen)],
        })
    }

    /// Waits for the next change. Safe to cancel.
    pub async fn next(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl From<&LinkMessage> for Device {
    fn from(message: &LinkMessage) -> Self {
        let mut device = Self {
            index: message.header.index,
            name: String::new(),
            up: message.header.flags.contains(LinkFlags::Up),
            loopback: message.header.flags.contains(LinkFlags::Loopback),
            mtu: 0,
            mac: [0; 6],
            alias: None,
            kind: DeviceKind::Other,
        };
        let mut link = None;
        let mut foreign = false;
        let mut info: &[LinkInfo] = &[];
        for attribute in &message.attributes {
            if let LinkAttribute::IfName(name) = attribute {
                device.name.clone_from(name);
            } else if let LinkAttribute::Mtu(mtu) = attribute {
                device.mtu = *mtu;
            } else if let LinkAttribute::Address(mac) = attribute {
                device.mac = mac.as_slice().try_into().unwrap_or_default();
            } else if let LinkAttribute::IfAlias(alias) = attribute {
                device.alias = Some(alias.clone());
            } else if let LinkAttribute::Link(index) = attribute {
                link = Some(*index);
            } else if let LinkAttribute::LinkNetNsId(_) = attribute {
                foreign = true;
            } else if let LinkAttribute::LinkInfo(infos) = attribute {
                info = infos;
            }
        }
        device.kind = kind(info, link.filter(|_| !foreign));
        device
    }
}

fn kind(info: &[LinkInfo], peer: Option<u32>) -> DeviceKind {
    for info in info {
        if let LinkInfo::Data(InfoData::Vxlan(settings)) = info {
            return vxlan(settings);
        }
        if let LinkInfo::Kind(InfoKind::Veth) = info {
            return DeviceKind::Veth { peer };
        }
    }
    DeviceKind::Other
}

fn vxlan(settings: &[InfoVxlan]) -> DeviceKind {
    let (mut port, mut external) = (0, false);
    for setting in settings {
        if let InfoVxlan::Port(value) = setting {
            port = *value;
        } else if let InfoVxlan::CollectMetadata(value) = setting {
            external = *value;
        }
    }
    DeviceKind::Vxlan { port, external }
}

fn device_address(message: &AddressMessage) -> Option<DeviceAddress> {
    let (mut local, mut remote) = (None, None);
    for attribute in &message.attributes {
        if let AddressAttribute::Local(address) = attribute {
            local = Some(*address);
        } else if let AddressAttribute::Address(address) = attribute {
            remote = Some(*address);
        }
    }
    // Where both are there, on a point-to-point link, the local one is this host's.
    let address = local.or(remote)?;
    let has = |flag| message.header.flags.contains(flag);
    // The kernel has one flag for IPv6's temporary addresses and for IPv4's secondary ones.
    let goes = has(AddressHeaderFlags::Secondary) || has(AddressHeaderFlags::Deprecated);
    Some(DeviceAddress {
        device: message.header.index,
        address,
        global: message.header.scope == AddressScope::Universe,
        tentative: has(AddressHeaderFlags::Tentative) || has(AddressHeaderFlags::Dadfailed),
        transient: address.is_ipv6() && goes,
    })
}

/// Whether the kernel said that there is no such route.
fn is_no_route(error: &rtnetlink::Error) -> bool {
    matches!(error, rtnetlink::Error::NetlinkError(ErrorMessage { code: Some(code), .. })
        if code.get() == -libc::ESRCH)
}

/// Whether the kernel said that there is no such device.
fn is_no_device(error: &rtnetlink::Error) -> bool {
    matches!(error, rtnetlink::Error::NetlinkError(ErrorMessage { code: Some(code), .. })
        if code.get() == -libc::ENODEV)
}

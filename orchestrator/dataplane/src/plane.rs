//! The data plane of one host, as its one owner drives it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use orch_core::network::DesiredNetwork;
use orch_ebpf_common::{Config as HostConfig, DropReason, MacAddress, ServiceCounters};
use tokio::sync::watch;

use crate::attachment::Attachment;
use crate::config::Config;
use crate::devices::{self, HostDevices};
use crate::diff::{diff, repairs};
use crate::events::FlowEvents;
use crate::flows::FlowTables;
use crate::inspect::Inspection;
use crate::links::Links;
use crate::maps::Maps;
use crate::netlink::{Changes, Device, Netlink};
use crate::outside::{self, Outside};
use crate::pins::Pins;
use crate::probe::Prober;
use crate::programs::{DeviceProgram, Programs, SOCKET_PROGRAMS};
use crate::services::{Names, ServiceNumbers};
use crate::tables::Tables;
use crate::wanted::{Host, Wanted};
use crate::{Error, kernel, migrate, trace};

/// The data plane of the network namespace in which it was opened.
///
/// Dropping it leaves everything running in the kernel; [`DataPlane::open`] takes it over again
/// without losing a packet, and [`DataPlane::teardown`] removes it. All calls must come from
/// threads in that namespace.
pub struct DataPlane {
    node: IpAddr,
    vxlan_port: u16,
    pins: Pins,
    bpf_dir: PathBuf,
    netlink: Netlink,
    changes: Changes,
    programs: Programs,
    maps: Maps,
    host: HostDevices,
    /// What the maps hold.
    held: Tables,
    /// What was applied last; `None` until the first time after a start.
    desired: Option<DesiredNetwork>,
    outside: Outside,
    attachments: BTreeMap<u32, Attachment>,
    services: ServiceNumbers,
    /// Names of the services, for those who read flows and events.
    names: watch::Sender<Names>,
    /// Whether the programs tell of single conversations.
    tells: bool,
    /// Whether our programs are in charge, or still those of an earlier daemon.
    in_charge: bool,
}

impl DataPlane {
    /// Brings the host's part up, and takes over what an earlier daemon left: maps with their
    /// content and flows, attached programs, the endpoints of running containers.
    ///
    /// # Errors
    ///
    /// When the host lacks something that [`crate::doctor`] checks, or the node's address is not
    /// an address of this host.
    pub async fn open(config: Config) -> Result<Self, Error> {
        let node = config.node_address;
        let pins = Pins::open(&config.bpf_dir)?;
        let netlink = Netlink::open()?;
        let changes = Changes::subscribe()?;
        let host = devices::bring_up(&netlink, node, config.vxlan_port).await?;
        let mut programs = Programs::load(&pins, &config.table_sizes)?;
        let maps = Maps::open(programs.ebpf())?;
        let held = maps.read()?;
        let mut plane = Self {
            node,
            vxlan_port: config.vxlan_port,
            pins,
            bpf_dir: config.bpf_dir,
            outside: outside::look(&netlink, node).await?,
            attachments: devices::attachments(&netlink).await?,
            netlink,
            changes,
            programs,
            maps,
            host,
            held,
            desired: None,
            services: ServiceNumbers::default(),
            names: watch::Sender::default(),
            tells: false,
            in_charge: false,
        };
        // If an earlier daemon's maps could not be taken over, its programs go on with them
        // until the first `apply` has filled ours.
        let ours = plane.held != Tables::default() && plane.pins.other_maps()?.is_empty();
        let wait = !ours && !plane.pins.all_link_names()?.is_empty();
        plane.show_sources(&plane.outside.clone()).await?;
        plane.sync()?;
        if !wait {
            plane.take_charge().await?;
        }
        Ok(plane)
    }

    /// Makes the maps hold exactly `desired` and what is attached here, by differences.
    ///
    /// # Errors
    ///
    /// When a map refuses a change, for instance because it is full. What was changed until then
    /// stays; the next call goes on from there.
    pub async fn apply(&mut self, desired: &DesiredNetwork) -> Result<(), Error> {
        self.desired = Some(desired.clone());
        self.refresh().await
    }

    /// Waits until devices or addresses of the host changed; then call [`Self::refresh`].
    /// Safe to cancel.
    pub async fn changed(&self) {
        self.changes.next().await;
    }

    /// Looks at the host's devices and addresses again, and follows their changes.
    ///
    /// # Errors
    ///
    /// When the kernel refuses a look or a change.
    pub async fn refresh(&mut self) -> Result<(), Error> {
        let outside = outside::look(&self.netlink, self.node).await?;
        if outside.sources() != self.outside.sources() {
            self.show_sources(&outside).await?;
        }
        self.outside = outside;
        self.route_networks().await?;
        // A container's namespace takes its devices with it, with or without a detach; what is
        // attached here must not hide that its address is another host's by now.
        let present = &self.outside.attached;
        self.attachments.retain(|index, _| present.contains(index));
        self.sync()?;
        if !self.in_charge {
            return match self.desired {
                Some(_) => self.take_charge().await,
                None => Ok(()),
            };
        }
        // Attaching what is attached already changes nothing.
        for device in self.outside.uplinks.values() {
            self.programs.attach_device(DeviceProgram::Uplink, device)?;
        }
        self.sweep_links()
    }

    /// Creates the veth pair for a container's endpoint, with the programs attached, and returns
    /// the name of the end that the engine moves into the container.
    ///
    /// Attaching the same endpoint again, while its pair is whole, changes nothing.
    ///
    /// # Errors
    ///
    /// When an id is not usable, or the kernel refuses a step; then nothing is left behind.
    pub async fn attach(&mut self, attachment: Attachment) -> Result<String, Error> {
        attachment.validate()?;
        let container_device = attachment.container_device();
        if self.attachments.values().any(|known| *known == attachment)
            && self.netlink.device(&container_device).await?.is_some()
        {
            return Ok(container_device);
        }
        self.detach(&attachment.endpoint_id).await?;
        let mtu = self.host.task_mtu;
        let device = devices::add_pair(&self.netlink, &attachment, mtu).await?;
        let endpoint = attachment.endpoint_id.clone();
        self.attachments.insert(device.index, attachment);
        if let Err(error) = self.start(&device).await {
            if let Err(cleanup) = self.detach(&endpoint).await {
                tracing::warn!(%cleanup, endpoint, "cannot remove an endpoint that failed");
            }
            return Err(error);
        }
        Ok(container_device)
    }

    /// Lets the packets of a new attachment through: last of all its device comes up.
    async fn start(&mut self, device: &Device) -> Result<(), Error> {
        self.sync()?;
        self.programs.attach_device(DeviceProgram::Task, device)?;
        self.netlink.set_up(device).await
    }

    /// Removes an endpoint's veth pair and all traces of it; one that is not there is fine.
    ///
    /// # Errors
    ///
    /// When the kernel refuses a step; calling it again goes on from there.
    pub async fn detach(&mut self, endpoint_id: &str) -> Result<(), Error> {
        let mut known = self.attachments.iter();
        let found = known.find(|(_, known)| known.endpoint_id == endpoint_id);
        let Some((index, attachment)) = found.map(|(index, known)| (*index, known.clone())) else {
            return Ok(());
        };
        self.attachments.remove(&index);
        let removed = self.remove_device(index).await;
        if removed.is_err() {
            self.attachments.insert(index, attachment);
        }
        removed
    }

    /// Takes a device out of the maps, and then its program and itself away.
    async fn remove_device(&mut self, index: u32) -> Result<(), Error> {
        self.sync()?;
        let pin = DeviceProgram::Task.pin(index);
        self.programs.links().detach(&pin)?;
        self.netlink.delete(index).await
    }

    /// The endpoints that are attached now, also those that an earlier daemon attached.
    pub fn attachments(&self) -> impl Iterator<Item = &Attachment> {
        self.attachments.values()
    }

    /// Reads all maps back, and finds what was changed behind the daemon's back; with `heal`, also
    /// puts it right.
    ///
    /// # Errors
    ///
    /// When a map cannot be read, or refuses a change: then what was put right until then stays.
    pub fn inspect(&mut self, heal: bool) -> Result<Inspection, Error> {
        let found = self.maps.read()?;
        let repairs = repairs(&found, &self.held);
        let mut inspection = Inspection::new(&found, &self.held, &repairs);
        let config = self.host_config(&self.outside)?;
        inspection.add_config(&self.maps.config()?, &config);
        if heal && !inspection.differences.is_empty() {
            for repair in &repairs {
                self.maps.change(repair)?;
            }
            self.maps.configure(&config)?;
        }
        Ok(inspection)
    }

    /// Who asks the other hosts of the desired state whether the tunnels to them work.
    pub fn prober(&self) -> Prober {
        let peers = self.desired.as_ref().map(|desired| &desired.peers);
        Prober {
            node: self.node,
            peers: peers.into_iter().flatten().copied().collect(),
            link: self.host.host_link.index,
            mtu: self.host.task_mtu as usize,
        }
    }

    /// UDP port of the tunnels.
    pub fn vxlan_port(&self) -> u16 {
        self.vxlan_port
    }

    /// This host as [`trace::trace`] sees it, by its address for tunnels.
    pub fn traced(&self) -> (IpAddr, trace::Host) {
        let attached = self.attachments.values().flat_map(|attached| {
            let addresses = attached.addresses();
            addresses.map(|address| (attached.vni, address))
        });
        let host = trace::Host {
            desired: self.desired.clone().unwrap_or_default(),
            addresses: self.outside.addresses.clone(),
            attached: Some(attached.collect()),
        };
        (self.node, host)
    }

    /// How many packets were dropped, per reason.
    ///
    /// # Errors
    ///
    /// When the counters cannot be read.
    pub fn drops(&self) -> Result<BTreeMap<DropReason, u64>, Error> {
        self.maps.drops()
    }

    /// What went through each service that has a virtual address or a published port, since its
    /// first one was made here.
    ///
    /// # Errors
    ///
    /// When the counters cannot be read.
    pub fn service_counters(&self) -> Result<BTreeMap<String, ServiceCounters>, Error> {
        let names = self.services.names().into_iter();
        names
            .map(|(number, name)| Ok((name, self.maps.service(number)?)))
            .collect()
    }

    /// A view of the conversations, which outlives this value and can be read on another thread.
    ///
    /// # Errors
    ///
    /// When the tables cannot be opened.
    pub fn flow_tables(&self) -> Result<FlowTables, Error> {
        FlowTables::open(&self.pins.maps(), self.names.subscribe())
    }

    /// The events of conversations from now on, for the only reader there may be. They come while
    /// [`Self::tell_events`] says so.
    ///
    /// # Errors
    ///
    /// When the ring cannot be opened.
    pub fn flow_events(&self) -> Result<FlowEvents, Error> {
        FlowEvents::open(&self.pins.maps(), self.names.subscribe())
    }

    /// Lets the programs tell of conversations that begin, are refused or dropped, or no more.
    /// Telling costs each of them about a microsecond; a start of the daemon ends it.
    ///
    /// # Errors
    ///
    /// When the programs cannot be told.
    pub fn tell_events(&mut self, tells: bool) -> Result<(), Error> {
        self.tells = tells;
        self.maps.configure(&self.host_config(&self.outside)?)
    }

    /// Removes every device, link, pin and map of this host.
    ///
    /// # Errors
    ///
    /// When the kernel refuses a step; [`Self::sweep`] goes on from there.
    pub async fn teardown(self) -> Result<(), Error> {
        let bpf_dir = self.bpf_dir.clone();
        drop(self);
        Self::sweep(&bpf_dir).await
    }

    /// Removes whatever a daemon left under `bpf_dir`, and its devices in this namespace.
    ///
    /// # Errors
    ///
    /// When the kernel refuses a step; calling it again goes on from there.
    pub async fn sweep(bpf_dir: &Path) -> Result<(), Error> {
        // Links first: without its programs a device carries nothing, while a program without
        // its maps' content would drop what it should pass.
        Links::remove_all(bpf_dir)?;
        devices::remove_all(&Netlink::open()?).await
    }

    /// Makes the maps hold what they must, as far as it is known.
    fn sync(&mut self) -> Result<(), Error> {
        let nothing = DesiredNetwork::default();
        let host = Host {
            node: self.node,
            addresses: &self.outside.addresses,
            attachments: &self.attachments,
        };
        let desired = self.desired.as_ref().unwrap_or(&nothing);
        for number in self.services.follow(desired, &self.held.frontends) {
            self.maps.reset_service(number)?;
        }
        self.names.send_replace(self.services.names());
        let wanted = Wanted::new(desired, &host, &self.services);
        for operation in diff(&self.held, &wanted) {
            // Until the desired state is known, what an earlier daemon wrote of it stays.
            if self.desired.is_none() && operation.is_delete() && !operation.is_local() {
                continue;
            }
            self.maps.change(&operation)?;
            self.held.record(&operation);
        }
        Ok(())
    }

    /// Tells the programs and the host's routes under which addresses the outside knows this host.
    async fn show_sources(&mut self, outside: &Outside) -> Result<(), Error> {
        devices::route_host_link(&self.netlink, &self.host.host_link, outside).await?;
        self.maps.configure(&self.host_config(outside)?)
    }

    /// Lets the host reach the networks, once they are known.
    async fn route_networks(&self) -> Result<(), Error> {
        let Some(desired) = &self.desired else {
            return Ok(());
        };
        let ranges = desired.networks.values().flat_map(|network| {
            let subnets = network.subnets.iter();
            subnets.map(|subnet| subnet.range)
        });
        let (netlink, link) = (&self.netlink, &self.host.host_link);
        devices::route_networks(netlink, link, &self.outside, &ranges.collect()).await
    }

    fn host_config(&self, outside: &Outside) -> Result<HostConfig, Error> {
        let known = |address: Option<IpAddr>| address.map(Into::into).unwrap_or_default();
        Ok(HostConfig {
            netns_cookie: kernel::netns_cookie()
                .map_err(Error::io("read the cookie of the network namespace"))?,
            node: self.node.into(),
            outside_v4: known(outside.source_v4),
            outside_v6: known(outside.source_v6),
            vxlan_ifindex: self.host.tunnel.index,
            host_ifindex: self.host.host_link.index,
            uplink_ifindex: self.host.underlay.index,
            flags: if self.tells { HostConfig::EVENTS } else { 0 },
            overlay_mtu: self.host.task_mtu,
            host_mac: MacAddress(self.host.host_link.mac),
            ..HostConfig::default()
        })
    }

    /// Puts our programs in the place of an earlier daemon's, and removes what it left.
    async fn take_charge(&mut self) -> Result<(), Error> {
        self.carry_conversations()?;
        self.attach_programs().await?;
        // Those that began meanwhile, where an earlier daemon's programs were still attached.
        self.carry_conversations()?;
        self.sweep_links()?;
        self.pins.remove_other_layouts()?;
        self.in_charge = true;
        Ok(())
    }

    fn carry_conversations(&self) -> Result<(), Error> {
        for maps in self.pins.other_maps()? {
            let entries = migrate::carry(&maps, &self.pins.maps())?;
            tracing::info!(from = %maps.display(), entries, "carried conversations over");
        }
        Ok(())
    }

    /// Attaches all programs of the host and of the containers that are there already.
    async fn attach_programs(&mut self) -> Result<(), Error> {
        let programs = &mut self.programs;
        programs.attach_device(DeviceProgram::Host, &self.host.host_link_peer)?;
        programs.attach_device(DeviceProgram::Overlay, &self.host.tunnel)?;
        for device in self.outside.uplinks.values() {
            programs.attach_device(DeviceProgram::Uplink, device)?;
        }
        let devices: BTreeMap<u32, Device> = self
            .netlink
            .devices()
            .await?
            .into_iter()
            .map(|device| (device.index, device))
            .collect();
        for device in self
            .attachments
            .keys()
            .filter_map(|index| devices.get(index))
        {
            programs.attach_device(DeviceProgram::Task, device)?;
            if !device.up {
                self.netlink.set_up(device).await?;
            }
        }
        programs.attach_sockets()
    }

    /// Detaches what nothing needs any more.
    fn sweep_links(&self) -> Result<(), Error> {
        let mut used = BTreeSet::from([
            DeviceProgram::Host.pin(self.host.host_link_peer.index),
            DeviceProgram::Overlay.pin(self.host.tunnel.index),
        ]);
        let outside = self.outside.uplinks.keys();
        used.extend(outside.map(|index| DeviceProgram::Uplink.pin(*index)));
        let tasks = self.attachments.keys();
        used.extend(tasks.map(|index| DeviceProgram::Task.pin(*index)));
        used.extend(SOCKET_PROGRAMS.map(str::to_owned));
        self.programs.links().retain(&used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FlowEvents, FlowTables};

    /// Readers may be moved to another thread: this need only compile.
    #[test]
    fn readers_may_work_on_any_thread() {
        fn sendable<T: Send + 'static>() {}
        sendable::<FlowTables>();
        sendable::<FlowEvents>();
    }

    /// A daemon's owner task may run on any thread: this need only compile.
    #[test]
    fn the_calls_may_be_awaited_on_any_thread() {
        fn sendable<T: Send>(_: impl FnOnce(&'static mut DataPlane) -> T) {}
        static NOTHING: std::sync::LazyLock<DesiredNetwork> =
            std::sync::LazyLock::new(Default::default);
        sendable(|plane| plane.apply(&NOTHING));
        sendable(|plane| plane.changed());
        sendable(|plane| plane.detach("0123456789a"));
        sendable(|plane| plane.attach(Attachment::from_alias("").unwrap()));
    }
}

//! Hosts, containers and an outside client, each a network namespace on one switch.
//!
//! Every lab has namespaces and a BPF file system of its own, named `orchdp-<number>…`, and takes
//! them away when it is dropped. What a killed run left is swept before the first lab is made.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread::{self, JoinHandle};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns};
use orch_core::network::Vni;
use orch_dataplane::{Attachment, Config, DataPlane, TableSizes};
use tokio::runtime::{Builder, Runtime};

/// The network that tests use.
pub const VNI: Vni = Vni(4096);
/// The second network, of which some containers are too.
pub const SECOND_VNI: Vni = Vni(4097);
/// A network with the ranges of the first one.
pub const TWIN_VNI: Vni = Vni(4098);
/// What all names of namespaces begin with.
const PREFIX: &str = "orchdp-";
/// Where namespaces have their files.
const NETNS_DIR: &str = "/run/netns";
/// UDP port of the tunnels.
pub const VXLAN_PORT: u16 = 4790;

/// Names the namespaces and containers of one process apart.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A switch with hosts and one client on it.
pub struct Lab {
    /// The hosts; the first one is `hosts[0]` with the lowest address.
    pub hosts: Vec<Host>,
    /// A namespace that is outside the cluster.
    pub client: Namespace,
    _switch: Namespace,
    _bpf: BpfFs,
}

impl Lab {
    /// Makes a lab whose hosts all have an open data plane.
    pub fn new(hosts: u8) -> Self {
        Self::with_mtu(hosts, 1500)
    }

    /// The same with links of another MTU, in bytes.
    pub fn with_mtu(hosts: u8, mtu: u32) -> Self {
        Self::with_nodes(hosts, &[underlay, underlay_v6], mtu)
    }

    /// The same with hosts that have IPv6 only, tunnels included.
    pub fn over_ipv6(hosts: u8) -> Self {
        Self::with_nodes(hosts, &[underlay_v6], 1500)
    }

    /// The first kind of address is that of the nodes.
    fn with_nodes(hosts: u8, kinds: &[fn(u8) -> IpAddr], mtu: u32) -> Self {
        prepare();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let bpf = BpfFs::mount(number);
        let switch = Namespace::new(format!("{PREFIX}{number}-switch"));
        switch.ip("link add br0 type bridge");
        switch.ip("link set br0 up");
        let plug = |name: &str, last: u8, kinds: &[fn(u8) -> IpAddr]| {
            let namespace = Namespace::new(format!("{PREFIX}{number}-{name}"));
            switch.ip(&format!(
                "link add {name} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {}",
                namespace.name()
            ));
            switch.ip(&format!("link set {name} master br0 up"));
            for kind in kinds {
                namespace.add_address(kind(last), "eth0");
            }
            namespace.ip("link set eth0 up");
            namespace
        };
        let client = plug("client", 100, &[underlay, underlay_v6]);
        let hosts: Vec<Host> = (1..=hosts)
            .map(|last| {
                let namespace = plug(&format!("h{last}"), last, kinds);
                Host::new(namespace, last, kinds[0](last), &bpf)
            })
            .collect();
        Self {
            hosts,
            client,
            _switch: switch,
            _bpf: bpf,
        }
    }
}

/// Address of a host, or of the client (100), outside any overlay.
pub fn underlay(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 231, 0, last).into()
}

/// The same of IPv6.
pub fn underlay_v6(last: u8) -> IpAddr {
    Ipv6Addr::new(0xfd00, 0x231, 0, 0, 0, 0, 0, last.into()).into()
}

/// Address of a task, of a VIP or of the gateway (1) in the overlay.
pub fn overlay(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 10, last).into()
}

/// The same of IPv6.
pub fn overlay_v6(last: u8) -> IpAddr {
    Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0, last.into()).into()
}

/// Address of a task or of the gateway (1) in the second network.
pub fn second(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 11, last).into()
}

/// A host: its namespace, and the thread in it that owns its data plane.
pub struct Host {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its underlay address.
    pub address: IpAddr,
    /// Where its pins are.
    pub bpf_dir: PathBuf,
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

type Job = Box<dyn FnOnce(&Runtime, &mut Option<DataPlane>) + Send>;

impl Host {
    fn new(namespace: Namespace, last: u8, address: IpAddr, bpf: &BpfFs) -> Self {
        let (jobs, queue) = mpsc::channel::<Job>();
        let enter = namespace.clone();
        let thread = thread::spawn(move || {
            enter.enter();
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            let mut plane = None;
            for job in queue {
                job(&runtime, &mut plane);
            }
        });
        let host = Self {
            namespace,
            address,
            bpf_dir: bpf.path.join(format!("h{last}")),
            jobs: Some(jobs),
            thread: Some(thread),
        };
        host.open();
        host
    }

    /// Runs `work` with the data plane in the host's thread.
    pub fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Runtime, &mut Option<DataPlane>) -> R + Send + 'static,
    ) -> R {
        let (result, answer) = mpsc::channel();
        let job: Job = Box::new(move |runtime, plane| {
            result.send(work(runtime, plane)).unwrap();
        });
        self.jobs.as_ref().unwrap().send(job).unwrap();
        answer
            .recv()
            .expect("the host's thread died; its panic is above")
    }

    /// Opens the data plane, as a daemon does when it starts.
    pub fn open(&self) {
        self.open_with(TableSizes::default());
    }

    /// Opens the data plane with tables of other sizes.
    pub fn open_with(&self, table_sizes: TableSizes) {
        let config = Config {
            node_address: self.address,
            vxlan_port: VXLAN_PORT,
            bpf_dir: self.bpf_dir.clone(),
            table_sizes,
        };
        self.run(move |runtime, plane| {
            *plane = Some(runtime.block_on(DataPlane::open(config)).unwrap());
        });
    }

    /// Drops the data plane, as when a daemon dies.
    pub fn die(&self) {
        self.run(|_, plane| drop(plane.take().unwrap()));
    }

    /// Applies a desired state.
    pub fn apply(&self, desired: &orch_core::network::DesiredNetwork) {
        let desired = desired.clone();
        self.run(move |runtime, plane| {
            runtime
                .block_on(plane.as_mut().unwrap().apply(&desired))
                .unwrap();
        });
    }

    /// Looks at the host's devices and addresses again, as a daemon does when they change.
    pub fn refresh(&self) {
        self.run(|runtime, plane| runtime.block_on(plane.as_mut().unwrap().refresh()))
            .unwrap();
    }

    /// Starts a container with an endpoint on the overlay.
    pub fn container(&self, last: u8) -> Container {
        self.container_on(VNI, last)
    }

    /// Starts a container with an endpoint on a network with the overlay's ranges.
    pub fn container_on(&self, vni: Vni, last: u8) -> Container {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let namespace = Namespace::new(format!("{PREFIX}{number}-c{last}"));
        let sandbox = format!("sandbox-{number}");
        let (address, address_v6) = (overlay(last), overlay_v6(last));
        let attachment = self.attach(&namespace, sandbox, vni, &[address, address_v6], "eth0");
        for gateway in [overlay(1), overlay_v6(1)] {
            namespace.ip(&format!("route add default via {gateway}"));
        }
        Container {
            namespace,
            address,
            address_v6,
            attachment,
        }
    }

    /// Puts a container on the second network, too; its way out stays with the first.
    pub fn connect(&self, container: &Container, last: u8) -> IpAddr {
        let sandbox = container.attachment.sandbox_id.clone();
        let address = second(last);
        self.attach(
            &container.namespace,
            sandbox,
            SECOND_VNI,
            &[address],
            "eth1",
        );
        address
    }

    /// Makes an endpoint and moves its device into `namespace` as `name`.
    fn attach(
        &self,
        namespace: &Namespace,
        sandbox_id: String,
        vni: Vni,
        addresses: &[IpAddr],
        name: &str,
    ) -> Attachment {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let attachment = Attachment {
            endpoint_id: format!("{number:011x}").repeat(5),
            sandbox_id,
            vni,
            v4: addresses.iter().find_map(|ip| ip.to_string().parse().ok()),
            v6: addresses.iter().find_map(|ip| ip.to_string().parse().ok()),
            mac: Attachment::mac_address(addresses[0]),
        };
        let wanted = attachment.clone();
        let device = self.run(move |runtime, plane| {
            runtime
                .block_on(plane.as_mut().unwrap().attach(wanted))
                .unwrap()
        });
        let target = namespace.name();
        self.namespace
            .ip(&format!("link set {device} netns {target} name {name}"));
        for address in addresses {
            namespace.add_address(*address, name);
        }
        namespace.ip(&format!("link set {name} up"));
        attachment
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // Its panic was reported already.
            thread.join().unwrap_or_default();
        }
    }
}

/// A container, as far as its network goes.
pub struct Container {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its IPv4 address in the overlay.
    pub address: IpAddr,
    /// Its IPv6 address there.
    pub address_v6: IpAddr,
    /// Its endpoint.
    pub attachment: Attachment,
}

/// A network namespace, removed with its last copy.
#[derive(Clone)]
pub struct Namespace(Arc<NamespaceFile>);

struct NamespaceFile(String);

impl Namespace {
    fn new(name: String) -> Self {
        shell(&["ip", "netns", "add", &name]);
        let namespace = Self(Arc::new(NamespaceFile(name)));
        namespace.ip("link set lo up");
        namespace
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.0
    }

    /// Runs `ip` with these arguments in it; returns what it prints.
    pub fn ip(&self, arguments: &str) -> String {
        let mut command = vec!["ip", "-n", self.name()];
        command.extend(arguments.split(' '));
        shell(&command)
    }

    /// Puts an address on a device, in a range of the usual size. As engines do, it does not wait
    /// for somebody to say that the address is taken.
    fn add_address(&self, address: IpAddr, device: &str) {
        let words = match address {
            IpAddr::V4(_) => format!("addr add {address}/24 dev {device}"),
            IpAddr::V6(_) => format!("addr add {address}/64 dev {device} nodad"),
        };
        self.ip(&words);
    }

    /// Sends echo requests from it. `arguments` are those of `ping`.
    pub fn ping(&self, arguments: &str) -> Ping {
        let file = format!("--net={NETNS_DIR}/{}", self.name());
        let mut command = Command::new("nsenter");
        command.arg(file).arg("ping").args(arguments.split(' '));
        let Output { status, stdout, .. } = command.output().unwrap();
        Ping {
            answered: status.success(),
            text: String::from_utf8(stdout).unwrap(),
        }
    }

    /// Runs `work` on a thread inside. Sockets made there stay there.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                self.enter();
                work()
            });
            inside.join().unwrap()
        })
    }

    /// Moves the calling thread into it.
    pub fn enter(&self) {
        let file = File::open(format!("{NETNS_DIR}/{}", self.name())).unwrap();
        setns(file, CloneFlags::CLONE_NEWNET).unwrap();
    }
}

impl Drop for NamespaceFile {
    fn drop(&mut self) {
        remove_namespace(&self.0);
    }
}

/// What `ping` found.
#[derive(Debug)]
pub struct Ping {
    /// Whether at least one echo came back.
    pub answered: bool,
    /// What it printed.
    pub text: String,
}

/// A BPF file system of a lab's own, so that pins go when it goes.
struct BpfFs {
    path: PathBuf,
}

impl BpfFs {
    fn mount(number: u32) -> Self {
        let path = PathBuf::from(format!("/run/{PREFIX}{number}"));
        fs::create_dir_all(&path).unwrap();
        mount(
            Some("bpf"),
            &path,
            Some("bpf"),
            MsFlags::empty(),
            None::<&str>,
        )
        .unwrap();
        Self { path }
    }
}

impl Drop for BpfFs {
    fn drop(&mut self) {
        unmount(&self.path);
    }
}

/// Waits until no other process has a lab, and sweeps what a killed one left; once a process.
fn prepare() {
    static LOCK: OnceLock<File> = OnceLock::new();
    LOCK.get_or_init(|| {
        assert!(
            nix::unistd::geteuid().is_root(),
            "these tests make namespaces: run them as root"
        );
        let lock = File::create("/run/orchdp.lock").unwrap();
        lock.lock().unwrap();
        for name in names_in(NETNS_DIR) {
            remove_namespace(&name);
        }
        for name in names_in("/run") {
            unmount(&PathBuf::from("/run").join(name));
        }
        lock
    });
}

fn names_in(dir: &str) -> Vec<String> {
    match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        entries => entries
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap_or_default())
            .filter(|name| name.starts_with(PREFIX))
            .collect(),
    }
}

fn remove_namespace(name: &str) {
    let done = Command::new("ip").args(["netns", "del", name]).status();
    assert!(
        done.is_ok_and(|status| status.success()) || thread::panicking(),
        "{name} stays"
    );
}

fn unmount(path: &PathBuf) {
    let done = umount2(path, MntFlags::MNT_DETACH).is_ok() && fs::remove_dir(path).is_ok();
    assert!(
        done || thread::panicking() || fs::remove_dir(path).is_ok(),
        "{path:?} stays"
    );
}

/// Runs a command that must succeed; returns what it prints.
fn shell(command: &[&str]) -> String {
    let output = Command::new(command[0])
        .args(&command[1..])
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {error}", command.join(" "));
    String::from_utf8(output.stdout).unwrap()
}

//! One host's data plane, loaded and filled, but attached to nothing.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, MapData, PerCpuArray, RingBuf};
use aya::programs::{Program, ProgramError, SchedClassifier, TestRun, TestRunOptions};
use aya::{Ebpf, EbpfLoader, Pod};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use orch_ebpf_common::{
    Address, Attachment, Backend, BackendKey, Be16, Config, DropReason, Endpoint, EndpointKey,
    Flow, FlowKey, FragmentKey, FragmentPorts, Frontend, FrontendKey, MacAddress, Maglev,
    MaglevKey, MemberKey, NameAddresses, NameKey, Network, Sandbox, SandboxAddressKey,
    ServiceCounters, SourceKey, Subnet, SubnetKey, Vni,
};
use tempfile::TempDir;

mod cast;

pub use cast::*;

/// A BPF file system of our own, for the maps' pins.
struct PinDirectory(TempDir);

impl PinDirectory {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        mount(
            Some("bpf"),
            dir.path(),
            Some("bpf"),
            MsFlags::empty(),
            None::<&str>,
        )
        .expect("mounting a BPF file system needs root");
        Self(dir)
    }
}

impl Drop for PinDirectory {
    fn drop(&mut self) {
        if let Err(error) = umount2(self.0.path(), MntFlags::MNT_DETACH) {
            eprintln!("cannot unmount {}: {error}", self.0.path().display());
        }
    }
}

/// One host's data plane.
pub struct World {
    ebpf: Ebpf,
    _pins: PinDirectory,
}

/// What became of a packet: the verdict and the frame.
pub type Fate = (i32, Vec<u8>);

/// The compiled programs.
pub fn object() -> PathBuf {
    std::env::var_os("ORCH_BPF_OBJECT").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/bpf/orch-bpf.o"),
        PathBuf::from,
    )
}

/// Loads a program unless it is.
fn load(name: &str, program: &mut Program) {
    let loaded = if let Program::SchedClassifier(program) = program {
        program.load()
    } else if let Program::CgroupSockAddr(program) = program {
        program.load()
    } else {
        panic!("{name} is of an unexpected kind: {:?}", program.prog_type());
    };
    match loaded {
        Ok(()) | Err(ProgramError::AlreadyLoaded) => {}
        Err(error) => panic!("{name}: {error:#}\n{error:?}"),
    }
}

impl World {
    /// Loads every program and fills the maps with the world that the constants describe.
    pub fn new() -> Self {
        let mut world = Self::empty();
        world.fill();
        world
    }

    /// The same with connection tables of `entries`.
    pub fn small(entries: u32) -> Self {
        let mut world = Self::with_sizes(&[("FLOWS", entries), ("OPENING", entries)]);
        world.fill();
        world
    }

    /// The maps stay empty. A program is loaded when it is needed: each takes a while to verify.
    pub fn empty() -> Self {
        Self::with_sizes(&[])
    }

    /// The same with maps of other sizes.
    fn with_sizes(sizes: &[(&'static str, u32)]) -> Self {
        // A namespace without routes, whose only device is the loopback.
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace needs root");
        let pins = PinDirectory::new();
        let object = object();
        let mut loader = EbpfLoader::new();
        for (map, entries) in sizes {
            loader.map_max_entries(map, *entries);
        }
        let ebpf = loader
            .default_map_pin_directory(pins.0.path())
            .load_file(&object)
            .unwrap_or_else(|error| panic!("{}: {error:?}", object.display()));
        Self { ebpf, _pins: pins }
    }

    /// How many instructions the kernel followed to prove each program safe; loads them all.
    pub fn verified(&mut self) -> Vec<(String, u32)> {
        let effort = |program: &Program| program.info().unwrap().verified_instruction_count();
        let programs = self.ebpf.programs_mut();
        programs
            .map(|(name, program)| {
                load(name, program);
                (name.to_owned(), effort(program).unwrap_or_default())
            })
            .collect()
    }

    fn fill(&mut self) {
        self.configure();
        self.set("LOCAL_ADDRESSES", endpoint_key(Vni::HOST, NODE), 1u32);
        self.set("LOCAL_ADDRESSES", endpoint_key(Vni::HOST, NODE_V6), 1u32);
        self.set("PEERS", Address::from(OTHER_NODE), 1u32);
        self.set("NETWORKS", VNI, Network::default());
        self.subnet(
            SubnetKey::prefix_len(true, 24),
            Ipv4Addr::new(10, 0, 10, 0).into(),
            Subnet {
                vni: VNI,
                gateway: GATEWAY.into(),
                broadcast: Ipv4Addr::new(10, 0, 10, 255).into(),
            },
        );
        self.subnet(
            SubnetKey::prefix_len(false, 64),
            Ipv6Addr::new(0xfd00, 10, 0, 0, 0, 0, 0, 0).into(),
            Subnet {
                vni: VNI,
                gateway: GATEWAY_V6.into(),
                broadcast: Address::UNSPECIFIED,
            },
        );
        self.task(CLIENT, LOOPBACK, CLIENT_MAC);
        self.task(LOCAL, LOCAL_IFINDEX, LOCAL_MAC);
        self.task(CLIENT_V6, LOOPBACK, CLIENT_MAC);
        self.task(LOCAL_V6, LOCAL_IFINDEX, LOCAL_MAC);
        let remote = Endpoint {
            node: OTHER_NODE.into(),
            ..Endpoint::default()
        };
        self.set("ENDPOINTS", endpoint_key(VNI, REMOTE), remote);
        self.set("ENDPOINTS", endpoint_key(VNI, REMOTE_V6), remote);
        let attachment = Attachment {
            sandbox: SANDBOX,
            vni: VNI,
            v4: CLIENT.into(),
            v6: CLIENT_V6.into(),
            ..Attachment::default()
        };
        self.set("ATTACHMENTS", LOOPBACK, attachment);
        self.set("SANDBOXES", SANDBOX, sandbox(&[VNI]));
    }

    /// A range of the network, as its tasks see it and as the host does.
    fn subnet(&mut self, bits: u32, address: Address, subnet: Subnet) {
        let mut subnets = LpmTrie::try_from(self.ebpf.map_mut("SUBNETS").unwrap()).unwrap();
        for vni in [VNI, Vni::HOST] {
            let key = Key::new(bits, SubnetKey { vni, address });
            subnets.insert(&key, subnet, 0).unwrap();
        }
    }

    fn configure(&mut self) {
        self.set_config(Config {
            netns_cookie: 1,
            node: NODE.into(),
            outside_v4: NODE.into(),
            outside_v6: NODE_V6.into(),
            vxlan_ifindex: 1001,
            // Nothing is ever sent there; routes are looked up on its behalf.
            host_ifindex: LOOPBACK,
            uplink_ifindex: LOOPBACK,
            overlay_mtu: 1450,
            host_mac: MacAddress(HOST_MAC),
            ..Config::default()
        });
    }

    /// Writes `CONFIG`.
    fn set_config(&mut self, value: Config) {
        let mut config = Array::try_from(self.ebpf.map_mut("CONFIG").unwrap()).unwrap();
        config.set(0, value, 0).unwrap();
    }

    /// Changes what the programs know about this host.
    pub fn change_config(&mut self, change: impl FnOnce(&mut Config)) {
        let config = Array::try_from(self.ebpf.map_mut("CONFIG").unwrap()).unwrap();
        let mut value: Config = config.get(&0, 0).unwrap();
        change(&mut value);
        self.set_config(value);
    }

    fn task(&mut self, address: impl Into<Address>, ifindex: u32, mac: [u8; 6]) {
        let endpoint = Endpoint {
            node: NODE.into(),
            ifindex,
            mac: MacAddress(mac),
            ..Endpoint::default()
        };
        self.set("ENDPOINTS", endpoint_key(VNI, address), endpoint);
    }

    /// Writes one entry of a hash map.
    pub fn set<K: Pod, V: Pod>(&mut self, map: &str, key: K, value: V) {
        let mut map: HashMap<_, K, V> = self.ebpf.map_mut(map).unwrap().try_into().unwrap();
        map.insert(key, value, 0).unwrap();
    }

    /// Deletes one entry of a hash map.
    pub fn delete<K: Pod, V: Pod>(&mut self, map: &str, key: K) {
        let mut map: HashMap<_, K, V> = self.ebpf.map_mut(map).unwrap().try_into().unwrap();
        map.remove(&key).unwrap();
    }

    /// Lets the sending container also have `address` in `vni`, through another interface.
    pub fn also_has(&mut self, vni: Vni, address: impl Into<Address>) {
        let key = SandboxAddressKey {
            sandbox: SANDBOX,
            address: address.into(),
        };
        self.set("SANDBOX_ADDRESSES", key, vni);
        self.set("SANDBOXES", SANDBOX, sandbox(&[VNI, vni]));
    }

    /// Swaps the backends of a frontend, in the order that the loader keeps.
    pub fn serve(
        &mut self,
        frontend: FrontendKey,
        generation: u32,
        backends: &[(Ipv4Addr, Option<u16>)],
    ) {
        self.serve_with(frontend, generation, backends, Frontend::default());
    }

    /// The same for backends of IPv6.
    pub fn serve_v6(
        &mut self,
        frontend: FrontendKey,
        generation: u32,
        backends: &[(Ipv6Addr, Option<u16>)],
    ) {
        self.serve_with(frontend, generation, backends, Frontend::default());
    }

    /// The same for backends of any family.
    pub fn lead(
        &mut self,
        frontend: FrontendKey,
        generation: u32,
        backends: &[(Address, Option<u16>)],
    ) {
        self.serve_with(frontend, generation, backends, Frontend::default());
    }

    /// The same for a frontend with options.
    pub fn serve_with<A: Into<Address> + Copy>(
        &mut self,
        frontend: FrontendKey,
        generation: u32,
        backends: &[(A, Option<u16>)],
        options: Frontend,
    ) {
        for (slot, (address, port)) in (0..).zip(backends) {
            let backend = Backend {
                vni: VNI,
                address: (*address).into(),
                port: Be16::new(port.unwrap_or_default()),
                reserved: 0,
            };
            self.set(
                "BACKENDS",
                BackendKey {
                    frontend,
                    generation,
                    slot,
                },
                backend,
            );
            self.set("MEMBERS", MemberKey { frontend, backend }, generation);
        }
        let count = u32::try_from(backends.len()).unwrap();
        if options.flags & Frontend::MAGLEV != 0 {
            let key = MaglevKey {
                frontend,
                generation,
            };
            let slot = |entry| u16::try_from(entry % backends.len()).unwrap();
            self.set("MAGLEV", key, Maglev(std::array::from_fn(slot)));
        }
        self.set(
            "FRONTENDS",
            frontend,
            Frontend {
                generation,
                count,
                ..options
            },
        );
    }

    /// Makes a name stand for addresses.
    pub fn name(&mut self, vni: Vni, name: &str, addresses: &[Ipv4Addr]) {
        let addresses: Vec<_> = addresses.iter().copied().map(IpAddr::from).collect();
        self.name_all(vni, name, &addresses);
    }

    /// The same for addresses of both families.
    pub fn name_all(&mut self, vni: Vni, name: &str, addresses: &[IpAddr]) {
        let mut value = NameAddresses::default();
        for address in addresses {
            value.add((*address).into());
        }
        self.set("NAMES", NameKey::new(vni, name).unwrap(), value);
    }

    /// A program that is attached to devices.
    pub fn program(&mut self, name: &str) -> &SchedClassifier {
        let program = self.ebpf.program_mut(name).unwrap();
        load(name, program);
        (&*program).try_into().unwrap()
    }

    /// Runs a program on a frame that the loopback device received.
    pub fn run(&mut self, program: &str, frame: &[u8]) -> Fate {
        let mut out = vec![0; 2048];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ..TestRunOptions::default()
        };
        let result = self.program(program).test_run(options).unwrap();
        out.truncate(result.data_size_out as usize);
        (result.return_value.cast_signed(), out)
    }

    /// The same for a frame that the kernel will cut into segments with this much payload each.
    pub fn run_segmented(&mut self, program: &str, frame: &[u8], payload: u32) -> Fate {
        // `struct __sk_buff` of `include/uapi/linux/bpf.h`, all zero but for `gso_size`.
        const GSO_SIZE: usize = 176;
        let mut context = [0; 192];
        context[GSO_SIZE..GSO_SIZE + 4].copy_from_slice(&payload.to_ne_bytes());
        let mut out = vec![0; 2048];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ctx_in: Some(&context),
            ..TestRunOptions::default()
        };
        let result = self.program(program).test_run(options).unwrap();
        out.truncate(result.data_size_out as usize);
        (result.return_value.cast_signed(), out)
    }

    /// Runs a program on a frame that it must drop for `reason`, and for nothing else.
    pub fn assert_drop(&mut self, program: &str, frame: &[u8], reason: DropReason) {
        let before = self.drops();
        let (verdict, _) = self.run(program, frame);
        let after = self.drops();
        assert_eq!(verdict, SHOT, "expected a drop for {}", reason.name());
        for (index, reason_at) in DropReason::ALL.iter().enumerate() {
            let counted = after[index] - before[index];
            let expected = u64::from(*reason_at == reason);
            assert_eq!(counted, expected, "drops for {}", reason_at.name());
        }
    }

    /// How many packets were dropped for `reason`.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops()[reason as usize]
    }

    fn drops(&self) -> Vec<u64> {
        let drops: PerCpuArray<_, u64> = self.ebpf.map("DROPS").unwrap().try_into().unwrap();
        (0..DropReason::COUNT)
            .map(|at| drops.get(&at, 0).unwrap().iter().sum())
            .collect()
    }

    fn connections(&self, map: &str) -> HashMap<&MapData, FlowKey, Flow> {
        self.ebpf.map(map).unwrap().try_into().unwrap()
    }

    /// The entry of a conversation, in whichever table it is.
    pub fn flow(&self, key: &FlowKey) -> Option<Flow> {
        let proven = self.proven(key);
        proven.or_else(|| self.connections("OPENING").get(key, 0).ok())
    }

    /// The entry of a conversation that has proved to be one.
    pub fn proven(&self, key: &FlowKey) -> Option<Flow> {
        self.connections("FLOWS").get(key, 0).ok()
    }

    /// Forgets all conversations and datagrams; returns how many entries these had.
    pub fn forget_conversations(&mut self) -> usize {
        self.clear::<FlowKey, Flow>("FLOWS")
            + self.clear::<FlowKey, Flow>("OPENING")
            + self.clear::<FragmentKey, FragmentPorts>("FRAGMENTS")
    }

    fn clear<K: Pod, V: Pod>(&mut self, map: &str) -> usize {
        let mut map: HashMap<_, K, V> = self.ebpf.map_mut(map).unwrap().try_into().unwrap();
        let keys: Vec<K> = map.keys().map(|key| key.unwrap()).collect();
        for key in &keys {
            map.remove(key).unwrap();
        }
        keys.len()
    }

    /// All conversations.
    pub fn flows(&self) -> Vec<(FlowKey, Flow)> {
        let maps = ["OPENING", "FLOWS"].map(|map| self.connections(map));
        let entries = maps.iter().flat_map(HashMap::iter);
        let entries: BTreeMap<_, _> = entries.map(Result::unwrap).collect();
        entries.into_iter().collect()
    }

    /// Names clients of a published port.
    pub fn range(&mut self, frontend: FrontendKey, client: Ipv4Addr, prefix: u8, value: u32) {
        let mut sources = LpmTrie::try_from(self.ebpf.map_mut("SOURCES").unwrap()).unwrap();
        let client = client.into();
        let bits = SourceKey::prefix_len(true, prefix);
        let key = Key::new(bits, SourceKey { frontend, client });
        sources.insert(&key, value, 0).unwrap();
    }

    /// What was counted for a service.
    pub fn counters(&self, service: u32) -> ServiceCounters {
        let counters: PerCpuArray<_, ServiceCounters> =
            self.ebpf.map("SERVICES").unwrap().try_into().unwrap();
        let sum = |sum: ServiceCounters, cpu: &ServiceCounters| ServiceCounters {
            flows: sum.flows + cpu.flows,
            packets: sum.packets + cpu.packets,
            bytes: sum.bytes + cpu.bytes,
            refused: sum.refused + cpu.refused,
        };
        let per_cpu = counters.get(&service, 0).unwrap();
        per_cpu.iter().fold(ServiceCounters::default(), sum)
    }

    /// The bytes of all events that were told since the last look.
    pub fn events(&mut self) -> Vec<Vec<u8>> {
        let mut ring = RingBuf::try_from(self.ebpf.map_mut("EVENTS").unwrap()).unwrap();
        std::iter::from_fn(|| ring.next().map(|event| event.to_vec())).collect()
    }
}

fn endpoint_key(vni: Vni, address: impl Into<Address>) -> EndpointKey {
    EndpointKey {
        vni,
        address: address.into(),
    }
}

fn sandbox(networks: &[Vni]) -> Sandbox {
    let mut sandbox = Sandbox {
        count: u32::try_from(networks.len()).unwrap(),
        ..Sandbox::default()
    };
    sandbox.networks[..networks.len()].copy_from_slice(networks);
    sandbox
}

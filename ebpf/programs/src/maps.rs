//! The maps, as `orch-ebpf-common` describes them, and safe look-ups in them.

use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::macros::map;
use aya_ebpf::maps::ring_buf::RingBufEntry;
use aya_ebpf::maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf, lpm_trie};
use orch_ebpf_common::flow::{FLOW_ENTRIES, FRAGMENT_ENTRIES, OPENING_ENTRIES};
use orch_ebpf_common::service::{AFFINITY_ENTRIES, SERVICE_COUNTERS};
use orch_ebpf_common::{
    Address, Affinity, AffinityKey, Attachment, Backend, BackendKey, Config, DropReason, Endpoint,
    EndpointKey, Flow, FlowEvent, FlowKey, FragmentKey, FragmentPorts, Frontend, FrontendKey,
    Maglev, MaglevKey, MemberKey, NameAddresses, NameKey, Network, OriginalDestination, Sandbox,
    SandboxAddressKey, ServiceCounters, SocketKey, SourceKey, Subnet, SubnetKey, Vni,
};

/// Entries of the maps; to the loader, a pinned map of another size is one of another layout.
const MANY: u32 = 65_536;
const SOME: u32 = 4_096;
const RING_BYTES: u32 = 256 * 1024;

#[map]
static CONFIG: Array<Config> = Array::pinned(1, 0);
#[map]
static LOCAL_ADDRESSES: HashMap<EndpointKey, u32> = HashMap::pinned(SOME, BPF_F_NO_PREALLOC);
#[map]
static PEERS: HashMap<Address, u32> = HashMap::pinned(SOME, BPF_F_NO_PREALLOC);
#[map]
static NETWORKS: HashMap<Vni, Network> = HashMap::pinned(SOME, BPF_F_NO_PREALLOC);
#[map]
static SUBNETS: LpmTrie<SubnetKey, Subnet> = LpmTrie::pinned(SOME, BPF_F_NO_PREALLOC);
#[map]
static ENDPOINTS: HashMap<EndpointKey, Endpoint> = HashMap::pinned(MANY, BPF_F_NO_PREALLOC);
#[map]
static ATTACHMENTS: HashMap<u32, Attachment> = HashMap::pinned(SOME, BPF_F_NO_PREALLOC);
#[map]
static SANDBOX_ADDRESSES: HashMap<SandboxAddressKey, Vni> =
    HashMap::pinned(SOME, BPF_F_NO_PREALLOC);
#[map]
static SANDBOXES: HashMap<u64, Sandbox> = HashMap::pinned(SOME, BPF_F_NO_PREALLOC);
#[map]
static FRONTENDS: HashMap<FrontendKey, Frontend> = HashMap::pinned(MANY, BPF_F_NO_PREALLOC);
#[map]
static BACKENDS: HashMap<BackendKey, Backend> = HashMap::pinned(4 * MANY, BPF_F_NO_PREALLOC);
#[map]
static MEMBERS: HashMap<MemberKey, u32> = HashMap::pinned(4 * MANY, BPF_F_NO_PREALLOC);
#[map]
static MAGLEV: HashMap<MaglevKey, Maglev> = HashMap::pinned(SOME, BPF_F_NO_PREALLOC);
#[map]
static SOURCES: LpmTrie<SourceKey, u32> = LpmTrie::pinned(MANY, BPF_F_NO_PREALLOC);
#[map]
static NAMES: HashMap<NameKey, NameAddresses> = HashMap::pinned(MANY, BPF_F_NO_PREALLOC);
#[map]
static ORIGINAL_DESTINATIONS: LruHashMap<SocketKey, OriginalDestination> =
    LruHashMap::pinned(MANY, 0);
#[map]
static AFFINITY: LruHashMap<AffinityKey, Affinity> = LruHashMap::pinned(AFFINITY_ENTRIES, 0);
#[map]
static FRAGMENTS: LruHashMap<FragmentKey, FragmentPorts> = LruHashMap::pinned(FRAGMENT_ENTRIES, 0);
#[map]
static SERVICES: PerCpuArray<ServiceCounters> = PerCpuArray::pinned(SERVICE_COUNTERS, 0);
#[map]
static EVENTS: RingBuf = RingBuf::pinned(RING_BYTES, 0);
#[map]
static DROPS: PerCpuArray<u64> = PerCpuArray::pinned(DropReason::COUNT, 0);

/// The connection table. Its entries are written by other CPUs at the same time, which is why only
/// pointers to them are handed out.
#[map]
pub static FLOWS: LruHashMap<FlowKey, Flow> = LruHashMap::pinned(FLOW_ENTRIES, 0);

/// Conversations that have not proved to be one yet.
#[map]
pub static OPENING: LruHashMap<FlowKey, Flow> = LruHashMap::pinned(OPENING_ENTRIES, 0);

/// Defines look-ups that hand out a reference into a map.
macro_rules! lookups {
    ($($(#[$doc:meta])* $name:ident($map:ident: $key:ty) -> $value:ty;)*) => {
        $(
            $(#[$doc])*
            #[inline(always)]
            pub fn $name(key: &$key) -> Option<&'static $value> {
                // SAFETY: the value stays readable until the program ends. If the entry is
                // deleted meanwhile it may show another entry's bytes; every byte pattern is a
                // value of the type, and one packet may then go the wrong way.
                unsafe { $map.get(key) }
            }
        )*
    };
}

lookups! {
    /// Whether the address is one of the host's own.
    local_address(LOCAL_ADDRESSES: EndpointKey) -> u32;
    /// Whether the address is that of another host of the cluster.
    peer(PEERS: Address) -> u32;
    /// A network that this host knows.
    network(NETWORKS: Vni) -> Network;
    /// Where a task's address is.
    endpoint(ENDPOINTS: EndpointKey) -> Endpoint;
    /// What is behind a veth.
    attachment(ATTACHMENTS: u32) -> Attachment;
    /// In which network a container has an address.
    sandbox_address(SANDBOX_ADDRESSES: SandboxAddressKey) -> Vni;
    /// The networks of a container.
    sandbox(SANDBOXES: u64) -> Sandbox;
    /// The current set of a frontend.
    frontend(FRONTENDS: FrontendKey) -> Frontend;
    /// One slot of a set.
    backend(BACKENDS: BackendKey) -> Backend;
    /// The last generation in which a backend was in a frontend's set.
    member(MEMBERS: MemberKey) -> u32;
    /// From a conversation's hash to a slot of a set.
    maglev(MAGLEV: MaglevKey) -> Maglev;
    /// Where a client of a frontend went last.
    affinity(AFFINITY: AffinityKey) -> Affinity;
    /// The addresses of a name.
    name(NAMES: NameKey) -> NameAddresses;
    /// The ports of a datagram whose first fragment came by.
    fragment(FRAGMENTS: FragmentKey) -> FragmentPorts;
    /// What an application called the published port it talks to.
    original_destination(ORIGINAL_DESTINATIONS: SocketKey) -> OriginalDestination;
}

/// What the programs must know about this host, once the loader has said it.
#[inline(always)]
pub fn config() -> Result<&'static Config, DropReason> {
    match CONFIG.get(0) {
        Some(config) if config.node != Address::UNSPECIFIED => Ok(config),
        _ => Err(DropReason::NotConfigured),
    }
}

/// The range of a network that an address is in.
#[inline(always)]
pub fn subnet(vni: Vni, address: Address) -> Option<&'static Subnet> {
    SUBNETS.get(lpm_trie::Key::new(
        SubnetKey::FULL,
        SubnetKey { vni, address },
    ))
}

/// What a published port says of a client: [`SourceKey::ALLOW`] or [`SourceKey::DENY`], if it
/// names a range that the client is in.
#[inline(always)]
pub fn source(key: SourceKey) -> Option<u32> {
    SOURCES
        .get(lpm_trie::Key::new(SourceKey::FULL, key))
        .copied()
}

/// Remembers where a client went. If the map takes no entry the client may meet another backend.
#[inline(always)]
pub fn remember_affinity(key: &AffinityKey, affinity: &Affinity) {
    _ = AFFINITY.insert(key, affinity, 0);
}

/// This CPU's counters of a service; none for what belongs to no service.
#[inline(always)]
pub fn service_counters(service: u32) -> Option<&'static mut ServiceCounters> {
    if service == 0 {
        return None;
    }
    let counters = SERVICES.get_ptr_mut(service)?;
    // SAFETY: the pointer is to this CPU's own counters, and no other program runs on this CPU
    // before this one ends.
    Some(unsafe { &mut *counters })
}

/// Room for a record of the ring, if it has any left. It must be submitted.
#[inline(always)]
pub fn event() -> Option<RingBufEntry<FlowEvent>> {
    EVENTS.reserve(0)
}

/// Remembers what an application calls a published port. If the map is full the application sees
/// the address it was translated to.
#[inline(always)]
pub fn remember_destination(key: &SocketKey, destination: &OriginalDestination) {
    _ = ORIGINAL_DESTINATIONS.insert(key, destination, 0);
}

/// Remembers the ports of a datagram's first fragment.
#[inline(always)]
pub fn remember_fragment(key: &FragmentKey, ports: &FragmentPorts) -> bool {
    FRAGMENTS.insert(key, ports, 0).is_ok()
}

/// Counts a dropped packet; `reason` is the index of a [`DropReason`].
#[inline(always)]
pub fn count_drop(reason: u32) {
    if let Some(counter) = DROPS.get_ptr_mut(reason) {
        // SAFETY: the pointer is to this CPU's own counter, and no other program runs on this
        // CPU before this one ends.
        unsafe { *counter += 1 };
    }
}

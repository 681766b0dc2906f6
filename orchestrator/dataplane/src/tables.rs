//! The content of the maps as a value, and the changes that lead from one content to another.
//!
//! [`Tables`] mirrors what the kernel holds. It is read back from the pinned maps when a daemon
//! starts, and kept in step with every [`Operation`] that the kernel accepts. So a difference is
//! always taken against what is really there. No system call is made here.

use std::collections::BTreeMap;
use std::sync::Arc;

use orch_ebpf_common::{
    Address, Attachment, Backend, BackendKey, Endpoint, EndpointKey, Frontend, FrontendKey, Maglev,
    MaglevKey, MemberKey, NameAddresses, NameKey, Network, Sandbox, SandboxAddressKey, SourceKey,
    Subnet, SubnetKey, Vni,
};

/// A change of one entry of a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change<K, V> {
    /// Adds the entry or replaces its value.
    Put(K, V),
    /// Removes the entry.
    Delete(K),
}

impl<K: Ord + Clone, V: Clone> Change<K, V> {
    fn record(&self, table: &mut BTreeMap<K, V>) {
        match self {
            Self::Put(key, value) => {
                table.insert(key.clone(), value.clone());
            }
            Self::Delete(key) => {
                table.remove(key);
            }
        }
    }
}

/// Key of the `SUBNETS` trie: how many bits count, and the bits.
pub(crate) type SubnetPrefix = (u32, SubnetKey);
/// The same of the `SOURCES` trie.
pub(crate) type SourcePrefix = (u32, SourceKey);

/// Calls the macro `$then` with the list of maps that the loader fills:
/// field of [`Tables`], variant of [`Operation`], name of the map, its kind, key and value.
macro_rules! with_maps {
    ($then:path) => {
        $then! {
            local_addresses, LocalAddress, "LOCAL_ADDRESSES", HashMap, EndpointKey => u32;
            peers, Peer, "PEERS", HashMap, Address => u32;
            networks, Network, "NETWORKS", HashMap, Vni => Network;
            subnets, Subnet, "SUBNETS", SubnetTrie, SubnetPrefix => Subnet;
            endpoints, Endpoint, "ENDPOINTS", HashMap, EndpointKey => Endpoint;
            attachments, Attachment, "ATTACHMENTS", HashMap, u32 => Attachment;
            sandbox_addresses, SandboxAddress, "SANDBOX_ADDRESSES", HashMap,
                SandboxAddressKey => Vni;
            sandboxes, Sandbox, "SANDBOXES", HashMap, u64 => Sandbox;
            backends, Backend, "BACKENDS", HashMap, BackendKey => Backend;
            members, Member, "MEMBERS", HashMap, MemberKey => u32;
            maglev, Maglev, "MAGLEV", MaglevMap, MaglevKey => Arc<Maglev>;
            sources, Source, "SOURCES", SourceTrie, SourcePrefix => u32;
            frontends, Frontend, "FRONTENDS", HashMap, FrontendKey => Frontend;
            names, Name, "NAMES", HashMap, NameKey => NameAddresses;
        }
    };
}
pub(crate) use with_maps;

macro_rules! define_tables {
    ($($field:ident, $variant:ident, $name:literal, $kind:ident, $key:ty => $value:ty;)*) => {
        /// The content of all maps that the loader fills; see `orch_ebpf_common` for each.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub(crate) struct Tables {
            $(pub $field: BTreeMap<$key, $value>,)*
        }

        /// A change of one entry of one map.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[expect(clippy::large_enum_variant, reason = "a name's addresses; few are in flight")]
        pub(crate) enum Operation {
            $($variant(Change<$key, $value>),)*
        }

        impl Operation {
            /// Whether it removes an entry.
            pub fn is_delete(&self) -> bool {
                match self {
                    $(Self::$variant(change) => matches!(change, Change::Delete(_)),)*
                }
            }
        }

        impl Tables {
            /// Makes the change that the kernel has just made.
            pub fn record(&mut self, operation: &Operation) {
                match operation {
                    $(Operation::$variant(change) => change.record(&mut self.$field),)*
                }
            }
        }
    };
}

with_maps!(define_tables);

impl Operation {
    /// Whether it is about this host alone: its addresses and its containers.
    pub fn is_local(&self) -> bool {
        matches!(
            self,
            Self::LocalAddress(_)
                | Self::Attachment(_)
                | Self::SandboxAddress(_)
                | Self::Sandbox(_)
        )
    }
}

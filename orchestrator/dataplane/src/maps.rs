//! The maps in the kernel.

use std::collections::BTreeMap;

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray};
use aya::{Ebpf, Pod};
use orch_ebpf_common::{
    Address, Attachment, Backend, BackendKey, Config, DropReason, Endpoint, EndpointKey, Frontend,
    FrontendKey, MemberKey, NameAddresses, NameKey, Network, Sandbox, SandboxAddressKey, Subnet,
    SubnetKey, Vni,
};

use crate::Error;
use crate::tables::{Change, Operation, SubnetPrefix, Tables, with_maps};

/// What maps of every kind can do for the loader.
trait Table<K, V>: Sized {
    fn open(map: Map) -> Result<Self, MapError>;
    fn entries(&self) -> Result<BTreeMap<K, V>, MapError>;
    fn put(&mut self, key: &K, value: &V) -> Result<(), MapError>;
    fn delete(&mut self, key: &K) -> Result<(), MapError>;

    /// Makes a change; deleting what is not there is fine.
    fn change(&mut self, change: &Change<K, V>) -> Result<(), MapError> {
        match change {
            Change::Put(key, value) => self.put(key, value),
            Change::Delete(key) => match self.delete(key) {
                Err(MapError::KeyNotFound) => Ok(()),
                Err(MapError::SyscallError(error))
                    if error.io_error.raw_os_error() == Some(libc::ENOENT) =>
                {
                    Ok(())
                }
                other => other,
            },
        }
    }
}

impl<K: Pod + Ord, V: Pod> Table<K, V> for HashMap<MapData, K, V> {
    fn open(map: Map) -> Result<Self, MapError> {
        Self::try_from(map)
    }

    fn entries(&self) -> Result<BTreeMap<K, V>, MapError> {
        self.iter().collect()
    }

    fn put(&mut self, key: &K, value: &V) -> Result<(), MapError> {
        self.insert(key, value, 0)
    }

    fn delete(&mut self, key: &K) -> Result<(), MapError> {
        self.remove(key)
    }
}

impl Table<SubnetPrefix, Subnet> for LpmTrie<MapData, SubnetKey, Subnet> {
    fn open(map: Map) -> Result<Self, MapError> {
        Self::try_from(map)
    }

    fn entries(&self) -> Result<BTreeMap<SubnetPrefix, Subnet>, MapError> {
        let flat = |(key, value): (Key<SubnetKey>, Subnet)| ((key.prefix_len(), key.data()), value);
        self.iter().map(|entry| entry.map(flat)).collect()
    }

    fn put(&mut self, key: &SubnetPrefix, value: &Subnet) -> Result<(), MapError> {
        self.insert(&Key::new(key.0, key.1), value, 0)
    }

    fn delete(&mut self, key: &SubnetPrefix) -> Result<(), MapError> {
        self.remove(&Key::new(key.0, key.1))
    }
}

/// The type of a map in the kernel, from its kind.
macro_rules! kernel_map {
    (HashMap, $key:ty, $value:ty) => { HashMap<MapData, $key, $value> };
    (LpmTrie, $key:ty, $value:ty) => { LpmTrie<MapData, SubnetKey, $value> };
}

macro_rules! define_maps {
    ($($field:ident, $variant:ident, $name:literal, $kind:ident, $key:ty => $value:ty;)*) => {
        /// The maps that the loader fills or reads.
        pub(crate) struct Maps {
            config: Array<MapData, Config>,
            drops: PerCpuArray<MapData, u64>,
            $($field: kernel_map!($kind, $key, $value),)*
        }

        impl Maps {
            /// Takes the maps out of the loaded object.
            pub fn open(ebpf: &mut Ebpf) -> Result<Self, Error> {
                Ok(Self {
                    config: Array::try_from(take(ebpf, "CONFIG")?)
                        .map_err(Error::map("open", "CONFIG"))?,
                    drops: PerCpuArray::try_from(take(ebpf, "DROPS")?)
                        .map_err(Error::map("open", "DROPS"))?,
                    $($field: Table::<$key, $value>::open(take(ebpf, $name)?)
                        .map_err(Error::map("open", $name))?,)*
                })
            }

            /// Reads everything that an earlier daemon wrote.
            pub fn read(&self) -> Result<Tables, Error> {
                Ok(Tables {
                    $($field: self.$field.entries().map_err(Error::map("read", $name))?,)*
                })
            }

            /// Makes one change.
            pub fn change(&mut self, operation: &Operation) -> Result<(), Error> {
                match operation {
                    $(Operation::$variant(change) => {
                        self.$field.change(change).map_err(Error::map("change", $name))
                    })*
                }
            }
        }
    };
}

with_maps!(define_maps);

impl Maps {
    /// Tells the programs about this host.
    pub fn configure(&mut self, config: &Config) -> Result<(), Error> {
        self.config
            .set(0, config, 0)
            .map_err(Error::map("change", "CONFIG"))
    }

    /// How many packets were dropped since the maps were made, per reason.
    pub fn drops(&self) -> Result<BTreeMap<DropReason, u64>, Error> {
        let count = |reason: &DropReason| {
            let counters = self.drops.get(&(*reason as u32), 0)?;
            Ok((*reason, counters.iter().sum()))
        };
        DropReason::ALL
            .iter()
            .map(count)
            .collect::<Result<_, MapError>>()
            .map_err(Error::map("read", "DROPS"))
    }
}

fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, Error> {
    ebpf.take_map(name)
        .ok_or_else(|| Error::Object(format!("map {name}")))
}

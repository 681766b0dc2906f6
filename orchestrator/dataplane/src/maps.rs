//! The maps in the kernel.

use std::collections::BTreeMap;
use std::sync::Arc;

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuValues};
use aya::util::nr_cpus;
use aya::{Ebpf, Pod};
use orch_ebpf_common::{
    Address, Attachment, Backend, BackendKey, Config, DropReason, Endpoint, EndpointKey, Frontend,
    FrontendKey, Maglev, MaglevKey, MemberKey, NameAddresses, NameKey, Network, Sandbox,
    SandboxAddressKey, ServiceCounters, SourceKey, Subnet, SubnetKey, Vni,
};

use crate::Error;
use crate::tables::{Change, Operation, SourcePrefix, SubnetPrefix, Tables, with_maps};

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

/// Tables are large, so copies of one are shared.
impl Table<MaglevKey, Arc<Maglev>> for HashMap<MapData, MaglevKey, Maglev> {
    fn open(map: Map) -> Result<Self, MapError> {
        Self::try_from(map)
    }

    fn entries(&self) -> Result<BTreeMap<MaglevKey, Arc<Maglev>>, MapError> {
        let shared = |(key, table)| (key, Arc::new(table));
        self.iter().map(|entry| entry.map(shared)).collect()
    }

    fn put(&mut self, key: &MaglevKey, value: &Arc<Maglev>) -> Result<(), MapError> {
        self.insert(key, **value, 0)
    }

    fn delete(&mut self, key: &MaglevKey) -> Result<(), MapError> {
        self.remove(key)
    }
}

impl<K: Pod + Ord, V: Pod> Table<(u32, K), V> for LpmTrie<MapData, K, V> {
    fn open(map: Map) -> Result<Self, MapError> {
        Self::try_from(map)
    }

    fn entries(&self) -> Result<BTreeMap<(u32, K), V>, MapError> {
        let flat = |(key, value): (Key<K>, V)| ((key.prefix_len(), key.data()), value);
        self.iter().map(|entry| entry.map(flat)).collect()
    }

    fn put(&mut self, key: &(u32, K), value: &V) -> Result<(), MapError> {
        self.insert(&Key::new(key.0, key.1), value, 0)
    }

    fn delete(&mut self, key: &(u32, K)) -> Result<(), MapError> {
        self.remove(&Key::new(key.0, key.1))
    }
}

/// The type of a map in the kernel, from its kind.
macro_rules! kernel_map {
    (HashMap, $key:ty, $value:ty) => { HashMap<MapData, $key, $value> };
    (MaglevMap, $key:ty, $value:ty) => { HashMap<MapData, MaglevKey, Maglev> };
    (SubnetTrie, $key:ty, $value:ty) => { LpmTrie<MapData, SubnetKey, $value> };
    (SourceTrie, $key:ty, $value:ty) => { LpmTrie<MapData, SourceKey, $value> };
}

macro_rules! define_maps {
    ($($field:ident, $variant:ident, $name:literal, $kind:ident, $key:ty => $value:ty;)*) => {
        /// The maps that the loader fills or reads.
        pub(crate) struct Maps {
            config: Array<MapData, Config>,
            drops: PerCpuArray<MapData, u64>,
            services: PerCpuArray<MapData, ServiceCounters>,
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
                    services: PerCpuArray::try_from(take(ebpf, "SERVICES")?)
                        .map_err(Error::map("open", "SERVICES"))?,
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

    /// What the programs were told about this host.
    pub fn config(&self) -> Result<Config, Error> {
        self.config.get(&0, 0).map_err(Error::map("read", "CONFIG"))
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

    /// What was counted under a service's number.
    pub fn service(&self, number: u32) -> Result<ServiceCounters, Error> {
        let per_cpu = self
            .services
            .get(&number, 0)
            .map_err(Error::map("read", "SERVICES"))?;
        let sum = |sum: ServiceCounters, cpu: &ServiceCounters| ServiceCounters {
            flows: sum.flows + cpu.flows,
            packets: sum.packets + cpu.packets,
            bytes: sum.bytes + cpu.bytes,
            refused: sum.refused + cpu.refused,
        };
        Ok(per_cpu.iter().fold(ServiceCounters::default(), sum))
    }

    /// Begins to count anew under a service's number.
    pub fn reset_service(&mut self, number: u32) -> Result<(), Error> {
        let cpus = nr_cpus().map_err(|(file, source)| Error::Io {
            action: format!("read {file}"),
            source,
        })?;
        let zeros = PerCpuValues::try_from(vec![ServiceCounters::default(); cpus])
            .map_err(Error::io("count the processors"))?;
        self.services
            .set(number, zeros, 0)
            .map_err(Error::map("change", "SERVICES"))
    }
}

fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, Error> {
    ebpf.take_map(name)
        .ok_or_else(|| Error::Object(format!("map {name}")))
}

//! Loads, attaches and fills the eBPF data plane of one host.
//!
//! The crate owns everything of orchd that is in the kernel: the programs and their maps, the
//! pins that keep both alive without a daemon, the tunnel, the host link and the veth pairs of
//! containers. It is told what to hold as one value, [`orch_core::network::DesiredNetwork`], and
//! makes the kernel hold exactly that. It must not know of services, tasks, the engine or the
//! other hosts' daemons: why something is desired is decided elsewhere.
//!
//! | Module | Subject |
//! |---|---|
//! | `plane` | [`DataPlane`]: the calls, and the order of things within each |
//! | `wanted`, `diff`, `tables` | pure: desired state → content of maps → operations |
//! | `maglev`, `services` | pure: which backend a hash leads to; numbers for counting services |
//! | `inspect`, `shown` | pure: what the maps hold against what was written, in words |
//! | [`trace`] | pure: what the programs would do with a packet, host by host |
//! | `maps`, `programs`, `pins` | maps and programs in the kernel, and the directory of pins |
//! | `links` | how programs stay attached, on kernels with tcx and without |
//! | `migrate` | conversations of an earlier daemon's maps → ours |
//! | `devices`, `netlink` | the host's devices and what each is for; how to talk to the kernel |
//! | `flows`, `events` | what the programs know of conversations, as values |
//! | `outside` | what changes by itself: uplinks, the host's addresses |
//! | `attachment` | a container's endpoint, and how it is remembered |
//! | `doctor` | what a host lacks |

mod attachment;
mod config;
mod devices;
mod diff;
mod doctor;
mod error;
mod events;
mod flows;
mod inspect;
mod kernel;
mod links;
mod maglev;
mod maps;
mod migrate;
mod mounts;
mod netlink;
mod outside;
mod pins;
mod plane;
mod probe;
mod programs;
mod services;
mod shown;
mod tables;
pub mod trace;
mod wanted;

pub use attachment::Attachment;
pub use config::{Config, TableSizes};
pub use doctor::{Check, Purpose, Severity, doctor};
pub use error::Error;
pub use events::{FlowDecision, FlowEvent, FlowEvents};
pub use flows::{FlowEntry, FlowExit, FlowOrigin, FlowState, FlowTables};
pub use inspect::{Difference, Inspection, MapContent};
pub use orch_ebpf_common::{DropReason, ServiceCounters};
pub use plane::DataPlane;
pub use probe::{Prober, Reached};
pub use shown::protocol_name;

//! The BPF programs: loaded against pinned maps, attached to devices and to sockets.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use aya::programs::{CgroupSockAddr, Program, ProgramError, SchedClassifier};
use aya::{Ebpf, EbpfLoader};
use aya_obj::Object;

use crate::links::{self, Links};
use crate::netlink::Device;
use crate::pins::Pins;
use crate::{Error, TableSizes, mounts};

/// The compiled programs.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("ORCH_BPF_OBJECT"));

/// A program for packets that come in through a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeviceProgram {
    /// What tasks send; on the host's end of their veth pairs.
    Task,
    /// What other hosts send through the tunnel.
    Overlay,
    /// What comes from the outside.
    Uplink,
    /// What the host itself sends to published ports.
    Host,
}

impl DeviceProgram {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Task, Self::Overlay, Self::Uplink, Self::Host];

    /// Its name in the object.
    pub fn name(self) -> &'static str {
        match self {
            Self::Task => "task_ingress",
            Self::Overlay => "overlay_ingress",
            Self::Uplink => "uplink_ingress",
            Self::Host => "host_ingress",
        }
    }

    /// Name of its pin for a device.
    pub fn pin(self, device: u32) -> String {
        links::pin_name(self.name(), device)
    }
}

/// Programs for what sockets of this host connect and send to. Each is the name of its hook.
pub(crate) const SOCKET_PROGRAMS: [&str; 8] = [
    "connect4",
    "connect6",
    "sendmsg4",
    "sendmsg6",
    "recvmsg4",
    "recvmsg6",
    "getpeername4",
    "getpeername6",
];

/// The programs of this host, in the kernel.
pub(crate) struct Programs {
    ebpf: Ebpf,
    links: Links,
}

impl Programs {
    /// Loads every program against the pinned maps, and creates and pins those that lack.
    pub fn load(pins: &Pins, sizes: &TableSizes) -> Result<Self, Error> {
        let mut object = parse()?;
        let mut loader = EbpfLoader::new();
        for (name, entries) in sizes.by_map() {
            loader.map_max_entries(name, entries);
            let map = object.maps.get_mut(name);
            map.ok_or_else(|| Error::Object(format!("map {name}")))?
                .set_max_entries(entries);
        }
        pins.set_unusable_maps_aside(&object)?;
        let mut ebpf = loader.default_map_pin_directory(pins.maps()).load(OBJECT)?;
        for name in names() {
            load(&mut ebpf, name)?;
        }
        Ok(Self {
            ebpf,
            links: Links::probe(pins),
        })
    }

    /// The loaded object, for its maps.
    pub fn ebpf(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// What is attached, also by earlier daemons.
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// Attaches a program to a device, or puts it in the place of an earlier daemon's.
    pub fn attach_device(&mut self, program: DeviceProgram, device: &Device) -> Result<(), Error> {
        let name = program.name();
        let classifier = find(&mut self.ebpf, name)?.try_into();
        let classifier: &mut SchedClassifier = classifier.map_err(wrong_type(name))?;
        self.links.attach_device(classifier, name, device)
    }

    /// Attaches the socket programs for every process of the system. They let pass what is not
    /// from this host's namespace.
    pub fn attach_sockets(&mut self) -> Result<(), Error> {
        let root = mounts::cgroup2_root()?;
        let cgroup = File::open(&root).map_err(Error::io(format!("open {}", root.display())))?;
        for name in SOCKET_PROGRAMS {
            let program = find(&mut self.ebpf, name)?.try_into();
            let program: &mut CgroupSockAddr = program.map_err(wrong_type(name))?;
            self.links.attach_cgroup(program, name, &cgroup)?;
        }
        Ok(())
    }
}

/// Whether the verifier took a program.
pub(crate) type Verdict = Result<(), Error>;

/// Names of all programs.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    DeviceProgram::ALL
        .into_iter()
        .map(DeviceProgram::name)
        .chain(SOCKET_PROGRAMS)
}

/// Loads one program after the other, for the verifier's verdict alone, with maps that are pinned
/// in `dir` while it lasts.
pub(crate) fn verify(dir: &Path) -> Result<Vec<(&'static str, Verdict)>, Error> {
    let mut loader = EbpfLoader::new();
    let mut ebpf = loader.default_map_pin_directory(dir).load(OBJECT)?;
    Ok(names().map(|name| (name, load(&mut ebpf, name))).collect())
}

/// Helpers of the kernel that the programs call, by number.
pub(crate) struct CalledHelpers {
    /// Those of the programs for devices.
    pub classifiers: BTreeSet<u32>,
    /// Those of the programs for sockets.
    pub sockets: BTreeSet<u32>,
}

/// Looks for calls in the compiled programs.
pub(crate) fn called_helpers() -> Result<CalledHelpers, Error> {
    const CALL: u8 = 0x85;
    let object = parse()?;
    let of_sockets: BTreeSet<_> = object
        .programs
        .iter()
        .filter(|(name, _)| SOCKET_PROGRAMS.contains(&name.as_str()))
        .map(|(_, program)| program.function_key())
        .collect();
    let mut called = CalledHelpers {
        classifiers: BTreeSet::new(),
        sockets: BTreeSet::new(),
    };
    for (key, function) in &object.functions {
        let calls = function.instructions.iter();
        // A source register of 0 tells a helper from a function of the program.
        let calls = calls.filter(|call| call.code == CALL && call.src_reg() == 0);
        let numbers = calls.map(|call| call.imm.cast_unsigned());
        match of_sockets.contains(key) {
            true => called.sockets.extend(numbers),
            false => called.classifiers.extend(numbers),
        }
    }
    Ok(called)
}

fn parse() -> Result<Object, Error> {
    Object::parse(OBJECT).map_err(|error| Error::Load(error.into()))
}

fn find<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Program, Error> {
    ebpf.program_mut(name)
        .ok_or_else(|| Error::Object(format!("program {name}")))
}

fn load(ebpf: &mut Ebpf, name: &str) -> Result<(), Error> {
    let failed = |source| Error::Program {
        action: "load",
        program: name.to_owned(),
        source,
    };
    let program = find(ebpf, name)?;
    if let Ok(classifier) = <&mut SchedClassifier>::try_from(&mut *program) {
        return classifier.load().map_err(failed);
    }
    let program: &mut CgroupSockAddr = program.try_into().map_err(failed)?;
    program.load().map_err(failed)
}

fn wrong_type(name: &'static str) -> impl Fn(ProgramError) -> Error {
    move |source| Error::Program {
        action: "attach",
        program: name.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_object_has_exactly_the_programs_that_are_attached() {
        let object = parse().unwrap();
        let embedded: BTreeSet<_> = object.programs.keys().map(String::as_str).collect();
        assert_eq!(embedded, names().collect());
    }

    #[test]
    fn no_name_of_a_pin_has_a_dot_which_the_bpf_file_system_forbids() {
        let object = parse().unwrap();
        let pins = DeviceProgram::ALL.map(|program| program.pin(7));
        let maps = object
            .maps
            .iter()
            .filter(|(_, map)| map.symbol_index().is_some());
        for name in pins.iter().chain(maps.map(|(name, _)| name)) {
            assert!(!name.contains('.'), "{name}");
        }
    }
}

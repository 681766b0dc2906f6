//! How programs stay attached while no daemon runs, and how the next daemon takes them over.
//!
//! | Where | Kernel | What is pinned | Taken over by |
//! |---|---|---|---|
//! | sockets | all | the cgroup's link | putting our program into the link |
//! | devices | with tcx (6.6 on) | the device's link | the same |
//! | devices | before | the program, as a note | putting our program into the filter |
//!
//! Each is one step of the kernel's: there is no packet that no program sees. A filter of the
//! `clsact` queueing discipline lives as long as its device, with a pin or without one; it is ours
//! by its priority and handle, so that the filters of others stay as they are.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;

use aya::programs::links::{FdLink, Link as _, LinkError};
use aya::programs::tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle};
use aya::programs::{
    CgroupAttachMode, CgroupSockAddr, LinkOrder, ProgramError, ProgramFd, SchedClassifier,
    TcAttachType,
};
use nix::net::if_::if_indextoname;

use crate::netlink::Device;
use crate::pins::Pins;
use crate::{Error, kernel};

/// Priority of our filters: before those that get theirs from the kernel, which begin at 49152.
const PRIORITY: u16 = 100;
/// Handle of our filters, "orch" in ASCII.
const HANDLE: TcHandle = TcHandle::new(0x6f72, 0x6368);

/// The attached programs of one host.
pub(crate) struct Links {
    pins: Pins,
    has_tcx: bool,
}

impl Links {
    /// Finds out how programs are attached to devices here.
    pub fn probe(pins: &Pins) -> Self {
        Self {
            pins: pins.clone(),
            has_tcx: has_tcx(),
        }
    }

    /// Attaches a program to what comes in through a device, or puts it in the place of an
    /// earlier daemon's. `pin` is [`pin_name`]'s.
    pub fn attach_device(
        &self,
        program: &mut SchedClassifier,
        name: &'static str,
        device: &Device,
    ) -> Result<(), Error> {
        let pin = pin_name(name, device.index);
        if !self.has_tcx {
            return self.attach_filter(program, name, &pin, &device.name);
        }
        let failed = attach_failed(name);
        if self.adopt(program.fd().map_err(&failed)?, &pin)? {
            return Ok(());
        }
        let options = TcAttachOptions::TcxOrder(LinkOrder::default());
        let id = program
            .attach_with_options(&device.name, TcAttachType::Ingress, options)
            .map_err(&failed)?;
        let link = FdLink::try_from(program.take_link(id).map_err(&failed)?);
        self.pin(name, &pin, link)
    }

    /// Attaches a socket program for every process below `cgroup`, or puts it in the place of an
    /// earlier daemon's.
    pub fn attach_cgroup(
        &self,
        program: &mut CgroupSockAddr,
        name: &'static str,
        cgroup: &File,
    ) -> Result<(), Error> {
        let failed = attach_failed(name);
        if self.adopt(program.fd().map_err(&failed)?, name)? {
            return Ok(());
        }
        let id = program
            .attach(cgroup, CgroupAttachMode::Single)
            .map_err(&failed)?;
        let link = FdLink::try_from(program.take_link(id).map_err(&failed)?);
        self.pin(name, name, link)
    }

    /// Detaches what is pinned as `pin`; one that is gone already is fine.
    pub fn detach(&self, pin: &str) -> Result<(), Error> {
        if !self.has_tcx {
            remove_filter(pin)?;
        }
        self.pins.unpin_link(pin)
    }

    /// Detaches everything that is not in `used`: its device is gone, or is no uplink now, or a
    /// program of an earlier daemon has no successor. Also what daemons of other layouts left.
    pub fn retain(&self, used: &BTreeSet<String>) -> Result<(), Error> {
        for pin in self.pins.all_link_names()? {
            if !used.contains(&pin) {
                self.detach(&pin)?;
            }
        }
        Ok(())
    }

    /// Detaches all that any daemon pinned under `base`, and removes the pins.
    pub fn remove_all(base: &Path) -> Result<(), Error> {
        Self::probe(&Pins::at(base)).retain(&BTreeSet::new())?;
        Pins::remove_all(base)
    }

    /// Puts a program into the link that is pinned as `pin`, under whatever layout. `false` when
    /// there is none, or only one whose device is gone.
    fn adopt(&self, program: &ProgramFd, pin: &str) -> Result<bool, Error> {
        for path in self.pins.links_named(pin)? {
            let adopt = || format!("take over link {}", path.display());
            let link = kernel::open_pin(&path).map_err(Error::io(adopt()))?;
            match kernel::update_link(link.as_fd(), program.as_fd()) {
                Ok(()) => {
                    self.pins.claim_link(&path, pin)?;
                    return Ok(true);
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => {
                    Pins::unpin(&path)?;
                }
                Err(error) => return Err(Error::io(adopt())(error)),
            }
        }
        Ok(false)
    }

    fn pin(&self, name: &str, pin: &str, link: Result<FdLink, LinkError>) -> Result<(), Error> {
        let program = || name.to_owned();
        let link = link.map_err(|source| Error::Link {
            program: program(),
            source,
        })?;
        link.pin(self.pins.link(pin))
            .map(drop)
            .map_err(|source| Error::Pin {
                program: program(),
                source,
            })
    }

    /// The way of kernels without tcx. The note comes first, so that no filter goes without one.
    fn attach_filter(
        &self,
        program: &mut SchedClassifier,
        name: &'static str,
        pin: &str,
        device: &str,
    ) -> Result<(), Error> {
        let failed = attach_failed(name);
        self.pins.unpin_link(pin)?;
        program
            .pin(self.pins.link(pin))
            .map_err(|source| Error::Pin {
                program: name.to_owned(),
                source,
            })?;
        let replaced = filter(device).and_then(|filter| program.attach_to_link(filter));
        let id = match replaced {
            Err(error) if is_nothing(&error) => add_filter(program, device),
            other => other,
        };
        let link = id.and_then(|id| program.take_link(id)).map_err(failed)?;
        // Dropping it would remove the filter.
        std::mem::forget(link);
        Ok(())
    }
}

/// Name of the pin of a program on a device. By index, because a device may be renamed.
pub(crate) fn pin_name(program: &str, device: u32) -> String {
    format!("{program}-{device}")
}

/// Whether programs are attached to devices through links that can be pinned. Kernels that do not
/// know such links refuse the question itself.
pub(crate) fn has_tcx() -> bool {
    match SchedClassifier::query_tcx("lo", TcAttachType::Ingress) {
        Ok(_) => true,
        // Linux 6.6 has no better answer where nothing is attached.
        Err(ProgramError::SyscallError(error)) => {
            error.io_error.raw_os_error() == Some(libc::ENOENT)
        }
        Err(_) => false,
    }
}

/// Our filter on a device, whether it is there or not.
fn filter(device: &str) -> Result<SchedClassifierLink, ProgramError> {
    SchedClassifierLink::attached(device, TcAttachType::Ingress, PRIORITY, HANDLE, None)
        .map_err(ProgramError::IOError)
}

fn add_filter(
    program: &mut SchedClassifier,
    device: &str,
) -> Result<tc::SchedClassifierLinkId, ProgramError> {
    match tc::qdisc_add_clsact(device) {
        Err(TcError::NetlinkError(error)) if error.raw_os_error() == Some(libc::EEXIST) => {}
        other => other?,
    }
    let options = NlOptions {
        priority: PRIORITY,
        handle: HANDLE,
        classid: None,
    };
    let options = TcAttachOptions::Netlink(options);
    program.attach_with_options(device, TcAttachType::Ingress, options)
}

/// Removes our filter from the device that the name of a pin tells; one that is gone is fine.
fn remove_filter(pin: &str) -> Result<(), Error> {
    let device = pin
        .rsplit_once('-')
        .and_then(|(program, index)| Some((program, index.parse().ok()?)));
    let Some((program, index)) = device else {
        return Ok(());
    };
    let Ok(name) = if_indextoname(index) else {
        return Ok(());
    };
    let removed = filter(&name.to_string_lossy()).and_then(|filter| filter.detach());
    match removed {
        Err(error) if !is_nothing(&error) => Err(Error::Program {
            action: "detach",
            program: program.to_owned(),
            source: error,
        }),
        _ => Ok(()),
    }
}

/// Whether the kernel said that there is no such filter, queueing discipline or device.
fn is_nothing(error: &ProgramError) -> bool {
    let code = if let ProgramError::NetlinkError(error)
    | ProgramError::TcError(TcError::NetlinkError(error)) = error
    {
        error.raw_os_error()
    } else if let ProgramError::IOError(error) = error {
        error.raw_os_error()
    } else {
        None
    };
    matches!(code, Some(libc::ENOENT | libc::EINVAL | libc::ENODEV))
}

fn attach_failed(name: &'static str) -> impl Fn(ProgramError) -> Error {
    move |source| Error::Program {
        action: "attach",
        program: name.to_owned(),
        source,
    }
}

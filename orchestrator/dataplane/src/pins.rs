//! The directory of pins, which keeps maps and links alive while no daemon runs.
//!
//! ```text
//! <bpf-dir>/v<layout>/maps/<MAP>        one per map of the BPF object
//! <bpf-dir>/v<layout>/links/<hook>      one per attached program
//! ```
//!
//! The layout's number changes with the layout of a map, so that a new daemon never reads an old
//! map wrongly; what an older or newer daemon pinned is removed once ours is in charge.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use aya::maps::{MapInfo, MapType};
use aya_obj::Object;
use orch_ebpf_common::LAYOUT_VERSION;

use crate::{Error, mounts};

/// Pins of one host under one layout.
#[derive(Debug, Clone)]
pub(crate) struct Pins {
    base: PathBuf,
    layout: PathBuf,
}

impl Pins {
    /// Makes the directories under `base`, and mounts a BPF file system if none is there.
    pub fn open(base: &Path) -> Result<Self, Error> {
        mounts::ensure_bpf_fs(base)?;
        let pins = Self::at(base);
        for dir in [pins.maps(), pins.links()] {
            fs::create_dir_all(&dir).map_err(Error::io(format!("create {}", dir.display())))?;
        }
        Ok(pins)
    }

    fn at(base: &Path) -> Self {
        Self {
            base: base.to_owned(),
            layout: base.join(format!("v{LAYOUT_VERSION}")),
        }
    }

    /// Where maps are pinned.
    pub fn maps(&self) -> PathBuf {
        self.layout.join("maps")
    }

    /// Where links are pinned.
    pub fn links(&self) -> PathBuf {
        self.layout.join("links")
    }

    /// Where the link `name` is pinned.
    pub fn link(&self, name: &str) -> PathBuf {
        self.links().join(name)
    }

    /// Names of the pinned links.
    pub fn link_names(&self) -> Result<Vec<String>, Error> {
        entries(&self.links())
    }

    /// Whether an earlier daemon left links, under whatever layout.
    pub fn any_links(&self) -> Result<bool, Error> {
        for layout in entries(&self.base)? {
            if !entries(&self.base.join(layout).join("links"))?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes a link's pin, which detaches it; one that is gone already is fine.
    pub fn unpin_link(&self, name: &str) -> Result<(), Error> {
        unpin(&self.link(name))
    }

    /// Removes the pins of maps that the programs of `object` cannot use as they are.
    ///
    /// Maps refer to each other, so one that differs takes all others with it. Their content is
    /// a copy of what the daemon knows, except for the established flows, which are lost.
    pub fn drop_unusable_maps(&self, object: &Object) -> Result<(), Error> {
        let dir = self.maps();
        let mut differs = false;
        for name in entries(&dir)? {
            let usable = match object.maps.get(&name) {
                Some(wanted) => same_layout(&dir.join(&name), wanted)?,
                None => false,
            };
            if !usable {
                tracing::warn!(
                    map = name,
                    "a pinned map has another layout; starting afresh"
                );
                differs = true;
            }
        }
        if differs {
            for name in entries(&dir)? {
                unpin(&dir.join(name))?;
            }
        }
        Ok(())
    }

    /// Removes what daemons with another layout pinned.
    pub fn remove_other_layouts(&self) -> Result<(), Error> {
        for name in entries(&self.base)? {
            let path = self.base.join(&name);
            if path != self.layout && name.starts_with('v') {
                tracing::info!(path = %path.display(), "removing the pins of another version");
                remove_tree(&path)?;
            }
        }
        Ok(())
    }

    /// Removes every pin under `base`, of whatever layout, and `base` itself.
    pub fn remove_all(base: &Path) -> Result<(), Error> {
        remove_tree(base)
    }
}

/// Whether the map pinned at `path` is what `wanted` describes.
fn same_layout(path: &Path, wanted: &aya_obj::Map) -> Result<bool, Error> {
    let info = MapInfo::from_pin(path).map_err(Error::map("read pinned", "info"))?;
    let kind = info.map_type().map_err(Error::map("read pinned", "info"))?;
    if kind as u32 != wanted.map_type() || info.map_flags() != wanted.map_flags() {
        return Ok(false);
    }
    // The loader rounds a ring buffer's size up to pages; it has no keys and values.
    let ring = kind == MapType::RingBuf;
    Ok(ring
        || (info.key_size() == wanted.key_size()
            && info.value_size() == wanted.value_size()
            && info.max_entries() == wanted.max_entries()))
}

/// Names of the entries of a directory; none when it is not there.
fn entries(dir: &Path) -> Result<Vec<String>, Error> {
    let list = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(Error::io(format!("list {}", dir.display())))?,
    };
    list.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_, _>>()
        .map_err(Error::io(format!("list {}", dir.display())))
}

fn unpin(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::io(format!("remove {}", path.display()))(error))
        }
        _ => Ok(()),
    }
}

fn remove_tree(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::io(format!("remove {}", path.display()))(error))
        }
        _ => Ok(()),
    }
}

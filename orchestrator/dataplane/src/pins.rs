//! The directory of pins, which keeps maps and links alive while no daemon runs.
//!
//! ```text
//! <bpf-dir>/v<layout>/maps/<MAP>        one per map of the BPF object
//! <bpf-dir>/v<layout>/links/<hook>      one per attached program
//! ```
//!
//! The layout's number changes with the layout of a map, so that a new daemon never reads an old
//! map wrongly. What an older or newer daemon pinned is removed once ours is in charge and has
//! carried over what it needs; so is `v<layout>-<n>`, where maps of another size are put aside.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use aya::maps::{MapInfo, MapType};
use aya_obj::Object;
use orch_ebpf_common::LAYOUT_VERSION;

use crate::{Error, mounts};

/// Directory of the maps in the one of a layout.
const MAPS: &str = "maps";
/// The same of the links.
const LINKS: &str = "links";

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
        pins.make()?;
        Ok(pins)
    }

    /// The pins under `base`, whether they are there or not.
    pub fn at(base: &Path) -> Self {
        Self {
            base: base.to_owned(),
            layout: base.join(format!("v{LAYOUT_VERSION}")),
        }
    }

    /// Where maps are pinned.
    pub fn maps(&self) -> PathBuf {
        self.layout.join(MAPS)
    }

    /// Where links are pinned.
    pub fn links(&self) -> PathBuf {
        self.layout.join(LINKS)
    }

    /// Where the link `name` is pinned.
    pub fn link(&self, name: &str) -> PathBuf {
        self.links().join(name)
    }

    /// Names of the pinned links, under whatever layout.
    pub fn all_link_names(&self) -> Result<BTreeSet<String>, Error> {
        let mut names = BTreeSet::new();
        for layout in self.layouts()? {
            names.extend(entries(&layout.join(LINKS))?);
        }
        Ok(names)
    }

    /// Where links of this name are pinned: first under our layout, then under others.
    pub fn links_named(&self, name: &str) -> Result<Vec<PathBuf>, Error> {
        let others = self.other_layouts()?;
        let layouts = [self.layout.clone()].into_iter().chain(others);
        let paths = layouts.map(|layout| layout.join(LINKS).join(name));
        Ok(paths.filter(|path| path.exists()).collect())
    }

    /// Makes a pin that [`Self::links_named`] found the one of our layout.
    pub fn claim_link(&self, found: &Path, name: &str) -> Result<(), Error> {
        let ours = self.link(name);
        if found == ours {
            return Ok(());
        }
        fs::rename(found, &ours).map_err(Error::io(format!("move pin {}", found.display())))
    }

    /// Removes a link's pin under every layout; one that is gone already is fine.
    pub fn unpin_link(&self, name: &str) -> Result<(), Error> {
        for path in self.links_named(name)? {
            Self::unpin(&path)?;
        }
        Ok(())
    }

    /// The directories of all layouts.
    fn layouts(&self) -> Result<Vec<PathBuf>, Error> {
        let names = entries(&self.base)?;
        let layouts = names.iter().filter(|name| name.starts_with('v'));
        Ok(layouts.map(|name| self.base.join(name)).collect())
    }

    /// The directories that daemons with other maps made.
    fn other_layouts(&self) -> Result<Vec<PathBuf>, Error> {
        let mut layouts = self.layouts()?;
        layouts.retain(|layout| *layout != self.layout);
        Ok(layouts)
    }

    /// Puts everything that is pinned under our layout aside, as if it were another one, if the
    /// programs of `object` cannot use the maps as they are.
    ///
    /// Maps refer to each other, so one that differs takes all others with it. Their content is
    /// a copy of what the daemon knows, except for the conversations, which can be carried over.
    pub fn set_unusable_maps_aside(&self, object: &Object) -> Result<(), Error> {
        let dir = self.maps();
        for name in entries(&dir)? {
            let usable = match object.maps.get(&name) {
                Some(wanted) => same_layout(&dir.join(&name), wanted)?,
                None => false,
            };
            if !usable {
                tracing::info!(
                    map = name,
                    "a pinned map is laid out differently; making anew"
                );
                return self.set_aside();
            }
        }
        Ok(())
    }

    fn set_aside(&self) -> Result<(), Error> {
        let mut number = 0;
        let aside = loop {
            let aside = self.base.join(format!("v{LAYOUT_VERSION}-{number}"));
            if !aside.exists() {
                break aside;
            }
            number += 1;
        };
        fs::rename(&self.layout, aside)
            .map_err(Error::io(format!("move {}", self.layout.display())))?;
        self.make()
    }

    fn make(&self) -> Result<(), Error> {
        for dir in [self.maps(), self.links()] {
            fs::create_dir_all(&dir).map_err(Error::io(format!("create {}", dir.display())))?;
        }
        Ok(())
    }

    /// Where daemons with other maps pinned theirs.
    pub fn other_maps(&self) -> Result<Vec<PathBuf>, Error> {
        let others = self.other_layouts()?.into_iter();
        Ok(others.map(|layout| layout.join(MAPS)).collect())
    }

    /// Removes what daemons with another layout pinned.
    pub fn remove_other_layouts(&self) -> Result<(), Error> {
        for path in self.other_layouts()? {
            tracing::info!(path = %path.display(), "removing the pins of another version");
            remove_tree(&path)?;
        }
        Ok(())
    }

    /// Removes a pin; one that is gone already is fine.
    pub fn unpin(path: &Path) -> Result<(), Error> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::io(format!("remove {}", path.display()))(error))
            }
            _ => Ok(()),
        }
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

fn remove_tree(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::io(format!("remove {}", path.display()))(error))
        }
        _ => Ok(()),
    }
}

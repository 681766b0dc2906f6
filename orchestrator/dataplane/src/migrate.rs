//! Carries conversations over from the maps of an earlier daemon, which had another layout or
//! another size, to ours. All other content of the maps is the daemon's to write anew.
//!
//! The old maps are in use until the last device has our programs, so that this is done twice:
//! before the programs change places, and once more afterwards for what began in between. What is
//! in our maps already is never overwritten.

use std::io::ErrorKind;
use std::mem::{offset_of, size_of};
use std::path::Path;

use aya::Pod;
use aya::maps::{HashMap, MapData, MapError, MapInfo};
use aya_obj::generated::BPF_NOEXIST;
use orch_ebpf_common::{Affinity, AffinityKey, Flow, FlowKey, OriginalDestination, SocketKey};

use crate::Error;
use crate::flows::pinned;

/// Bytes of a flow.
const FLOW: usize = size_of::<Flow>();
/// Bytes of a flow in layout 1: everything before the fields that layout 2 added at the end. What
/// are flags now was zero. Its key was the same, with three zeros at the end.
const FLOW_1: usize = offset_of!(Flow, service);
const LAST_SEEN: usize = offset_of!(Flow, last_seen);
const OPENED: usize = offset_of!(Flow, opened);

const _: () = assert!(
    FLOW_1 == 68 && LAST_SEEN == 60,
    "layout 1 is no longer a beginning"
);

/// Carries the conversations of the maps that are pinned in `from` over to those in `to`. Returns
/// how many entries it added.
pub(crate) fn carry(from: &Path, to: &Path) -> Result<usize, Error> {
    let mut carried = 0;
    if has::<FlowKey, [u8; FLOW_1]>(from, "FLOWS")? {
        carried += copy::<FlowKey, _, _>(from, to, "FLOWS", from_layout_1, last_seen)?;
    } else {
        carried += copy_equal::<FlowKey, [u8; FLOW]>(from, to, "FLOWS", last_seen)?;
    }
    carried += copy_equal::<FlowKey, [u8; FLOW]>(from, to, "OPENING", last_seen)?;
    carried += copy_equal::<AffinityKey, Affinity>(from, to, "AFFINITY", |_| 0)?;
    carried +=
        copy_equal::<SocketKey, OriginalDestination>(from, to, "ORIGINAL_DESTINATIONS", |_| 0)?;
    Ok(carried)
}

/// A flow of layout 1 in ours. When it began is not known; nor is its service, so that its packets
/// are not counted for one.
fn from_layout_1(old: [u8; FLOW_1]) -> [u8; FLOW] {
    let mut new = [0; FLOW];
    new[..FLOW_1].copy_from_slice(&old);
    new[OPENED..OPENED + 4].copy_from_slice(&old[LAST_SEEN..LAST_SEEN + 4]);
    new
}

fn last_seen(flow: &[u8; FLOW]) -> u32 {
    let bytes = &flow[LAST_SEEN..LAST_SEEN + 4];
    bytes.try_into().map_or(0, u32::from_ne_bytes)
}

/// Whether there is a map with such keys and values.
fn has<K, V>(dir: &Path, map: &'static str) -> Result<bool, Error> {
    let path = dir.join(map);
    if !path.exists() {
        return Ok(false);
    }
    let info = MapInfo::from_pin(path).map_err(Error::map("read pinned", map))?;
    Ok(info.key_size() as usize == size_of::<K>() && info.value_size() as usize == size_of::<V>())
}

/// Copies a map whose layout did not change; one that had another layout then is left.
fn copy_equal<K: Pod, V: Pod>(
    from: &Path,
    to: &Path,
    map: &'static str,
    age: impl Fn(&V) -> u32,
) -> Result<usize, Error> {
    if !has::<K, V>(from, map)? {
        return Ok(0);
    }
    copy::<K, V, V>(from, to, map, |value| value, age)
}

/// Copies the entries that `to` lacks, those with the lowest `order` first: where not all of them
/// fit, they are what goes.
fn copy<K: Pod, V: Pod, W: Pod>(
    from: &Path,
    to: &Path,
    map: &'static str,
    convert: impl Fn(V) -> W,
    order: impl Fn(&W) -> u32,
) -> Result<usize, Error> {
    let source: HashMap<MapData, K, V> = pinned(from, map)?;
    let mut target: HashMap<MapData, K, W> = pinned(to, map)?;
    let info = MapInfo::from_pin(from.join(map)).map_err(Error::map("read pinned", map))?;
    // Its programs go on, and one that loses entries as fast as they are read has no end.
    let mut entries: Vec<(K, W)> = source
        .iter()
        .take(info.max_entries() as usize)
        .filter_map(Result::ok)
        .map(|(key, value)| (key, convert(value)))
        .collect();
    entries.sort_by_key(|(_, value)| order(value));
    let mut copied = 0;
    for (key, value) in entries {
        match target.insert(key, value, u64::from(BPF_NOEXIST)) {
            Ok(()) => copied += 1,
            Err(error) if is_there(&error) => {}
            Err(error) => return Err(Error::map("change", map)(error)),
        }
    }
    Ok(copied)
}

/// Whether the kernel refused an entry because there is one with its key.
fn is_there(error: &MapError) -> bool {
    matches!(error, MapError::SyscallError(error)
        if error.io_error.kind() == ErrorKind::AlreadyExists)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_of_layout_1_keeps_its_fields_and_began_when_it_was_last_seen() {
        let old: [u8; FLOW_1] = std::array::from_fn(|at| at as u8 + 1);
        let new = from_layout_1(old);
        assert_eq!(new[..FLOW_1], old);
        assert_eq!(last_seen(&new), u32::from_ne_bytes([61, 62, 63, 64]));
        assert_eq!(new[OPENED..OPENED + 4], [61, 62, 63, 64]);
        let rest = (FLOW_1..FLOW).filter(|at| !(OPENED..OPENED + 4).contains(at));
        assert!(rest.into_iter().all(|at| new[at] == 0), "{new:?}");
    }
}

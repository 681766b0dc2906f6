//! Where the kernel's file systems are mounted: cgroup2 and the BPF file system.

use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use crate::Error;

/// Where systems mount the BPF file system.
const BPF_FS: &str = "/sys/fs/bpf";

/// The root of the cgroup2 hierarchy, wherever this system has it.
pub(crate) fn cgroup2_root() -> Result<PathBuf, Error> {
    let path = "/proc/thread-self/mounts";
    let mounts = fs::read_to_string(path).map_err(Error::io(format!("read {path}")))?;
    mount_point(&mounts, "cgroup2").ok_or(Error::NoCgroup2)
}

/// Where the first file system of type `kind` is mounted, from the text of `/proc/mounts`.
fn mount_point(mounts: &str, kind: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let point = fields.next()?;
        (fields.next()? == kind).then(|| PathBuf::from(unescape(point)))
    })
}

/// Undoes the kernel's octal escapes of blanks and backslashes.
fn unescape(field: &str) -> String {
    let mut text = String::with_capacity(field.len());
    let mut rest = field;
    while let Some((plain, escaped)) = rest.split_once('\\') {
        text.push_str(plain);
        let code = escaped
            .get(..3)
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        if let Some(code) = code {
            text.push(char::from(code));
            rest = &escaped[3..];
        } else {
            text.push('\\');
            rest = escaped;
        }
    }
    text + rest
}

/// Makes `dir` a directory of a BPF file system, and mounts one when there is none.
pub(crate) fn ensure_bpf_fs(dir: &Path) -> Result<(), Error> {
    let usual = Path::new(BPF_FS);
    if dir.starts_with(usual) && !is_bpf_fs(usual) {
        mount_bpf_fs(usual)?;
    }
    let parent = dir
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or(usual)
        .to_owned();
    fs::create_dir_all(dir).map_err(Error::io(format!("create {}", dir.display())))?;
    if is_bpf_fs(&parent) {
        return Ok(());
    }
    mount_bpf_fs(dir)
}

/// Whether `path` is on a BPF file system.
pub(crate) fn is_bpf_fs(path: &Path) -> bool {
    statfs(path).is_ok_and(|stat| stat.filesystem_type() == BPF_FS_MAGIC)
}

fn mount_bpf_fs(path: &Path) -> Result<(), Error> {
    mount(
        Some("bpf"),
        path,
        Some("bpf"),
        MsFlags::empty(),
        None::<&str>,
    )
    .map_err(|error| {
        tracing::warn!(path = %path.display(), %error, "cannot mount a BPF file system");
        Error::NoBpfFs(path.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
sysfs /sys sysfs rw,nosuid,nodev,noexec,relatime 0 0
tmpfs /sys/fs/cgroup tmpfs rw,relatime,mode=755 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
";

    #[test]
    fn finds_cgroup2_beside_version_1() {
        let expected = PathBuf::from("/sys/fs/cgroup/unified");
        assert_eq!(mount_point(HYBRID, "cgroup2"), Some(expected));
    }

    #[test]
    fn finds_nothing_without_cgroup2() {
        let version_1 = HYBRID.replace("cgroup2", "cgroup");
        assert_eq!(mount_point(&version_1, "cgroup2"), None);
    }

    #[test]
    fn reads_escaped_blanks() {
        let mounts = "none /mnt/a\\040b\\134c cgroup2 rw 0 0\n";
        assert_eq!(
            mount_point(mounts, "cgroup2"),
            Some(PathBuf::from("/mnt/a b\\c"))
        );
    }

    #[test]
    fn keeps_a_backslash_that_escapes_nothing() {
        assert_eq!(unescape("a\\x"), "a\\x");
        assert_eq!(unescape("a\\"), "a\\");
    }
}

//! Image references as lists show them.

/// `docker.io/library/redis:7@sha256:...` → `redis:7`. A reference without a tag keeps its digest.
pub fn short_image(reference: &str) -> String {
    let (name, digest) = match reference.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (reference, None),
    };
    let familiar = name
        .strip_prefix("docker.io/library/")
        .or_else(|| name.strip_prefix("docker.io/"))
        .unwrap_or(name);
    let last = familiar.rsplit('/').next().unwrap_or_default();
    match digest {
        Some(digest) if !last.contains(':') => format!("{familiar}@{digest}"),
        _ => familiar.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_and_the_default_registry_are_left_out() {
        for (long, short) in [
            ("redis:7", "redis:7"),
            ("docker.io/library/redis:7@sha256:ab", "redis:7"),
            ("redis:7@sha256:ab", "redis:7"),
            ("redis@sha256:ab", "redis@sha256:ab"),
            (
                "127.0.0.1:5000/app@sha256:ab",
                "127.0.0.1:5000/app@sha256:ab",
            ),
            ("127.0.0.1:5000/app:1@sha256:ab", "127.0.0.1:5000/app:1"),
            ("docker.io/me/app:1", "me/app:1"),
        ] {
            assert_eq!(short_image(long), short);
        }
    }
}

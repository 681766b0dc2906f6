//! API versions: what this server speaks, and the version prefix of request paths.

use std::fmt;

use http::Uri;
use http::uri::PathAndQuery;

/// A version of the Engine API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion {
    major: u16,
    minor: u16,
}

impl ApiVersion {
    /// The newest version spoken here.
    pub const MAX: Self = Self {
        major: 1,
        minor: 51,
    };
    /// The oldest version spoken here.
    pub const MIN: Self = Self {
        major: 1,
        minor: 24,
    };

    /// Parses `1.51`.
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        let number = |digits: &str| {
            let all_digits = digits.bytes().all(|b| b.is_ascii_digit());
            if all_digits {
                digits.parse().ok()
            } else {
                None
            }
        };
        Some(Self {
            major: number(major)?,
            minor: number(minor)?,
        })
    }

    /// Whether requests of this version are answered; if not, Docker's words why.
    pub fn check(self) -> Result<(), String> {
        if self > Self::MAX {
            return Err(format!(
                "client version {self} is too new. Maximum supported API version is {}",
                Self::MAX
            ));
        }
        if self < Self::MIN {
            return Err(format!(
                "client version {self} is too old. Minimum supported API version is {}, please \
                 upgrade your client to a newer version",
                Self::MIN
            ));
        }
        Ok(())
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Splits `/v1.51/info` into its version and `/info`; other paths have no version.
pub fn split_path(path: &str) -> (Option<ApiVersion>, &str) {
    let versioned = path.strip_prefix("/v").and_then(|rest| {
        let end = rest.find('/')?;
        let (version, path) = rest.split_at(end);
        Some((ApiVersion::parse(version)?, path))
    });
    match versioned {
        Some((version, path)) => (Some(version), path),
        None => (None, path),
    }
}

/// `uri` with another path; its query stays.
pub fn with_path(uri: &Uri, path: &str) -> Result<Uri, http::Error> {
    let path_and_query = match uri.query() {
        Some(query) => format!("{path}?{query}").parse::<PathAndQuery>()?,
        None => path.parse::<PathAndQuery>()?,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path_and_query);
    Ok(Uri::from_parts(parts)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_split_from_paths() {
        let v = |text| ApiVersion::parse(text);
        assert_eq!(split_path("/v1.51/info"), (v("1.51"), "/info"));
        assert_eq!(
            split_path("/v1.24/services/create"),
            (v("1.24"), "/services/create")
        );
        assert_eq!(split_path("/info"), (None, "/info"));
        for path in [
            "/version",
            "/volumes",
            "/v1.51",
            "/v1.x/info",
            "/v/info",
            "/v+1.+5/info",
        ] {
            assert_eq!(split_path(path), (None, path));
        }
    }

    #[test]
    fn the_window_of_versions_is_dockers() {
        for good in ["1.24", "1.41", "1.51"] {
            assert_eq!(ApiVersion::parse(good).unwrap().check(), Ok(()));
        }
        assert_eq!(
            ApiVersion::parse("1.52").unwrap().check().unwrap_err(),
            "client version 1.52 is too new. Maximum supported API version is 1.51"
        );
        assert!(
            ApiVersion::parse("2.0")
                .unwrap()
                .check()
                .unwrap_err()
                .contains("too new")
        );
        assert!(
            ApiVersion::parse("1.9")
                .unwrap()
                .check()
                .unwrap_err()
                .contains("too old")
        );
    }

    #[test]
    fn a_new_path_keeps_the_query() {
        let uri: Uri = "/v1.51/tasks?filters=%7B%7D".parse().unwrap();
        assert_eq!(with_path(&uri, "/tasks").unwrap(), "/tasks?filters=%7B%7D");
    }
}

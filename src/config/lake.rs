//! Where the catalog's tables and volumes lie.

use std::path::Path;

use crate::access::Location;

/// The `[lake]` section.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LakeConfig {
    /// Where tables and volumes lie for which nobody chose a place: an absolute directory, or `s3://BUCKET/PATH`
    /// (`gs://`, `abfss://`). Without it, `{data_dir}/lake`, which serves one replica. Nobody can put anything else
    /// in it.
    pub root: Option<String>,
    /// Directories of this machine in which external locations may lie. None by default, so that whoever makes an
    /// external location cannot name this machine's own files.
    pub external_directories: Vec<String>,
    /// The role that temporary credentials of an S3 store are made from by `AssumeRole`
    /// (`arn:aws:iam::ACCOUNT:role/NAME`): it reads and writes what lies in the lake, and nothing else; Tracegate's own
    /// `AWS_…` credentials may assume it. Without it no credential is given to anybody.
    pub credentials_role: Option<String>,
    /// Where `AssumeRole` is called: the URL of a store's own security token service. That of AWS in the region of
    /// `AWS_REGION` if absent. Credentials pass through it: `http://` is for one on the same machine.
    pub credentials_endpoint: Option<String>,
    /// Seconds that a temporary credential is good for, 900 to 3600. It cannot be taken back before that.
    pub credentials_seconds: u32,
    /// Memory that all running statements may use together, in bytes. What does not fit ends with an error.
    pub query_memory_bytes: usize,
    /// Seconds that one statement may take.
    pub query_seconds: u64,
    /// Statements that may run at once on one replica.
    pub queries: usize,
    /// Of these, statements of one principal.
    pub queries_per_principal: usize,
    /// Rows after which the result of a statement is cut off.
    pub query_rows: u64,
    /// Bytes of results that a replica keeps for their callers.
    pub result_bytes: usize,
    /// Of these, results of one principal; its older ones go first. No result is larger.
    pub result_bytes_per_principal: usize,
    /// Seconds that results are kept since their statements began.
    pub result_seconds: u64,
    /// Records that `system.access.audit` shows. When there are more, it is not read at all.
    pub audit_rows: usize,
}

impl Default for LakeConfig {
    fn default() -> Self {
        Self {
            root: None,
            external_directories: Vec::new(),
            credentials_role: None,
            credentials_endpoint: None,
            credentials_seconds: 3600,
            query_memory_bytes: 1 << 30,
            query_seconds: 300,
            queries: 32,
            queries_per_principal: 8,
            query_rows: 10_000_000,
            result_bytes: 1 << 30,
            result_bytes_per_principal: 256 << 20,
            result_seconds: 3600,
            audit_rows: 100_000,
        }
    }
}

impl LakeConfig {
    pub fn validate(&self, problems: &mut Vec<String>) {
        if let Some(root) = &self.root
            && root.parse::<Location>().is_err()
            && Location::of_directory(Path::new(root)).is_none()
        {
            problems.push(
                "`lake.root` must be an absolute directory or a location such as `s3://BUCKET/PATH`"
                    .to_owned(),
            );
        }
        self.validate_credentials(problems);
        let limits = [
            ("query_seconds", self.query_seconds == 0),
            ("queries", self.queries == 0),
            ("queries_per_principal", self.queries_per_principal == 0),
            ("query_rows", self.query_rows == 0),
            ("result_bytes", self.result_bytes == 0),
            ("result_bytes_per_principal", self.result_bytes_per_principal == 0),
            ("result_seconds", self.result_seconds == 0),
            ("audit_rows", self.audit_rows == 0),
        ];
        for (key, _) in limits.into_iter().filter(|(_, is_none)| *is_none) {
            problems.push(format!("`lake.{key}` must be at least 1"));
        }
        for directory in &self.external_directories {
            if !directory.starts_with('/') || directory.parse::<Location>().is_err() {
                problems.push(format!(
                    "`lake.external_directories` has `{directory}`; name absolute directories, without `..` and special characters"
                ));
            }
        }
    }

    /// Where we put what nobody chose a place for.
    pub fn root(&self, data_dir: &Path) -> Option<Location> {
        match &self.root {
            Some(root) => root.parse().ok().or_else(|| Location::of_directory(Path::new(root))),
            None => Location::of_directory(&std::path::absolute(data_dir.join("lake")).ok()?),
        }
    }

    fn validate_credentials(&self, problems: &mut Vec<String>) {
        let role = |role: &String| {
            let parts: Vec<&str> = role.splitn(6, ':').collect();
            let plain = |c: char| c.is_ascii_alphanumeric() || ":/_+=,.@-".contains(c);
            matches!(parts.as_slice(), ["arn", _, "iam", "", _, name] if name.len() > 5 && name.starts_with("role/"))
                && role.chars().all(plain)
        };
        if self.credentials_role.as_ref().is_some_and(|one| !role(one)) {
            problems.push("`lake.credentials_role` must be `arn:aws:iam::ACCOUNT:role/NAME`".to_owned());
        }
        let endpoint = |url: &String| {
            let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
            // No `@`, `?` or `#`: neither a password nor a query.
            let plain = |c: char| c.is_ascii_alphanumeric() || ".-:[]/_~".contains(c);
            rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && rest.chars().all(plain))
        };
        if self.credentials_endpoint.as_ref().is_some_and(|one| !endpoint(one)) {
            problems.push(
                "`lake.credentials_endpoint` must be a URL such as `https://sts.example.com`".to_owned(),
            );
        }
        if !(900..=3600).contains(&self.credentials_seconds) {
            problems.push("`lake.credentials_seconds` must be between 900 and 3600".to_owned());
        }
    }

    /// The directory of this machine in which that is, if it is one.
    pub fn own_directory(&self, data_dir: &Path) -> Option<std::path::PathBuf> {
        let root = self.root(data_dir)?;
        Some(std::path::PathBuf::from(root.as_str().strip_prefix("file://")?))
    }

    /// Whether an external location may lie here, as far as this machine's files go.
    pub fn may_be_external(&self, location: &Location, data_dir: &Path) -> bool {
        let own = std::path::absolute(data_dir).ok().and_then(|directory| Location::of_directory(&directory));
        let ours = [self.root(data_dir), own];
        if ours.iter().any(|ours| ours.as_ref().is_none_or(|ours| location.overlaps(ours))) {
            return false;
        }
        let directories = self.external_directories.iter().filter_map(|path| path.parse::<Location>().ok());
        !location.is_local() || directories.into_iter().any(|directory| location.lies_in(&directory))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_values_are_reported_by_key() {
        let config = LakeConfig {
            root: Some("lake".to_owned()),
            external_directories: ["/", "data", "/srv/../etc", "/srv/data"].map(str::to_owned).into(),
            ..LakeConfig::default()
        };
        let mut problems = Vec::new();
        config.validate(&mut problems);
        assert_eq!(problems.len(), 4, "{problems:?}");
    }

    #[test]
    fn what_credentials_are_made_from_is_checked() {
        let problems = |role: &str, endpoint: &str, seconds: u32| {
            let config = LakeConfig {
                credentials_role: Some(role.to_owned()),
                credentials_endpoint: Some(endpoint.to_owned()),
                credentials_seconds: seconds,
                ..LakeConfig::default()
            };
            let mut problems = Vec::new();
            config.validate(&mut problems);
            problems.len()
        };
        let role = "arn:aws:iam::123456789012:role/lake";
        assert_eq!(problems(role, "https://sts.example.com", 900), 0);
        assert_eq!(problems("arn:aws-cn:iam::1:role/a/b", "http://127.0.0.1:9000/", 3600), 0);
        for bad in ["", "lake", "arn:aws:iam::1:user/lake", "arn:aws:iam::1:role/", "arn:aws:iam::1:role/a b"]
        {
            assert_eq!(problems(bad, "https://sts.example.com", 900), 1, "{bad}");
        }
        for bad in ["", "sts.example.com", "ftp://x", "https://a:b@x", "https://x/?y"] {
            assert_eq!(problems(role, bad, 900), 1, "{bad}");
        }
        assert_eq!((problems(role, "https://x", 899), problems(role, "https://x", 3601)), (1, 1));
    }

    #[test]
    fn external_locations_keep_off_our_own_files() {
        let data = Path::new("/var/lib/tracegate");
        let mut config = LakeConfig::default();
        let may = |config: &LakeConfig, text: &str| config.may_be_external(&text.parse().unwrap(), data);
        assert_eq!(config.root(data).unwrap().as_str(), "file:///var/lib/tracegate/lake");
        assert!(may(&config, "s3://bucket/x") && !may(&config, "/srv/data") && !may(&config, "/etc"));
        config.external_directories = ["/srv/data", "/var/lib"].map(str::to_owned).into();
        assert!(may(&config, "/srv/data/x") && !may(&config, "/srv/database"));
        for ours in
            ["/var/lib/tracegate/lake/x", "/var/lib/tracegate", "/var/lib", "/var/lib/tracegate/audit"]
        {
            assert!(!may(&config, ours), "{ours}");
        }
        config.root = Some("s3://bucket/lake".to_owned());
        assert!(
            !may(&config, "s3://bucket/lake/x")
                && !may(&config, "S3A://Bucket")
                && may(&config, "s3://bucket/y")
        );
    }
}

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::*;

/// A time at which all certificates here are valid.
const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

fn pair(name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

struct Files {
    directory: tempfile::TempDir,
    settings: ServerConfig,
}

impl Files {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let settings = ServerConfig {
            tls_certificate: Some(directory.path().join("certificate.pem")),
            tls_key: Some(directory.path().join("key.pem")),
            ..ServerConfig::default()
        };
        Self { directory, settings }
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.directory.path().join(name), text).unwrap();
    }

    fn with((certificate, key): &(String, String)) -> Self {
        let files = Self::new();
        files.write("certificate.pem", certificate);
        files.write("key.pem", key);
        files
    }

    fn open(&self) -> Result<Option<Tls>, String> {
        Tls::open(&self.settings, NOW)
    }
}

#[test]
fn what_is_no_good_refuses_the_start_and_never_says_what_a_key_file_holds() {
    let (good, other) = (pair("a.example"), pair("b.example"));
    assert!(Files::with(&good).open().unwrap().is_some());
    assert!(Tls::open(&ServerConfig::default(), NOW).unwrap().is_none());
    assert!(Files::new().open().unwrap_err().contains("server.tls_certificate"));
    for (certificate, key, named) in [
        (&good.0, &other.1, "tls_key"),
        (&good.0, &"not a key: hunter2".to_owned(), "tls_key"),
        (&good.0, &good.0, "tls_key"),
        (&String::new(), &good.1, "tls_certificate"),
        (&good.1, &good.1, "tls_certificate"),
        (&good.0.replace('A', "B"), &good.1, "tls_certificate"),
    ] {
        let refused = Files::with(&(certificate.clone(), key.clone())).open().unwrap_err();
        assert!(refused.contains(named) && !refused.contains("hunter2"), "{refused}");
    }
    let late = UnixMillis(i64::MAX / 2);
    assert!(Tls::open(&Files::with(&good).settings, late).unwrap_err().contains("expired"));
    assert!(Tls::open(&Files::with(&good).settings, UnixMillis(-1_000_000_000_000_000)).is_err());
}

#[test]
fn a_change_is_taken_and_a_bad_one_leaves_what_was() {
    let (first, second) = (pair("a.example"), pair("b.example"));
    let files = Files::with(&first);
    let tls = files.open().unwrap().unwrap();
    let before = tls.current();
    assert!(!tls.reload(NOW).unwrap(), "nothing changed");
    assert!(Arc::ptr_eq(&before, &tls.current()));
    // Half of a rotation: the certificate is there, its key is not yet.
    files.write("certificate.pem", &second.0);
    assert!(tls.reload(NOW).unwrap_err().contains("tls_key"));
    assert!(Arc::ptr_eq(&before, &tls.current()));
    std::fs::remove_file(files.directory.path().join("key.pem")).unwrap();
    assert!(tls.reload(NOW).is_err());
    assert!(Arc::ptr_eq(&before, &tls.current()));
    files.write("key.pem", &second.1);
    assert!(tls.reload(NOW).unwrap());
    assert!(!Arc::ptr_eq(&before, &tls.current()));
}

/// As a kubelet does it: the files are links through `..data`, a link to a directory that is swapped whole.
#[test]
fn a_directory_that_is_swapped_by_its_link_is_read_anew() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let publish = |number: u32, (certificate, key): &(String, String)| {
        let version = format!("..version_{number}");
        std::fs::create_dir(root.join(&version)).unwrap();
        std::fs::write(root.join(&version).join("tls.crt"), certificate).unwrap();
        std::fs::write(root.join(&version).join("tls.key"), key).unwrap();
        std::os::unix::fs::symlink(&version, root.join("..data_tmp")).unwrap();
        std::fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    };
    let (first, second) = (pair("a.example"), pair("b.example"));
    publish(1, &first);
    for name in ["tls.crt", "tls.key"] {
        std::os::unix::fs::symlink(format!("..data/{name}"), root.join(name)).unwrap();
    }
    let settings = ServerConfig {
        tls_certificate: Some(root.join("tls.crt")),
        tls_key: Some(root.join("tls.key")),
        ..ServerConfig::default()
    };
    let tls = Tls::open(&settings, NOW).unwrap().unwrap();
    let before = tls.current();
    publish(2, &second);
    std::fs::remove_dir_all(root.join("..version_1")).unwrap();
    assert!(tls.reload(NOW).unwrap());
    assert!(!Arc::ptr_eq(&before, &tls.current()));
    assert!(!tls.reload(NOW).unwrap(), "nothing changed since");
    // A swap to what is no good leaves what is in use.
    publish(3, &(first.0, second.1));
    assert!(tls.reload(NOW).unwrap_err().contains("tls_key"));
}

#[test]
fn a_certificate_whose_authority_was_taken_away_no_longer_counts() {
    let authority = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        (pem, Issuer::new(params, key))
    };
    let ((old_pem, old), (new_pem, _)) = (authority("old"), authority("new"));
    let client_key = KeyPair::generate().unwrap();
    let client = CertificateParams::new(vec!["agent.example".to_owned()])
        .unwrap()
        .signed_by(&client_key, &old)
        .unwrap();
    let mut files = Files::with(&pair("a.example"));
    files.settings.tls_client_ca = Some(files.directory.path().join("ca.pem"));
    files.write("ca.pem", &old_pem);
    let tls = files.open().unwrap().unwrap();
    let chain = [client.der().clone()];
    let presented = Tls::presented(&tls.current(), Some(&chain)).unwrap().unwrap();
    assert_eq!(presented.certificate.dns, ["agent.example"]);
    assert!(tls.still_trusts(&presented, NOW));
    files.write("ca.pem", &format!("{old_pem}{new_pem}"));
    assert!(tls.reload(NOW).unwrap() && tls.still_trusts(&presented, NOW), "another one joined");
    files.write("ca.pem", &new_pem);
    assert!(tls.reload(NOW).unwrap() && !tls.still_trusts(&presented, NOW));
    assert!(Tls::presented(&tls.current(), None).unwrap().is_none());
    assert!(Tls::presented(&tls.current(), Some(&[CertificateDer::from(vec![1, 2, 3])])).is_err());
}

#[test]
fn with_client_certificates_no_session_is_resumed() {
    let mut files = Files::with(&pair("a.example"));
    assert_eq!(files.open().unwrap().unwrap().current().config.send_tls13_tickets, 2);
    files.settings.tls_client_ca = Some(files.directory.path().join("ca.pem"));
    files.write("ca.pem", &pair("ca").0);
    let config = files.open().unwrap().unwrap().current().config.clone();
    assert_eq!(config.send_tls13_tickets, 0);
    assert!(!config.session_storage.can_cache());
    assert!(!config.ticketer.enabled());
    assert_eq!(config.max_early_data_size, 0);
}

//! An authority that signs certificates for tests, as files in PEM.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};

/// An authority with its folder of certificates.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

impl Authority {
    /// Makes an authority whose files go into `folder`, each with `name` before it.
    pub fn new(folder: &Path, name: &str) -> Self {
        let mut parameters = CertificateParams::new(Vec::<String>::new()).expect("parameters");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, format!("{name} authority"));
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(parameters, key).expect("an authority");
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("ca.crt"), issuer.pem()).expect("written");
        Self { issuer, folder }
    }

    /// The authority's own certificate.
    pub fn certificate(&self) -> String {
        self.path("ca.crt")
    }

    /// Makes a certificate for servers on this machine and its key; gives their files. Those before it are replaced.
    pub fn server(&self) -> (String, String) {
        self.sign("server", &["localhost", "127.0.0.1"], ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// The same for a client of that name.
    pub fn client(&self, name: &str) -> (String, String) {
        self.sign(name, &[], ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(&self, name: &str, hosts: &[&str], usage: ExtendedKeyUsagePurpose) -> (String, String) {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut parameters = CertificateParams::new(hosts).expect("names");
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.extended_key_usages.push(usage);
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.signed_by(&key, &self.issuer).expect("signed");
        let (certificate_file, key_file) = (self.path(&format!("{name}.crt")), self.path(&format!("{name}.key")));
        std::fs::write(&certificate_file, certificate.pem()).expect("written");
        std::fs::write(&key_file, key.serialize_pem()).expect("written");
        // libpq takes no key that others may read.
        std::fs::set_permissions(&key_file, Permissions::from_mode(0o600)).expect("permissions");
        (certificate_file, key_file)
    }

    fn path(&self, file: &str) -> String {
        self.folder.join(file).to_str().expect("UTF-8").to_owned()
    }
}

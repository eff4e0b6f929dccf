//! Whose certificates a client of ours takes: those of the authorities in one file, which is named or the system's.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::error::{Error, Result};

/// Where systems keep the authorities that they trust; the variable is OpenSSL's.
const SYSTEM_VARIABLE: &str = "SSL_CERT_FILE";
const SYSTEM_FILES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// The authorities of a file, or those that the system trusts.
pub fn roots(authority: Option<&Path>) -> Result<RootCertStore> {
    let path = match authority {
        Some(path) => path.to_owned(),
        None => system_file().ok_or_else(|| Error::bad_input("there is no file of authorities to trust"))?,
    };
    let unusable =
        |why: String| Error::bad_input(format!("the authorities in {} cannot be used: {why}", path.display()));
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(&path).map_err(|error| unusable(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        let added = roots.add(certificate);
        // A system's list may hold what this program does not know; a file that was named may not.
        if let (Err(error), Some(_)) = (added, authority) {
            return Err(unusable(error.to_string()));
        }
    }
    if roots.is_empty() { Err(unusable("it holds none in PEM".to_owned())) } else { Ok(roots) }
}

fn system_file() -> Option<PathBuf> {
    let named = std::env::var_os(SYSTEM_VARIABLE).map(PathBuf::from);
    named.or_else(|| SYSTEM_FILES.iter().map(PathBuf::from).find(|path| path.is_file()))
}

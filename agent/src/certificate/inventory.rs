//! The content of the vault, and the changes that a person may make to it: the verbs of `spothost vault`.

use std::{fs, path::Path};

use serde::Serialize;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::{
    Certifier, Vault,
    document::{Issued, Parsed, VaultDocument},
    due::Due,
    plan::{Holding, judged},
    vault::Reading,
};
use crate::{
    atomic_file::AtomicFile,
    aws::secret::Swapped,
    clock::{self, moment},
    fault::Fault,
    place::Name,
};

/// The content of the vault, without its secrets.
#[derive(Clone, Debug, Serialize)]
pub struct Inventory {
    /// The version that is current; none when the vault is empty.
    pub version: Option<String>,
    /// The damage of the document, if there is any.
    pub damage: Option<String>,
    /// The certificate.
    pub certificate: Option<CertificateSummary>,
    /// The certificate of the version before.
    pub before: Option<CertificateSummary>,
    /// URLs of the accounts at CAs.
    pub accounts: Vec<String>,
    /// URL of the order under way.
    pub order: Option<String>,
    /// By how many seconds the clock of this host is behind what AWS says.
    pub clock_behind: i64,
}

/// A certificate, without its key.
#[derive(Clone, Debug, Serialize)]
pub struct CertificateSummary {
    /// The names it is for; empty when it cannot be used.
    pub names: Vec<Name>,
    /// From when on it is valid.
    #[serde(with = "time::serde::rfc3339::option")]
    pub from: Option<OffsetDateTime>,
    /// Until when.
    #[serde(with = "time::serde::rfc3339::option")]
    pub until: Option<OffsetDateTime>,
    /// URL of the directory of the CA that issued it.
    pub directory: String,
    /// Profile it was ordered with.
    pub profile: Option<String>,
    /// When the CA would like to renew it: the first instant and the last.
    pub renewal: Option<(String, String)>,
    /// Why it cannot be used, if it cannot.
    pub unusable: Option<String>,
}

/// One thing that was verified.
#[derive(Clone, Debug, Serialize)]
pub struct Verified {
    /// What should be.
    pub what: &'static str,
    /// Why it is not; nothing when it is.
    pub wrong: Option<String>,
}

impl Inventory {
    /// Looks into the vault.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn read(vault: &Vault) -> Result<Inventory, Fault> {
        let Reading { version, document, note, off } = vault.read().await?;
        let before = vault.before().await.and_then(|before| before.certificate.as_ref().map(CertificateSummary::of));
        Ok(Inventory {
            version,
            damage: note,
            certificate: document.certificate.as_ref().map(CertificateSummary::of),
            before,
            accounts: document.accounts.iter().map(|account| account.url().to_owned()).collect(),
            order: document.order.as_ref().map(|order| order.url.clone()),
            clock_behind: off.whole_seconds(),
        })
    }
}

impl CertificateSummary {
    fn of(issued: &Issued) -> CertificateSummary {
        let read = issued.read();
        let (certificate, unusable) = match read {
            Ok(certificate) => (Some(certificate), None),
            Err(why) => (None, Some(why)),
        };
        let life = certificate.as_ref().map(|certificate| certificate.life);
        CertificateSummary {
            names: certificate.map(|certificate| certificate.names).unwrap_or_default(),
            from: life.map(|life| life.not_before),
            until: life.map(|life| life.not_after),
            directory: issued.directory.clone(),
            profile: issued.profile.clone(),
            renewal: issued.renewal.as_ref().map(|window| (moment(window.start), moment(window.end))),
            unusable,
        }
    }
}

/// Verifies that the content of the vault would serve `names`.
///
/// # Errors
/// When it cannot be read.
pub async fn verify(vault: &Vault, names: Vec<Name>, certifier: &Certifier) -> Result<Vec<Verified>, Fault> {
    let Reading { document, note, off, .. } = vault.read().await?;
    let now = clock::now() + off;
    let wanted = certifier.wanted(names);
    let holding = document.certificate.as_ref().map_or(Holding::Nothing, Issued::holding);
    let usable = match &holding {
        Holding::Nothing => Some("there is none".to_owned()),
        Holding::Unusable(why) => Some(why.clone()),
        Holding::Leaf(_) => None,
    };
    let (missing, life) = match &holding {
        Holding::Leaf(leaf) => {
            let missing = wanted.names.iter().find(|name| !leaf.names.contains(name));
            let outside = if now < leaf.life.not_before {
                Some(format!("it is not before {}", moment(leaf.life.not_before)))
            } else if now >= leaf.life.not_after {
                Some(format!("it was until {}", moment(leaf.life.not_after)))
            } else {
                None
            };
            (missing.map(|name| format!("it is not for {name}")), outside)
        }
        _ => (usable.clone(), usable.clone()),
    };
    let due = match judged(&wanted, &document, &holding, now) {
        Due::Not(_) => None,
        Due::Soon(why) | Due::Now(why) => Some(why),
    };
    let before = vault.before().await.and_then(|before| before.certificate);
    let clock = (!off.is_zero()).then(|| format!("it is {} s behind what AWS says", off.whole_seconds()));
    let rows = [
        ("the document is whole", note),
        ("chain and key can be read and belong to each other", usable),
        ("the certificate covers all names", missing),
        ("it is valid now", life),
        ("it is not due", due),
        ("there is a version to go back to", before.is_none().then(|| "there is none".to_owned())),
        ("the clock of this host is right", clock),
    ];
    Ok(rows.into_iter().map(|(what, wrong)| Verified { what, wrong }).collect())
}

/// Makes the version before the current one again; until when its certificate is valid.
///
/// # Errors
/// When there is no intact version before this one and has a certificate; what the vault refuses.
pub async fn roll_back(vault: &Vault) -> Result<String, Fault> {
    const DOING: &str = "going back to the previous version";
    let none = || {
        Fault::operator(DOING, "there is no intact previous version", "bring a certificate in: spothost vault import")
    };
    let before = vault.before().await.ok_or_else(none)?;
    let read = before.certificate.as_ref().ok_or_else(none)?.read();
    let until = read.map_err(|why| Fault::operator(DOING, why, "bring a certificate in: spothost vault import"))?;
    let (stored, _) = vault.stored().await?;
    // What was tried at the CAs meanwhile was tried, whatever is gone back to.
    let document = match stored.as_ref().map(|stored| VaultDocument::parse(&stored.text)) {
        Some(Parsed::Whole(now)) => before.with_the_past_of(&now),
        _ => before,
    };
    swap(vault, stored.as_ref().map(|stored| stored.version.as_str()), &document).await?;
    Ok(moment(until.life.not_after))
}

/// Forgets the order under way; its URL, if there was one.
///
/// # Errors
/// What the vault refuses.
pub async fn forget_order(vault: &Vault) -> Result<Option<String>, Fault> {
    let Reading { version, mut document, .. } = vault.read().await?;
    let Some(order) = document.order.take() else { return Ok(None) };
    swap(vault, version.as_deref(), &document).await?;
    Ok(Some(order.url))
}

/// Stores the chain and key in these PEM files, if they are usable for `names`; until when they are valid.
///
/// # Errors
/// Files that cannot be read or do not belong to each other; names that are missing; what the vault refuses.
pub async fn import(
    vault: &Vault,
    chain: &Path,
    key: &Path,
    names: Vec<Name>,
    certifier: &Certifier,
) -> Result<String, Fault> {
    let doing = format!("reading {} and {}", chain.display(), key.display());
    let remedy = "name a PEM file with the chain, leaf first, and one with its key";
    let text = |path: &Path| {
        let text = fs::read_to_string(path).map(Zeroizing::new);
        text.map_err(|error| Fault::operator(&doing, format!("{}: {error}", path.display()), remedy))
    };
    let wanted = certifier.wanted(names);
    let directory = wanted.authorities.first().map(|authority| authority.directory.clone()).unwrap_or_default();
    let issued = Issued { directory, profile: None, chain: text(chain)?.to_string(), key: text(key)?, renewal: None };
    let read = issued.read().map_err(|why| Fault::operator(&doing, why, remedy))?;
    if let Some(missing) = wanted.names.iter().find(|name| !read.names.contains(name)) {
        return Err(Fault::operator(&doing, format!("it is not for {missing}"), "import one that covers all names"));
    }
    if read.life.not_after <= clock::now() {
        return Err(Fault::operator(&doing, format!("it expired on {}", moment(read.life.not_after)), remedy));
    }
    let (version, mut document) = match vault.read().await {
        Ok(reading) => (reading.version, reading.document),
        // The stored text is not spothost's; the operator who runs `import` means to replace it.
        Err(fault) if fault.cure == crate::fault::Cure::Operator => (current(vault).await?, VaultDocument::default()),
        Err(fault) => return Err(fault),
    };
    document.certificate = Some(issued);
    document.order = None;
    swap(vault, version.as_deref(), &document).await?;
    Ok(moment(read.life.not_after))
}

/// Writes chain and key to these files, the key readable by its owner alone.
///
/// # Errors
/// When there is no certificate; what the file system says.
pub async fn export(vault: &Vault, chain: &Path, key: &Path) -> Result<(), Fault> {
    let doing = || format!("writing {} and {}", chain.display(), key.display());
    let issued = vault.read().await?.document.certificate;
    let issued = issued.ok_or_else(|| Fault::operator(doing(), "the vault holds none", "wait until one is there"))?;
    let written =
        fs::write(chain, &issued.chain).and_then(|()| AtomicFile::at(key).private().write(issued.key.as_bytes()));
    written.map_err(|error| Fault::operator(doing(), error, "name files in a folder that can be written"))
}

/// The version to swap against, whatever it holds.
async fn current(vault: &Vault) -> Result<Option<String>, Fault> {
    Ok(vault.stored().await?.0.map(|stored| stored.version))
}

async fn swap(vault: &Vault, was: Option<&str>, document: &VaultDocument) -> Result<(), Fault> {
    let mut document = document.clone();
    document.count(clock::now());
    match vault.swap(was, &document).await? {
        Swapped::Done(_) => Ok(()),
        Swapped::Lost => Err(Fault::retry("writing the vault", "a host was faster; look again and repeat")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{certificate::LocalCa, place::VaultPlace};

    struct Place {
        folder: tempfile::TempDir,
        vault: Vault,
        certifier: Certifier,
    }

    impl Place {
        fn new() -> Place {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let vault = VaultPlace::Disk(folder.path().join("identity.json"));
            let vault = Vault::new(vault, tokio::sync::watch::channel(None).1);
            let certifier = Certifier::Internal(folder.path().join("ca"));
            Place { folder, vault, certifier }
        }

        /// PEM files of a new certificate for `name`.
        fn pair(&self, name: &str) -> (std::path::PathBuf, std::path::PathBuf) {
            let ca = LocalCa::open(&self.folder.path().join("ca")).expect("a CA");
            let issued = ca.issue(&names(name), OffsetDateTime::now_utc()).expect("issued");
            let chain = self.folder.path().join("chain.pem");
            let key = self.folder.path().join("key.pem");
            fs::write(&chain, &issued.chain).expect("written");
            fs::write(&key, issued.key.as_bytes()).expect("written");
            (chain, key)
        }

        async fn import(&self, name: &str) -> Result<String, Fault> {
            let (chain, key) = self.pair(name);
            import(&self.vault, &chain, &key, names("a.example"), &self.certifier).await
        }
    }

    fn names(text: &str) -> Vec<Name> {
        text.split_whitespace().map(|name| name.parse().expect(name)).collect()
    }

    #[tokio::test]
    async fn pair_that_is_brought_in_is_verified_shown_and_taken_out_again() {
        let place = Place::new();
        let wrong = verify(&place.vault, names("a.example"), &place.certifier).await.expect("verified");
        assert!(wrong.iter().filter(|row| row.wrong.is_some()).count() >= 4, "{wrong:?}");
        place.import("b.example").await.expect_err("for another name");
        place.import("a.example").await.expect("stored");
        let wrong = verify(&place.vault, names("a.example"), &place.certifier).await.expect("verified");
        let wrong: Vec<_> = wrong.into_iter().filter(|row| row.wrong.is_some()).map(|row| row.what).collect();
        assert_eq!(wrong, ["there is a version to go back to"]);
        let shown = Inventory::read(&place.vault).await.expect("read");
        assert_eq!(shown.certificate.as_ref().expect("one").names, names("a.example"));
        assert!(!serde_json::to_string(&shown).expect("JSON").contains("PRIVATE KEY"));
        let chain = place.folder.path().join("out.pem");
        let key = place.folder.path().join("out.key");
        export(&place.vault, &chain, &key).await.expect("written");
        assert_eq!(fs::read(chain).ok(), fs::read(place.folder.path().join("chain.pem")).ok());
        assert_eq!(fs::read(key).ok(), fs::read(place.folder.path().join("key.pem")).ok());
    }

    #[tokio::test]
    async fn version_before_is_gone_back_to_also_from_something_that_is_no_document() {
        let place = Place::new();
        let chain = async || place.vault.read().await.expect("read").document.certificate.expect("one").chain;
        place.import("a.example").await.expect("stored");
        let first = chain().await;
        place.import("a.example").await.expect("stored");
        let Reading { version, mut document, .. } = place.vault.read().await.expect("read");
        document.ledger.attempt("https://ca.example/", false, OffsetDateTime::now_utc());
        let ledger = document.ledger.clone();
        document.certificate = None;
        swap(&place.vault, version.as_deref(), &document).await.expect("stored");
        roll_back(&place.vault).await.expect("gone back");
        assert_ne!(chain().await, first, "the version before has the second");
        assert_eq!(place.vault.read().await.expect("read").document.ledger, ledger, "what was tried is not forgotten");
        place.import("a.example").await.expect("stored");
        fs::write(place.folder.path().join("identity.json"), "something else").expect("written");
        roll_back(&place.vault).await.expect("gone back");
        assert!(Inventory::read(&place.vault).await.expect("read").damage.is_none());
    }
}

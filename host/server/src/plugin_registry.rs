//! `bindery plugin key`, `sign`, `revoke`, `pull`, and `publish --to`: a publisher's tools. They need no
//! server.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use bindery_core::Digest;
use bindery_registry::{
    ARCHIVE_BYTES_MAX, Folder, KeyId, Package, PublicKey, Revocations, RevokedDigest, RevokedKey,
    SIGNATURE_FILE, SigningKey, Trust, TrustPolicy, TrustStore, judge,
    oci::{Client, Credentials, OciReference},
};
use jiff::{SignedDuration, Timestamp};
use semver::Version;

use crate::{
    author::project::{newer_source, package_of},
    cli::{
        ClientArguments, KeyCommand, PluginPullArguments, PluginRevokeArguments,
        PluginSignArguments, RegistryArguments,
    },
    client::SERVER,
    exit::Exit,
};

const OCI: &str = "oci://";
const FOLDER: &str = "dir:";
/// The password for a registry; an argument would be seen by everybody on the machine.
const PASSWORD: &str = "BINDERY_REGISTRY_PASSWORD";

pub(crate) fn key(command: KeyCommand) -> anyhow::Result<Exit> {
    match command {
        KeyCommand::New { path } => {
            let key = SigningKey::generate()?;
            key.save(&path)?;
            println!("{}", key.public());
            eprintln!(
                "secret key in {}: keep it, and keep it secret",
                path.display()
            );
        }
        KeyCommand::Show { path } => {
            let key = SigningKey::load(&path)?.public();
            println!("{key}");
            eprintln!("key id {}", key.id());
        }
    }
    Ok(Exit::Done)
}

/// A directory gets its signature file, an archive is replaced by a signed one.
pub(crate) fn sign(arguments: &PluginSignArguments) -> anyhow::Result<Exit> {
    let key = SigningKey::load(&arguments.key)?;
    let path = &package_of(&arguments.path)?;
    warn_of_sources(path);
    let package = read(path)?.sign(&key);
    if path.is_dir() {
        let signature = package
            .file(SIGNATURE_FILE)
            .context("no signature came out")?;
        replace(&path.join(SIGNATURE_FILE), signature)?;
    } else {
        replace(path, &package.to_archive()?)?;
    }
    eprintln!("signed {} with {}", describe(&package), key.public().id());
    Ok(Exit::Done)
}

/// Says so where a package is not what its sources would make.
pub(crate) fn warn_of_sources(package: &Path) {
    if let Some(source) = newer_source(package) {
        eprintln!(
            "warning: {} was changed after {} was built, and the change is not in it; to take it \
             in: `bindery plugin build`",
            source.display(),
            package.display()
        );
    }
}

/// Adds to the list of what must not run any more, makes it where there is none, and signs it.
pub(crate) fn revoke(arguments: &PluginRevokeArguments) -> anyhow::Result<Exit> {
    let key = SigningKey::load(&arguments.key)?;
    let path = &arguments.list;
    let now = Timestamp::now();
    let mut list = match std::fs::read_to_string(path) {
        Ok(text) => Revocations::accept(&text, &[key.public()], None)
            .with_context(|| format!("failed to use {}", path.display()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Revocations {
            number: 0,
            issued: now,
            expires: now,
            digests: Vec::new(),
            keys: Vec::new(),
        },
        Err(error) => {
            return Err(error).with_context(|| format!("failed to read {}", path.display()));
        }
    };
    list.number += 1;
    list.issued = now;
    list.expires = now + SignedDuration::from_hours(24 * i64::from(arguments.days));
    let reason = &arguments.reason;
    for what in &arguments.what {
        match Revoked::read(what) {
            Some(Revoked::Digest(digest)) => {
                list.digests.retain(|revoked| revoked.digest != digest);
                list.digests.push(RevokedDigest {
                    digest,
                    reason: reason.clone(),
                });
            }
            Some(Revoked::Key(key_id)) => {
                list.keys.retain(|revoked| revoked.key_id != key_id);
                list.keys.push(RevokedKey {
                    key_id,
                    reason: reason.clone(),
                });
            }
            None => {
                eprintln!(
                    "error: `{what}` is neither a digest (`sha256:…`) nor a key (16 hex digits, or \
                     `ed25519:…`)"
                );
                return Ok(Exit::Usage);
            }
        }
    }
    replace(path, list.sign(&key)?.as_bytes())?;
    println!(
        "revocation list {} in {}: {} digests, {} keys; the next is due before {}",
        list.number,
        path.display(),
        list.digests.len(),
        list.keys.len(),
        list.expires.strftime("%Y-%m-%d")
    );
    Ok(Exit::Done)
}

enum Revoked {
    Digest(Digest),
    Key(KeyId),
}

impl Revoked {
    fn read(text: &str) -> Option<Self> {
        if let Ok(digest) = text.parse() {
            return Some(Self::Digest(digest));
        }
        if let Ok(id) = text.parse() {
            return Some(Self::Key(id));
        }
        text.parse::<PublicKey>()
            .ok()
            .map(|key| Self::Key(key.id()))
    }
}

/// Pushes to an OCI registry or into a folder.
pub(crate) async fn publish(
    path: &Path,
    to: &str,
    registry: &RegistryArguments,
    client: &ClientArguments,
) -> anyhow::Result<Exit> {
    let package = read(path)?;
    if let Some(folder) = folder(to) {
        let folder = Folder::new(folder);
        let place = folder.place(package.name(), package.version());
        let word = if folder.push(&package)? {
            "is in"
        } else {
            "was there already:"
        };
        println!("{} {word} {}", describe(&package), place.display());
        return Ok(Exit::Done);
    }
    let reference: OciReference = to.parse()?;
    let pushed = self::client(&reference, registry, client)?
        .push(&reference, &package)
        .await?;
    println!(
        "{} is at {OCI}{}/{}:{} ({})",
        describe(&package),
        reference.authority,
        reference.repository,
        pushed.tag,
        pushed.image
    );
    Ok(Exit::Done)
}

pub(crate) async fn pull(arguments: PluginPullArguments) -> anyhow::Result<Exit> {
    let package = match folder(&arguments.from) {
        Some(path) => pull_from_folder(&path)?,
        None => {
            let reference: OciReference = arguments.from.parse()?;
            self::client(&reference, &arguments.registry, &arguments.client)?
                .pull(&reference)
                .await?
        }
    };
    // Before anything is written.
    let word = verdict(&package, arguments.trust.as_deref())?;
    let out = arguments.out.unwrap_or_else(|| {
        let (name, version) = (package.name(), package.version());
        PathBuf::from(format!("{name}-{version}.bindery"))
    });
    if arguments.unpack {
        package.write(&out)?;
    } else {
        replace(&out, &package.to_archive()?)?;
    }
    println!("{} is in {}", describe(&package), out.display());
    eprintln!("{word}");
    Ok(Exit::Done)
}

/// `dir:PATH`; a plain path to a directory is meant so as well.
fn folder(text: &str) -> Option<PathBuf> {
    match text.strip_prefix(FOLDER) {
        Some(path) => Some(PathBuf::from(path)),
        None => (!text.starts_with(OCI)).then(|| PathBuf::from(text)),
    }
}

/// The last part of the path is `NAME` or `NAME@VERSION`.
fn pull_from_folder(path: &Path) -> anyhow::Result<Package> {
    let last = path.file_name().and_then(|name| name.to_str());
    let (Some(last), Some(place)) = (last, path.parent()) else {
        bail!("name the package: dir:FOLDER/NAME or dir:FOLDER/NAME@VERSION");
    };
    let (name, version) = match last.split_once('@') {
        Some((name, version)) => {
            let version: Version = version
                .parse()
                .with_context(|| format!("`{version}` is no version"))?;
            (name, Some(version))
        }
        None => (last, None),
    };
    Ok(Folder::new(place.to_owned()).pull(name, version.as_ref())?)
}

fn client(
    reference: &OciReference,
    registry: &RegistryArguments,
    client: &ClientArguments,
) -> anyhow::Result<Client> {
    let credentials = if let Some(user) = &registry.username {
        let password = std::env::var(PASSWORD)
            .with_context(|| format!("--username without a password: set {PASSWORD}"))?;
        Credentials::Basic {
            user: user.clone(),
            password,
        }
    } else {
        // Only to the server that it is of: a token in the environment must not travel to whatever
        // registry is named. A Bindery host takes it as the password of anyone.
        let token = client.token.clone().filter(|_| is_of(client, reference));
        token.map_or(Credentials::None, |password| Credentials::Basic {
            user: "token".to_owned(),
            password,
        })
    };
    Ok(Client::new(reference, credentials, registry.insecure_http)?)
}

/// Whether the registry is the server that commands talk to.
fn is_of(client: &ClientArguments, reference: &OciReference) -> bool {
    let server = client.server.as_deref().unwrap_or(SERVER);
    let (_, authority) = server.split_once("://").unwrap_or(("", server));
    let authority = authority.split('/').next().unwrap_or_default();
    authority.eq_ignore_ascii_case(&reference.authority)
}

/// A package from its directory or archive.
pub(crate) fn read(path: &Path) -> anyhow::Result<Package> {
    if path.is_dir() {
        return Ok(Package::read(path)?);
    }
    let size = std::fs::metadata(path)
        .with_context(|| format!("failed to read {}", path.display()))?
        .len();
    if size > ARCHIVE_BYTES_MAX {
        bail!("{} is larger than a package may be", path.display());
    }
    let archive = std::fs::read(path)?;
    Package::from_archive(&archive.into())
        .with_context(|| format!("{} is no package", path.display()))
}

/// Whole or not at all.
fn replace(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let failed = || format!("failed to write {}", path.display());
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".{}.part", std::process::id()));
    let partial = PathBuf::from(partial);
    let written = std::fs::write(&partial, content).and_then(|()| std::fs::rename(&partial, path));
    if written.is_err() {
        // It may not be there at all.
        let _ = std::fs::remove_file(&partial);
    }
    written.with_context(failed)
}

/// Who answers for it. With a trust store, whoever is not trusted is refused.
fn verdict(package: &Package, trust: Option<&Path>) -> anyhow::Result<String> {
    let Some(path) = trust else {
        return Ok(match package.signature() {
            Some(signature) => format!(
                "says that it is signed with {}; --trust FILE would check it",
                signature.key_id
            ),
            None => "it is not signed".to_owned(),
        });
    };
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("failed to read {}", path.display()))?;
    let policy = TrustPolicy {
        store: TrustStore::parse(&text)?,
        ..TrustPolicy::default()
    };
    match judge(package, &policy, Timestamp::now()) {
        Ok(Trust::Signed { publisher, key }) => Ok(format!("signed by {publisher} with {key}")),
        Ok(other) => Ok(other.code().to_owned()),
        Err(refusal) => bail!(
            "{refusal} ({})\n  to mend it: {}",
            refusal.code(),
            refusal.cure()
        ),
    }
}

fn describe(package: &Package) -> String {
    format!(
        "{}@{} ({})",
        package.name(),
        package.version(),
        package.digest()
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use super::*;

    #[test]
    fn a_token_goes_to_its_own_server_only() {
        let is_of = |server: Option<&str>, text: &str| {
            let client = ClientArguments {
                server: server.map(str::to_owned),
                token: None,
            };
            is_of(&client, &text.parse().unwrap())
        };
        assert!(is_of(None, "oci://127.0.0.1:8080/a"));
        assert!(is_of(Some("https://host.example/"), "oci://host.example/a"));
        assert!(is_of(Some("http://[::1]:80/x"), "oci://[::1]:80/a"));
        assert!(!is_of(None, "oci://registry.example/a"));
        assert!(!is_of(None, "oci://127.0.0.1:8081/a"));
        assert!(!is_of(
            Some("https://host.example"),
            "oci://host.example.org/a"
        ));
    }
}

//! `bindery admin restore`: whole and proven, or not at all.
//!
//! Everything is put beside the data directory, compared with its digests, the chain of the
//! journal is walked, and the index is built. Only then does it get its name.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, bail, ensure};
use bindery_datastore::{Anchor, Datastore, LocalDatastore, Options, adopt};
use serde_json::{Value, json};

use super::{
    BLOBS, RestoreArguments, STORE,
    archive::{Sums, sync_directories, sync_parent, unpack},
    backup::blob_name,
    size,
};
use crate::exit::Exit;

pub(crate) fn restore(arguments: &RestoreArguments) -> anyhow::Result<Exit> {
    let start = Instant::now();
    let data = &arguments.data.data;
    ensure!(
        arguments.from.exists(),
        "there is no backup {}",
        arguments.from.display()
    );
    check_empty(data)?;
    let staging = Staging::create(data)?;
    let (sums, manifest) = unpack(&arguments.from, &staging.path)
        .with_context(|| format!("{} cannot be restored", arguments.from.display()))?;
    check_blobs(&sums, &staging.path)?;

    let manifest: Value = serde_json::from_str(&manifest).context("backup.json is damaged")?;
    ensure!(
        manifest.get("format").and_then(Value::as_str) == Some("bindery-backup")
            && manifest.get("version").and_then(Value::as_u64) == Some(1),
        "backup.json is of a form that this program does not know"
    );
    let anchor: Anchor = manifest
        .get("anchor")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .parse()
        .context("backup.json has no anchor")?;
    let mut anchors = arguments.anchors.clone();
    anchors.push(anchor);
    let store = staging.path.join(STORE);
    let report = adopt(&store, &anchors).context("the journal of the backup is damaged")?;
    ensure!(
        report.anchor() == anchor,
        "the journal of the backup goes on where backup.json ends"
    );

    let options = Options {
        index_is_new: true,
        ..Options::default()
    };
    let opened =
        LocalDatastore::open(&store, options).context("failed to build the index of the backup")?;
    let databases = opened.databases().len();
    opened.close();
    fs::create_dir_all(staging.path.join(BLOBS))?;
    sync_directories(&staging.path)?;
    staging.become_data(data)?;

    let size_bytes: u64 = sums.values().map(|(_, size_bytes)| size_bytes).sum();
    if arguments.json {
        let document = json!({
            "data": fs::canonicalize(data)?,
            "created": manifest.get("created"),
            "anchor": anchor.to_string(),
            "records": report.records,
            "databases": databases,
            "files": sums.len(),
            "size_bytes": size_bytes,
            "took_seconds": start.elapsed().as_secs_f64(),
        });
        writeln!(io::stdout(), "{document:#}")?;
    } else {
        println!("restored  {}", fs::canonicalize(data)?.display());
        println!(
            "holds     {} records, {} files, {}",
            report.records,
            sums.len(),
            size(size_bytes)
        );
        println!("anchor    {anchor}");
    }
    Ok(Exit::Done)
}

fn check_empty(data: &Path) -> anyhow::Result<()> {
    match fs::read_dir(data) {
        Ok(mut entries) => {
            ensure!(
                entries.next().is_none(),
                "{} is not empty: a backup is restored into an empty directory only",
                data.display()
            );
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("failed to use {}", data.display())),
    }
}

/// A blob's name is its digest, and it is read-only.
fn check_blobs(sums: &Sums, below: &Path) -> anyhow::Result<()> {
    for (name, (digest, _)) in sums {
        let Some(blob) = name.strip_prefix("blobs/") else {
            continue;
        };
        if blob != blob_name(&digest.hex()) {
            // It was so when it was backed up, which was told then.
            eprintln!("bindery: {name} is damaged: its content is {digest}");
        }
        fs::set_permissions(below.join(name), fs::Permissions::from_mode(0o444))?;
    }
    Ok(())
}

/// A directory beside the one that is to be; removed unless it becomes that.
struct Staging {
    path: PathBuf,
}

impl Staging {
    fn create(data: &Path) -> anyhow::Result<Self> {
        let Some(name) = data.file_name() else {
            bail!("{} is no name of a directory", data.display());
        };
        let mut beside = std::ffi::OsString::from(".");
        beside.push(name);
        beside.push(format!(".restoring-{}", std::process::id()));
        let path = data.with_file_name(beside);
        if let Some(parent) = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            fs::create_dir_all(parent)
                .with_context(|| format!("failed to make {}", parent.display()))?;
        }
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("failed to make {}", path.display()))?;
        Ok(Self { path })
    }

    fn become_data(self, data: &Path) -> anyhow::Result<()> {
        // Replaces an empty directory, and fails when it is not empty any more.
        fs::rename(&self.path, data)
            .with_context(|| format!("failed to make {}", data.display()))?;
        sync_parent(data)?;
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.path.exists()
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            eprintln!("bindery: left {}: {error}", self.path.display());
        }
    }
}

//! What a guest leaves on disk.
//!
//! The files that can be seen below `/work` and `/out`, and those that cannot: a file that was
//! unlinked while it is open takes space until its last handle goes. So every file that a guest
//! opens is noted, by taking the place of one function of WASI.

use std::{
    fs::File,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource},
};
use wasmtime_wasi::{
    WasiView,
    filesystem::{Descriptor, WasiFilesystemCtxView},
    p2::bindings::filesystem::types::{
        DescriptorFlags, ErrorCode, HostDescriptor, OpenFlags, PathFlags,
    },
};

use crate::{CallGrants, failure::DiskLimitExceeded, state::GuestState};

/// Directory entries looked at when measuring; a guest with more is over its limit.
const ENTRIES_MAX: u64 = 65_536;
/// Nesting looked at; a guest that nests deeper hides its files and is over its limit.
const DEPTH_MAX: u32 = 32;

/// Measures one call's use of disk.
#[derive(Debug, Default)]
pub(crate) struct DiskMeter {
    directories: Vec<PathBuf>,
    limit_bytes: u64,
    /// What engines and earlier calls have left there is not this call's doing.
    before: Used,
    /// Files the guest has opened. Bounded by twice the handles it may hold: those that are
    /// closed are forgotten whenever their number has doubled.
    opened: Vec<Weak<File>>,
    forget_at: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Used {
    bytes: u64,
    entries: u64,
    too_deep: bool,
}

impl DiskMeter {
    pub(crate) fn start(grants: &CallGrants, limit_bytes: u64) -> Self {
        let directories: Vec<PathBuf> = [&grants.work, &grants.out]
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        let before = measure(&directories, u64::MAX);
        Self {
            directories,
            limit_bytes,
            before,
            ..Self::default()
        }
    }

    /// The limit, if it is exceeded.
    pub(crate) fn exceeded(&self) -> Option<DiskLimitExceeded> {
        if self.directories.is_empty() {
            return None;
        }
        let bytes_max = self.before.bytes.saturating_add(self.limit_bytes);
        let used = measure(&self.directories, bytes_max);
        let over = used.bytes.saturating_add(self.unlinked_bytes()) > bytes_max
            || used.entries > self.before.entries.saturating_add(ENTRIES_MAX)
            || (used.too_deep && !self.before.too_deep);
        over.then_some(DiskLimitExceeded {
            limit_bytes: self.limit_bytes,
        })
    }

    fn note_opened(&mut self, file: &Arc<File>) {
        /// Not worth looking through fewer.
        const FORGET_AT_MIN: usize = 64;
        if self.directories.is_empty() {
            return;
        }
        if self.opened.len() >= self.forget_at.max(FORGET_AT_MIN) {
            self.opened.retain(|file| file.strong_count() > 0);
            self.forget_at = self.opened.len().saturating_mul(2);
        }
        self.opened.push(Arc::downgrade(file));
    }

    fn unlinked_bytes(&self) -> u64 {
        self.opened
            .iter()
            .filter_map(|file| file.upgrade()?.metadata().ok())
            .filter(|metadata| metadata.nlink() == 0)
            .fold(0, |sum, metadata| sum.saturating_add(metadata.len()))
    }
}

/// Puts a function that notes what is opened in the place of WASI's own.
pub(crate) fn note_opened_files(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    type Arguments = (
        Resource<Descriptor>,
        PathFlags,
        String,
        OpenFlags,
        DescriptorFlags,
    );

    linker.allow_shadowing(true);
    // The version is that of wasmtime-wasi; with another one the function is never called, and
    // the test of the guest `fills_disk` fails.
    linker
        .instance("wasi:filesystem/types@0.2.12")?
        .func_wrap_async(
            "[method]descriptor.open-at",
            |mut store: StoreContextMut<'_, GuestState>, arguments: Arguments| {
                Box::new(async move { open_at(store.data_mut(), arguments).await.map(|it| (it,)) })
            },
        )?;
    linker.allow_shadowing(false);
    return Ok(());

    async fn open_at(
        state: &mut GuestState,
        (directory, path_flags, path, open_flags, flags): Arguments,
    ) -> wasmtime::Result<Result<Resource<Descriptor>, ErrorCode>> {
        let view = state.ctx();
        let mut files = WasiFilesystemCtxView {
            ctx: view.ctx.filesystem(),
            table: view.table,
        };
        match files
            .open_at(directory, path_flags, path, open_flags, flags)
            .await
        {
            Ok(opened) => {
                if let Descriptor::File(file) = view.table.get(&opened)? {
                    let file = Arc::clone(&file.file);
                    state.disk.note_opened(&file);
                }
                Ok(Ok(opened))
            }
            Err(error) => error.downcast().map(Err),
        }
    }
}

fn measure(directories: &[PathBuf], bytes_max: u64) -> Used {
    let mut used = Used::default();
    for directory in directories {
        add(directory, &mut used, bytes_max, 0);
    }
    used
}

/// Adds up what stands below a directory, and stops as soon as it is too much. Links are not
/// followed.
fn add(directory: &Path, used: &mut Used, bytes_max: u64, depth: u32) {
    // What was there before may hold as many entries again.
    const LOOKED_AT_MAX: u64 = ENTRIES_MAX * 4;
    if depth > DEPTH_MAX {
        used.too_deep = true;
        return;
    }
    let Ok(listing) = std::fs::read_dir(directory) else {
        return;
    };
    for entry in listing.flatten() {
        used.entries += 1;
        if used.bytes > bytes_max || used.entries > LOOKED_AT_MAX {
            return;
        }
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        if metadata.is_dir() {
            add(&entry.path(), used, bytes_max, depth + 1);
        } else {
            used.bytes = used.bytes.saturating_add(metadata.len());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use std::fs;

    use super::*;

    fn meter(directory: &Path, limit_bytes: u64) -> DiskMeter {
        let grants = CallGrants {
            work: Some(directory.to_owned()),
            ..CallGrants::default()
        };
        DiskMeter::start(&grants, limit_bytes)
    }

    #[test]
    fn only_growth_counts() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("before"), [0; 5000]).unwrap();
        let meter = meter(directory.path(), 1000);
        assert!(meter.exceeded().is_none());
        fs::write(directory.path().join("a"), [0; 1000]).unwrap();
        assert!(meter.exceeded().is_none());
        fs::write(directory.path().join("b"), [0; 1]).unwrap();
        assert_eq!(
            meter.exceeded(),
            Some(DiskLimitExceeded { limit_bytes: 1000 })
        );
    }

    #[test]
    fn nesting_hides_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let meter = meter(directory.path(), 1000);
        fs::create_dir_all(directory.path().join("d/".repeat(40))).unwrap();
        assert!(meter.exceeded().is_some());
    }

    #[test]
    fn unlinked_files_count_while_they_are_open() {
        let directory = tempfile::tempdir().unwrap();
        let mut meter = meter(directory.path(), 1000);
        let path = directory.path().join("a");
        let file = Arc::new(File::create(&path).unwrap());
        meter.note_opened(&file);
        fs::remove_file(path).unwrap();
        file.set_len(1001).unwrap();
        assert!(meter.exceeded().is_some());
        drop(file);
        assert!(meter.exceeded().is_none());
        for _ in 0..10_000 {
            meter.note_opened(&Arc::new(File::open("/dev/null").unwrap()));
        }
        assert!(meter.opened.len() <= 128);
    }
}

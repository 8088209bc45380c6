//! What belongs to one store: WASI as the guest sees it, limits, log lines, standard error.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bindery_bindings::{
    Asset,
    host::bindery::task::{assets, log, progress, types},
    v0_1::host::bindery::task as v0_1,
};
use rand_core::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;
use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::{FsPerms, HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

use crate::{
    CallGrants, CallLimits, ProgressSink, disk::DiskMeter, http::GuestHttp, limits::MemoryLimiter,
    lines::GuestLines, pipe::CappedPipe,
};

/// Words beside a share of progress; a longer text is cut.
const PROGRESS_CHARS_MAX: usize = 500;
/// Handles a guest may hold at once; more is a leak.
const HANDLES_MAX: usize = 4096;
/// Random bytes of one request.
const RANDOM_BYTES_MAX: u64 = 1 << 20;

/// State of one store.
pub(crate) struct GuestState {
    wasi: WasiCtx,
    table: ResourceTable,
    pub(crate) memory: MemoryLimiter,
    pub(crate) stderr: CappedPipe,
    pub(crate) lines: GuestLines,
    pub(crate) disk: DiskMeter,
    pub(crate) progress: Option<ProgressSink>,
    pub(crate) http: GuestHttp,
}

impl GuestState {
    pub(crate) fn new(
        grants: &CallGrants,
        seed: u64,
        limits: &CallLimits,
        http: GuestHttp,
    ) -> wasmtime::Result<Self> {
        let stderr = CappedPipe::default();
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES_MAX);
        Ok(Self {
            wasi: wasi(grants, seed, &stderr)?,
            table,
            memory: MemoryLimiter::new(limits.memory_bytes),
            stderr,
            lines: GuestLines::default(),
            disk: DiskMeter::start(grants, limits.disk_bytes),
            progress: None,
            http,
        })
    }

    /// Begins another call of the same guest, which keeps its memory and its handles. Those of its
    /// standard streams lead to the pipe that there was, so that one is emptied.
    pub(crate) fn begin(
        &mut self,
        grants: &CallGrants,
        seed: u64,
        limits: &CallLimits,
        http: GuestHttp,
    ) -> wasmtime::Result<()> {
        self.stderr.clear();
        self.wasi = wasi(grants, seed, &self.stderr)?;
        self.memory.set_limit(limits.memory_bytes);
        self.lines = GuestLines::default();
        self.disk = DiskMeter::start(grants, limits.disk_bytes);
        self.progress = None;
        self.http = http;
        Ok(())
    }
}

/// WASI of one call, as the guest sees it.
fn wasi(grants: &CallGrants, seed: u64, stderr: &CappedPipe) -> wasmtime::Result<WasiCtx> {
    let mut wasi = WasiCtx::builder();
    wasi.stderr(stderr.clone())
        // `println!` in a plugin is a log line too: nobody else reads it.
        .stdout(stderr.clone())
        .allow_blocking_current_thread(true)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .secure_random(Xoshiro256PlusPlus::seed_from_u64(seed))
        .insecure_random(Xoshiro256PlusPlus::seed_from_u64(seed.rotate_left(32)))
        .insecure_random_seed(u128::from(seed))
        .max_random_size(RANDOM_BYTES_MAX)
        .wall_clock(FixedClock)
        .monotonic_clock(CountingClock::default());
    if let Some(directory) = &grants.input {
        wasi.preopened_dir(directory, "/in", FsPerms::ReadOnly)?;
    }
    if let Some(directory) = &grants.work {
        wasi.preopened_dir(directory, "/work", FsPerms::ReadWrite)?;
    }
    if let Some(directory) = &grants.out {
        wasi.preopened_dir(directory, "/out", FsPerms::ReadWrite)?;
    }
    Ok(wasi.build())
}

impl WasiView for GuestState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for GuestState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let (ctx, hooks) = self.http.parts();
        WasiHttpCtxView {
            hooks,
            table: &mut self.table,
            ctx,
        }
    }
}

impl types::Host for GuestState {}

impl log::Host for GuestState {
    fn log(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            log::Level::Trace => "trace",
            log::Level::Debug => "debug",
            log::Level::Info => "info",
            log::Level::Warn => "warn",
            log::Level::Error => "error",
        };
        self.lines.push(level, message);
        Ok(())
    }
}

impl progress::Host for GuestState {
    fn report(&mut self, done: f32, message: String) -> wasmtime::Result<()> {
        if let Some(report) = &mut self.progress
            && done.is_finite()
        {
            let end = message
                .char_indices()
                .nth(PROGRESS_CHARS_MAX)
                .map_or(message.len(), |(at, _)| at);
            report(done.clamp(0.0, 1.0), message.get(..end).unwrap_or_default());
        }
        Ok(())
    }
}

impl assets::Host for GuestState {
    /// Assets come with packages that declare them; none is granted yet, so none is found.
    fn open(&mut self, _name: String) -> wasmtime::Result<Option<Resource<Asset>>> {
        Ok(None)
    }
}

impl assets::HostAsset for GuestState {
    fn size_bytes(&mut self, asset: Resource<Asset>) -> wasmtime::Result<u64> {
        Ok(self.table.get(&asset)?.size_bytes)
    }

    fn read(
        &mut self,
        asset: Resource<Asset>,
        offset: u64,
        length: u32,
    ) -> wasmtime::Result<Vec<u8>> {
        use std::os::unix::fs::FileExt;

        const READ_BYTES_MAX: u32 = 4 << 20;
        let asset = self.table.get(&asset)?;
        let mut buffer = vec![0; length.min(READ_BYTES_MAX) as usize];
        let read = asset.file.read_at(&mut buffer, offset)?;
        buffer.truncate(read);
        Ok(buffer)
    }

    fn drop(&mut self, asset: Resource<Asset>) -> wasmtime::Result<()> {
        self.table.delete(asset)?;
        Ok(())
    }
}

// What guests of the first contract are lent is the same, under the names of then.

impl v0_1::log::Host for GuestState {
    fn log(&mut self, level: v0_1::log::Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            v0_1::log::Level::Trace => log::Level::Trace,
            v0_1::log::Level::Debug => log::Level::Debug,
            v0_1::log::Level::Info => log::Level::Info,
            v0_1::log::Level::Warn => log::Level::Warn,
            v0_1::log::Level::Error => log::Level::Error,
        };
        log::Host::log(self, level, message)
    }
}

impl v0_1::progress::Host for GuestState {
    fn report(&mut self, done: f32, message: String) -> wasmtime::Result<()> {
        progress::Host::report(self, done, message)
    }
}

impl v0_1::assets::Host for GuestState {
    fn open(&mut self, name: String) -> wasmtime::Result<Option<Resource<Asset>>> {
        assets::Host::open(self, name)
    }
}

impl v0_1::assets::HostAsset for GuestState {
    fn size_bytes(&mut self, asset: Resource<Asset>) -> wasmtime::Result<u64> {
        assets::HostAsset::size_bytes(self, asset)
    }

    fn read(
        &mut self,
        asset: Resource<Asset>,
        offset: u64,
        length: u32,
    ) -> wasmtime::Result<Vec<u8>> {
        assets::HostAsset::read(self, asset, offset, length)
    }

    fn drop(&mut self, asset: Resource<Asset>) -> wasmtime::Result<()> {
        assets::HostAsset::drop(self, asset)
    }
}

/// 2000-01-01T00:00:00Z for ever: a guest whose answer depends on the date is not repeatable.
struct FixedClock;

impl HostWallClock for FixedClock {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        Duration::from_secs(946_684_800)
    }
}

/// Goes on by a microsecond each time it is read: loops that wait for time to pass end, and
/// always after the same number of reads.
#[derive(Default)]
struct CountingClock {
    reads: AtomicU64,
}

impl HostMonotonicClock for CountingClock {
    fn resolution(&self) -> u64 {
        1000
    }

    fn now(&self) -> u64 {
        self.reads
            .fetch_add(1, Ordering::Relaxed)
            .saturating_mul(1000)
    }
}

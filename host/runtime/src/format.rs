//! File formats: what is this file, and what is in it.

use bindery_bindings::format::exports::bindery::task::format as wit_format;
use bindery_core::limits;
use serde_json::Value;

use crate::{CallGrants, GuestFailure, Plugin};

/// What is wrong with a file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFault {
    pub code: String,
    pub message: String,
    /// Counted from 1.
    pub line: Option<u64>,
    /// Counted from 0.
    pub record: Option<u64>,
}

/// What a format plugin found in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspected {
    pub media_type: String,
    pub encoding: String,
    pub records: u64,
    pub bad_records: u64,
    pub details: Value,
    pub warnings: Vec<FileFault>,
}

/// One record of a library.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub index: u64,
    pub offset: u64,
    pub length: u64,
    /// Label and details, or what is wrong.
    pub verdict: Result<(String, Value), FileFault>,
}

/// A page of records.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordBatch {
    pub records: Vec<Record>,
    /// Whether the file has more.
    pub more: bool,
}

impl From<wit_format::Fault> for FileFault {
    fn from(fault: wit_format::Fault) -> Self {
        Self {
            code: fault.code,
            message: fault.message,
            line: fault.line,
            record: fault.record,
        }
    }
}

/// The first faults of a file: beyond that a person fixes those first.
fn bounded(faults: Vec<wit_format::Fault>) -> Vec<FileFault> {
    faults
        .into_iter()
        .take(limits::VIOLATIONS_MAX)
        .map(Into::into)
        .collect()
}

/// Why a file cannot be used.
fn faults(
    phase: &'static str,
    found: Vec<wit_format::Fault>,
) -> Result<Vec<FileFault>, GuestFailure> {
    if found.is_empty() {
        return Err(GuestFailure::rubbish(
            phase,
            "refused a file without a fault",
        ));
    }
    Ok(bounded(found))
}

const NO_FACET: &str = "the plugin has no formats";

impl Plugin {
    /// The plugin's guess at a file from its first bytes: media type, encoding, confidence.
    ///
    /// # Errors
    /// When the guest or the host breaks.
    pub async fn sniff(
        &self,
        head: Vec<u8>,
        file_name: String,
    ) -> Result<Option<(String, String, f32)>, GuestFailure> {
        self.counted(self.sniff_uncounted(head, file_name).await)
    }

    async fn sniff_uncounted(
        &self,
        head: Vec<u8>,
        file_name: String,
    ) -> Result<Option<(String, String, f32)>, GuestFailure> {
        const PHASE: &str = "sniff";
        let facet = self
            .format
            .clone()
            .ok_or_else(|| GuestFailure::host(PHASE, NO_FACET))?;
        let spec = self.spec(PHASE, self.limits().interactive, CallGrants::default(), 0);
        let answer = self
            .runtime
            .call(spec, async move |store| {
                let facet = facet.instantiate(store).await?;
                Ok(Ok(facet.sniff(store, &head, &file_name).await?))
            })
            .await?;
        let Some(sniffed) = answer.value else {
            return Ok(None);
        };
        // Not only a NaN: a plugin that is surer than sure would win every file.
        if !(0.0..=1.0).contains(&sniffed.confidence) {
            return Err(GuestFailure::rubbish(
                PHASE,
                "the confidence is not within 0..=1",
            ));
        }
        Ok(Some((
            sniffed.media_type,
            sniffed.encoding,
            sniffed.confidence,
        )))
    }

    /// Reads a whole file below the granted `/in`.
    ///
    /// # Errors
    /// When the guest or the host breaks. The inner error holds the file's faults.
    pub async fn inspect(
        &self,
        grants: CallGrants,
        path: String,
        file_name: String,
    ) -> Result<Result<Inspected, Vec<FileFault>>, GuestFailure> {
        self.counted(self.inspect_uncounted(grants, path, file_name).await)
    }

    async fn inspect_uncounted(
        &self,
        grants: CallGrants,
        path: String,
        file_name: String,
    ) -> Result<Result<Inspected, Vec<FileFault>>, GuestFailure> {
        const PHASE: &str = "inspect";
        let facet = self
            .format
            .clone()
            .ok_or_else(|| GuestFailure::host(PHASE, NO_FACET))?;
        let spec = self.spec(PHASE, self.limits().files, grants, 0);
        let answer = self
            .runtime
            .call(spec, async move |store| {
                let facet = facet.instantiate(store).await?;
                Ok(Ok(facet.inspect(store, &path, &file_name).await?))
            })
            .await?;
        match answer.value {
            Ok(found) => {
                let details = serde_json::from_str(&found.details).map_err(|error| {
                    GuestFailure::rubbish(PHASE, format!("details are not JSON: {error}"))
                })?;
                Ok(Ok(Inspected {
                    media_type: found.media_type,
                    encoding: found.encoding,
                    records: found.records,
                    bad_records: found.bad_records,
                    details,
                    warnings: bounded(found.warnings),
                }))
            }
            Err(found) => faults(PHASE, found).map(Err),
        }
    }

    /// A page of a file's records: `skip` are passed over, at most `max` given.
    ///
    /// # Errors
    /// When the guest or the host breaks. The inner error holds the file's faults.
    pub async fn records(
        &self,
        grants: CallGrants,
        path: String,
        file_name: String,
        skip: u64,
        max: u32,
    ) -> Result<Result<RecordBatch, Vec<FileFault>>, GuestFailure> {
        self.counted(
            self.records_uncounted(grants, path, file_name, skip, max)
                .await,
        )
    }

    async fn records_uncounted(
        &self,
        grants: CallGrants,
        path: String,
        file_name: String,
        skip: u64,
        max: u32,
    ) -> Result<Result<RecordBatch, Vec<FileFault>>, GuestFailure> {
        const PHASE: &str = "records";
        /// Entries asked for at once; one has at most some kilobytes of details.
        const PAGE: u32 = 256;
        /// Labels and details of all entries given: 1,000 of 32 KiB each.
        const BYTES_MAX: usize = 32 << 20;
        let facet = self
            .format
            .clone()
            .ok_or_else(|| GuestFailure::host(PHASE, NO_FACET))?;
        let spec = self.spec(PHASE, self.limits().files, grants, 0);
        let answer = self
            .runtime
            .call(spec, async move |store| {
                let facet = facet.instantiate(store).await?;
                let stream = match facet.open(store, &path, &file_name).await? {
                    Ok(stream) => stream,
                    Err(faults) => return Ok(Ok(Err(faults))),
                };
                let mut entries: Vec<wit_format::RecordEntry> = Vec::new();
                let mut passed = 0_u64;
                let mut bytes = 0_usize;
                loop {
                    let page = facet.next(store, stream, PAGE).await?;
                    if page.is_empty() {
                        return Ok(Ok(Ok((entries, false))));
                    }
                    if page.len() > PAGE as usize {
                        let fault = format!("{} records instead of {PAGE}", page.len());
                        return Ok(Err(GuestFailure::rubbish(PHASE, fault)));
                    }
                    for entry in page {
                        if passed < skip {
                            passed += 1;
                        } else if entries.len() < max as usize {
                            bytes = bytes.saturating_add(size_bytes(&entry));
                            if bytes > BYTES_MAX {
                                let fault = format!("records of more than {BYTES_MAX} bytes");
                                return Ok(Err(GuestFailure::rubbish(PHASE, fault)));
                            }
                            entries.push(entry);
                        } else {
                            return Ok(Ok(Ok((entries, true))));
                        }
                    }
                }
            })
            .await?;
        match answer.value {
            Err(found) => faults(PHASE, found).map(Err),
            Ok((entries, more)) => {
                let records = entries
                    .into_iter()
                    .map(|entry| {
                        let verdict = match entry.verdict {
                            Err(fault) => Err(fault.into()),
                            Ok(info) => {
                                let details =
                                    serde_json::from_str(&info.details).map_err(|error| {
                                        GuestFailure::rubbish(
                                            PHASE,
                                            format!("details are not JSON: {error}"),
                                        )
                                    })?;
                                Ok((info.label, details))
                            }
                        };
                        Ok(Record {
                            index: entry.index,
                            offset: entry.offset,
                            length: entry.length,
                            verdict,
                        })
                    })
                    .collect::<Result<_, GuestFailure>>()?;
                Ok(Ok(RecordBatch { records, more }))
            }
        }
    }
}

fn size_bytes(entry: &wit_format::RecordEntry) -> usize {
    let text = match &entry.verdict {
        Ok(info) => info.label.len().saturating_add(info.details.len()),
        Err(fault) => fault.code.len().saturating_add(fault.message.len()),
    };
    text.saturating_add(entry.content.len())
}

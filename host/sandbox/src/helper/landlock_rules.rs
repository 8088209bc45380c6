//! Landlock: what the engine may touch, told to the kernel once more and independently of the
//! mounts. Below L2 it is the only wall in the file system.

use std::os::fd::AsFd;
use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, LandlockStatus,
    PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _,
    RulesetError, RulesetStatus, Scope,
};

use super::interpreter;
use super::materials::DEVICES;
use super::root::Place;
use crate::Execute;

/// The newest rights known here. Kernels that know fewer enforce fewer; the self-test decides
/// whether that is enough.
const WANTED: ABI = ABI::V7;

#[derive(Debug, thiserror::Error)]
pub(super) enum RuleError {
    #[error("cannot apply the rules: {0}")]
    Rules(#[from] RulesetError),
    #[error("cannot open {path}: {reason}")]
    Path { path: String, reason: String },
    #[error("the kernel does not enforce Landlock: {0:?}")]
    NotEnforced(LandlockStatus),
}

/// Confines the process for good and gives the ABI in force.
pub(super) fn apply(place: &Place, program: &Path, execute: Execute) -> Result<u32, RuleError> {
    // No network right is granted to any port, and the scopes allow no signal and no abstract
    // socket to lead out.
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(WANTED))?
        .handle_access(AccessNet::from_all(WANTED))?
        .scope(Scope::from_all(WANTED))?
        .create()?;
    let mut read = AccessFs::ReadFile | AccessFs::ReadDir;
    if execute == Execute::ReadOnlyDirectories {
        read |= AccessFs::Execute;
    }
    for path in &place.visible {
        rules = allow(rules, path, read)?;
    }
    for path in std::iter::once(program.to_owned()).chain(interpreter::chain(program)) {
        // An interpreter that is not visible makes `execve` fail, which says more than this could.
        if path.exists() {
            rules = allow(rules, &path, AccessFs::ReadFile | AccessFs::Execute)?;
        }
    }
    for device in DEVICES {
        rules = allow(
            rules,
            Path::new(device),
            AccessFs::ReadFile | AccessFs::WriteFile,
        )?;
    }
    let write = AccessFs::ReadFile
        | AccessFs::ReadDir
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
        | AccessFs::Refer;
    rules = rules.add_rule(PathBeneath::new(place.writable.as_fd(), write))?;
    let status = rules.restrict_self()?;
    match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, landlock) => Err(RuleError::NotEnforced(landlock)),
        (
            _,
            LandlockStatus::Available {
                effective_abi,
                kernel_abi,
            },
        ) => Ok(kernel_abi
            .and_then(|abi| u32::try_from(abi).ok())
            .unwrap_or(effective_abi as u32)),
        (_, landlock) => Err(RuleError::NotEnforced(landlock)),
    }
}

/// Adds a rule; of the rights, a file takes those that files can have.
fn allow(
    rules: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RuleError> {
    let failed = |reason: String| RuleError::Path {
        path: path.display().to_string(),
        reason,
    };
    let opened = PathFd::new(path).map_err(|e| failed(e.to_string()))?;
    let is_directory = std::fs::metadata(path)
        .map_err(|e| failed(e.to_string()))?
        .is_dir();
    let access = if is_directory {
        access
    } else {
        access & AccessFs::from_file(WANTED)
    };
    Ok(rules.add_rule(PathBeneath::new(opened, access))?)
}

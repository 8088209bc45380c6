//! User ids of running jobs, when the host is root.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::UidRange;

/// Ranges to try, first those that no distribution or container tool hands out, then one that
/// also exists in a container with 65,536 ids. Far more than jobs that could run at once.
const CANDIDATES: [UidRange; 2] = [
    UidRange {
        first: 1_900_000_000,
        count: 4096,
    },
    UidRange {
        first: 64_000,
        count: 512,
    },
];

/// Ids held by running jobs, of all sandboxes of this process: they may share a range.
static LEASED: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Hands out each id to one job at a time, going round, so that an id rests before its next use.
#[derive(Debug)]
pub(crate) struct Uids {
    range: UidRange,
    /// Offset in the range at which to look first.
    next: AtomicU32,
}

impl Uids {
    pub(crate) fn new(range: UidRange) -> Self {
        // Other hosts on the same machine begin elsewhere, even those with the next process id.
        let scattered = std::process::id().wrapping_mul(2_654_435_761);
        Self {
            range,
            next: AtomicU32::new(scattered % range.count.max(1)),
        }
    }

    /// The first usual range that exists in this user namespace.
    pub(crate) fn usual() -> Option<UidRange> {
        let map = std::fs::read_to_string("/proc/self/uid_map").ok()?;
        CANDIDATES.into_iter().find(|range| is_mapped(&map, *range))
    }

    pub(crate) const fn count(&self) -> u32 {
        self.range.count
    }

    pub(crate) fn lease(&self) -> Option<Lease> {
        let mut leased = LEASED.lock().unwrap_or_else(PoisonError::into_inner);
        let UidRange { first, count } = self.range;
        let begin = self.next.load(Ordering::Relaxed);
        let offset = (begin..count)
            .chain(0..begin.min(count))
            .find(|offset| !leased.contains(&first.saturating_add(*offset)))?;
        let uid = first.saturating_add(offset);
        leased.insert(uid);
        self.next
            .store(offset.saturating_add(1) % count.max(1), Ordering::Relaxed);
        Some(Lease { uid })
    }
}

/// One job's id, given back when dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) uid: u32,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut leased = LEASED.lock().unwrap_or_else(PoisonError::into_inner);
        leased.remove(&self.uid);
    }
}

/// Whether a line of a uid map (inside, outside, count) holds the whole range.
fn is_mapped(map: &str, range: UidRange) -> bool {
    map.lines().any(|line| {
        let mut numbers = line
            .split_whitespace()
            .filter_map(|word| word.parse::<u64>().ok());
        let (Some(inside), Some(_), Some(count)) = (numbers.next(), numbers.next(), numbers.next())
        else {
            return false;
        };
        let (first, end) = (
            u64::from(range.first),
            u64::from(range.first) + u64::from(range.count),
        );
        inside <= first && end <= inside.saturating_add(count)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use super::*;

    #[test]
    fn each_id_has_one_holder_and_comes_back() {
        let range = UidRange {
            first: 1000,
            count: 3,
        };
        let uids = Uids::new(range);
        let mut held: Vec<Lease> = (0..3).map(|_| uids.lease().unwrap()).collect();
        let ids: BTreeSet<u32> = held.iter().map(|lease| lease.uid).collect();
        assert_eq!(ids, BTreeSet::from([1000, 1001, 1002]));
        assert!(uids.lease().is_none());
        assert!(Uids::new(range).lease().is_none(), "one ledger for all");
        let back = held.remove(1).uid;
        assert_eq!(uids.lease().unwrap().uid, back);
    }

    #[test]
    fn ranges_must_be_mapped_whole() {
        let all = "         0          0 4294967295\n";
        let container = "0 100000 65536\n";
        assert!(CANDIDATES.iter().all(|range| is_mapped(all, *range)));
        assert_eq!(
            CANDIDATES.map(|range| is_mapped(container, range)),
            [false, true]
        );
        assert!(!is_mapped("0 1000 1\n", UidRange { first: 0, count: 2 }));
        assert!(!is_mapped("", UidRange { first: 0, count: 1 }));
    }
}

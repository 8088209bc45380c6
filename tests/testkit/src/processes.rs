//! Which processes belong to a server, alive or dead.
//!
//! Every test server leads a session of its own; what it starts stays in that session, also when
//! its parent is dead, except an engine, which leads another. Engines are therefore also known as
//! descendants, noted while their parents live.

use std::{collections::BTreeMap, fs};

/// A set of processes, told apart from later ones with the same number by their start time.
#[derive(Debug, Clone, Default)]
pub struct Processes {
    known: BTreeMap<(i32, u64), String>,
}

struct Stat {
    pid: i32,
    name: String,
    state: char,
    parent: i32,
    session: i32,
    start_ticks: u64,
}

impl Processes {
    /// Adds the descendants of a process and the members of its session, itself left out.
    pub fn note_those_of(&mut self, leader: i32) {
        let all = all();
        let mut family = vec![leader];
        // A process is listed before its children unless numbers wrapped, so a second round at
        // most is needed for each generation; there are four (server, helper, first, engine).
        for _ in 0..6 {
            for stat in &all {
                let member = family.contains(&stat.parent) || stat.session == leader;
                if member && !family.contains(&stat.pid) {
                    family.push(stat.pid);
                }
            }
        }
        for stat in all {
            if stat.pid != leader && family.contains(&stat.pid) {
                self.known.insert((stat.pid, stat.start_ticks), stat.name);
            }
        }
    }

    /// Those that still run, as texts for people. One that is dead and not yet waited for by its
    /// parent does not count.
    #[must_use]
    pub fn alive(&self) -> Vec<String> {
        all()
            .into_iter()
            .filter(|stat| !matches!(stat.state, 'Z' | 'X'))
            .filter(|stat| self.known.contains_key(&(stat.pid, stat.start_ticks)))
            .map(|stat| format!("{} ({}, {})", stat.pid, stat.name, stat.state))
            .collect()
    }

    /// How many are known, dead or alive.
    #[must_use]
    pub fn known(&self) -> usize {
        self.known.len()
    }
}

fn all() -> Vec<Stat> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(|pid| parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?))
        .collect()
}

/// proc_pid_stat(5). The name may hold anything, so fields are counted from its last `)`.
fn parse(pid: i32, text: &str) -> Option<Stat> {
    let (before, after) = text.rsplit_once(')')?;
    let mut fields = after.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    let start_ticks = fields.nth(15)?.parse().ok()?;
    let name = before.split_once('(')?.1.to_owned();
    Some(Stat {
        pid,
        name,
        state,
        parent,
        session,
        start_ticks,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use super::*;

    #[test]
    fn a_name_with_brackets_is_read_over() {
        let text = "7 (a) b) S 1 7 9 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        let stat = parse(7, text).unwrap();
        assert_eq!((stat.parent, stat.session, stat.start_ticks), (1, 9, 4242));
        assert_eq!((stat.name.as_str(), stat.state), ("a) b", 'S'));
    }
}

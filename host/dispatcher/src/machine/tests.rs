#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use super::*;

const CAPACITY: Resources = Resources {
    cpu_cores: 4,
    memory_bytes: 1000,
};

const RULES: Rules = Rules {
    capacity: CAPACITY,
    org_capacity: Resources::UNLIMITED,
    org_running_max: u32::MAX,
    attempts_max: 3,
};

const NOW: Duration = Duration::from_secs(5);

fn candidate(org: OrgId, priority: u8, cpu_cores: u32) -> Candidate {
    Candidate {
        execution: ExecutionId::generate(),
        org,
        priority,
        needs: Resources {
            cpu_cores,
            memory_bytes: 10,
        },
    }
}

#[test]
fn a_curable_ending_is_retried_until_the_attempts_are_used_up() {
    let mut machine = Machine::new(RULES);
    let org = OrgId::generate();
    let mut attempt = |number, ending| {
        let one = candidate(org, 128, 1);
        machine.claimed(org, &[one], false, NOW);
        machine.start(NOW).unwrap();
        machine.finish(one.execution, number, ending, NOW, 7)
    };
    assert!(matches!(
        attempt(1, AttemptEnding::RemoteFailed),
        Verdict::Retry(_)
    ));
    assert!(matches!(attempt(2, AttemptEnding::Lost), Verdict::Retry(_)));
    assert_eq!(
        attempt(3, AttemptEnding::Lost),
        Verdict::End(ExecutionStatus::DeadLetter)
    );
    assert_eq!(
        attempt(1, AttemptEnding::Crashed),
        Verdict::End(ExecutionStatus::Failed)
    );
}

#[test]
fn a_cancelled_execution_is_never_retried_and_a_success_is_kept() {
    let mut machine = Machine::new(RULES);
    let org = OrgId::generate();
    for (ending, status) in [
        (AttemptEnding::Lost, ExecutionStatus::Cancelled),
        (AttemptEnding::Succeeded, ExecutionStatus::Succeeded),
    ] {
        let one = candidate(org, 128, 1);
        machine.claimed(org, &[one], false, NOW);
        machine.start(NOW).unwrap();
        assert_eq!(machine.cancel(one.execution, NOW), CancelFound::Running);
        assert_eq!(
            machine.finish(one.execution, 1, ending, NOW, 0),
            Verdict::End(status)
        );
    }
}

#[test]
fn an_execution_larger_than_the_host_gets_the_whole_host() {
    let mut machine = Machine::new(RULES);
    let org = OrgId::generate();
    let (large, small) = (candidate(org, 128, 64), candidate(org, 128, 1));
    machine.claimed(org, &[large, small], false, NOW);
    assert_eq!(
        machine.start(NOW).unwrap().candidate.execution,
        large.execution
    );
    assert!(machine.is_full());
    assert!(machine.start(NOW).is_none());
}

#[test]
fn what_comes_with_a_higher_priority_is_claimed_before_what_waits() {
    let mut machine = Machine::new(RULES);
    let org = OrgId::generate();
    let mut many: Vec<Candidate> = (0..5).map(|_| candidate(org, 100, 1)).collect();
    machine.claimed(org, &many, false, NOW);
    while machine.start(NOW).is_some() {}
    assert_eq!(machine.waiting(org).count(), 1);
    machine.notice(org, 100);
    assert!(machine.claims().is_empty(), "one waits, that is enough");
    machine.notice(org, 200);
    assert_eq!(machine.claims(), [Claim { org, count: 1 }]);
    let urgent = candidate(org, 200, 1);
    machine.claimed(org, &[urgent], true, NOW);
    machine.finish(
        many.remove(0).execution,
        1,
        AttemptEnding::Succeeded,
        NOW,
        0,
    );
    assert_eq!(
        machine.start(NOW).unwrap().candidate.execution,
        urgent.execution
    );
}

#[test]
fn short_work_is_claimed_ahead_and_long_work_is_not() {
    for (wall, expected) in [
        (Duration::from_micros(500), 160),
        (Duration::from_secs(60), 1),
    ] {
        let mut machine = Machine::new(RULES);
        let org = OrgId::generate();
        for _ in 0..50 {
            let one = candidate(org, 128, 1);
            machine.claimed(org, &[one], true, NOW);
            machine.start(NOW).unwrap();
            machine.finish(one.execution, 1, AttemptEnding::Succeeded, NOW + wall, 0);
        }
        machine.notice(org, 128);
        assert_eq!(machine.claims()[0].count, expected);
    }
}

#[test]
fn a_cancelled_one_that_arrives_with_a_claim_is_looked_at_again() {
    let mut machine = Machine::new(RULES);
    let org = OrgId::generate();
    let one = candidate(org, 128, 1);
    assert_eq!(machine.cancel(one.execution, NOW), CancelFound::NotRunning);
    machine.claimed(org, &[one], false, NOW);
    assert!(machine.start(NOW).unwrap().doubtful);
}

#[test]
fn a_drained_machine_starts_nothing_and_gives_back_what_waits() {
    let mut machine = Machine::new(RULES);
    let org = OrgId::generate();
    let many: Vec<Candidate> = (0..6).map(|_| candidate(org, 128, 1)).collect();
    machine.claimed(org, &many, true, NOW);
    while machine.start(NOW).is_some() {}
    assert_eq!(machine.drain(), many[4..]);
    machine.finish(many[0].execution, 1, AttemptEnding::Succeeded, NOW, 0);
    assert!(machine.start(NOW).is_none());
    machine.look(NOW + Duration::from_secs(100));
    assert!(machine.claims().is_empty());
    assert!(!machine.is_idle());
    for one in &many[1..4] {
        machine.finish(one.execution, 1, AttemptEnding::Succeeded, NOW, 0);
    }
    assert!(machine.is_idle());
}

//! Configurations of the alerts model.

use super::AlertsModel;
use super::alert_item::AlertMutant;
use crate::write_protocol::{assert_holds, assert_holds_within_limit, assert_mutant_found};

#[test]
fn p5_two_events_and_two_faults_of_which_one_is_late() {
    assert_holds(&AlertsModel { faults: 2, delays: 1, ..AlertsModel::default() });
}

#[test]
fn p10_two_replays_and_an_entry_that_fails() {
    assert_holds(&AlertsModel { failures: 1, replays: 2, ..AlertsModel::default() });
}

#[test]
fn p10_a_replay_and_a_fault() {
    assert_holds(&AlertsModel { faults: 1, delays: 1, failures: 1, replays: 1, ..AlertsModel::default() });
}

#[test]
fn an_item_remembers_every_publisher() {
    let mutant = Some(AlertMutant::LastPublisherOnly);
    assert_mutant_found(&AlertsModel { replays: 2, mutant, ..AlertsModel::default() }, "P10");
}

#[test]
fn an_alert_is_published_if_marked_so_and_not_if_unclaimed() {
    let mutant = Some(AlertMutant::PublishedIsUnclaimed);
    assert_mutant_found(&AlertsModel { failures: 1, replays: 1, mutant, ..AlertsModel::default() }, "P2");
}

#[test]
fn two_events_of_the_same_alert_publish_it_once() {
    let mutant = Some(AlertMutant::EachEventOnce);
    assert_mutant_found(&AlertsModel { mutant, ..AlertsModel::default() }, "P5");
}

#[test]
fn a_claim_that_arrives_late_does_not_take_the_place_of_a_younger_one() {
    let mutant = Some(AlertMutant::OlderClaim);
    assert_mutant_found(&AlertsModel { faults: 2, delays: 1, mutant, ..AlertsModel::default() }, "P5");
}

#[test]
#[ignore = "for hours by hand"]
fn p10_two_replays_two_faults_and_an_entry_that_fails() {
    assert_holds_within_limit(&AlertsModel {
        faults: 2,
        delays: 1,
        failures: 1,
        replays: 2,
        ..AlertsModel::default()
    });
}

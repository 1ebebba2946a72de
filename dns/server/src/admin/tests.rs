use super::*;

#[test]
fn a_server_is_ready_once_everything_has_been_read_and_stays_so() {
    let readiness = Readiness::new();
    assert_eq!(
        readiness.report(),
        (false, "not everything has been read yet\n".to_owned())
    );
    readiness.set_synced();
    assert_eq!(readiness.report(), (true, "OK".to_owned()));
    readiness.set_source("Gateway", false, "cannot watch gateways");
    let lost = "OK\nGateway: cannot watch gateways; serving what is known\n".to_owned();
    assert_eq!(readiness.report(), (true, lost));
    readiness.set_source("Gateway", true, "");
    assert_eq!(readiness.report(), (true, "OK".to_owned()));
}

#[test]
fn what_is_missing_is_named() {
    let readiness = Readiness::new();
    readiness.set_source("ServiceImport", false, "forbidden");
    let (ready, text) = readiness.report();
    assert!(!ready);
    assert_eq!(
        text,
        "not everything has been read yet\nServiceImport: forbidden\n"
    );
}

#[test]
fn lameduck_ends_readiness() {
    let readiness = Readiness::new();
    readiness.set_synced();
    readiness.start_lameduck();
    assert_eq!(readiness.report(), (false, "stopping\n".to_owned()));
}

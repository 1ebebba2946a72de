use super::*;

#[test]
fn dig_output_is_read() {
    let reply = Reply::parse(
        "
; <<>> DiG 9.18.41 <<>> @127.0.0.1 -p 5300 web.ns.svc.clusterset.local A
;; Got answer:
;; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: 4711
;; flags: qr aa rd; QUERY: 1, ANSWER: 2, AUTHORITY: 0, ADDITIONAL: 1
;; WARNING: recursion requested but not available

;; OPT PSEUDOSECTION:
; EDNS: version: 0, flags: do; udp: 1232
;; QUESTION SECTION:
;web.ns.svc.clusterset.local.\tIN\tA

;; ANSWER SECTION:
web.ns.svc.clusterset.local. 5\tIN\tA\t10.0.0.2
web.ns.svc.clusterset.local. 5\tIN\tA\t10.0.0.1

;; Query time: 0 msec
"
        .into(),
    );
    assert_eq!(reply.status, "NOERROR");
    assert_eq!(reply.flags, ["qr", "aa", "rd"]);
    assert_eq!(reply.answers("A"), ["10.0.0.1", "10.0.0.2"]);
    assert!(reply.answers("AAAA").is_empty());
    assert_eq!(
        reply.answer[0],
        "web.ns.svc.clusterset.local. 5 IN A 10.0.0.2"
    );
    assert!(reply.authority.is_empty() && reply.additional.is_empty());
}

#[test]
fn kdig_output_is_read() {
    let reply = Reply::parse(
        "
;; TLS session (TLS1.3)-(ECDHE-X25519)
;; HTTP session (HTTP/2-POST)-(127.0.0.1/dns-query)-(status: 200)
;; ->>HEADER<<- opcode: QUERY; status: NXDOMAIN; id: 1
;; Flags: qr aa; QUERY: 1; ANSWER: 0; AUTHORITY: 1; ADDITIONAL: 1

;; EDNS PSEUDOSECTION:
;; Version: 0; flags: do; UDP size: 1232 B; ext-rcode: NOERROR

;; QUESTION SECTION:
;; no.clusterset.local. \tIN\tA

;; AUTHORITY SECTION:
clusterset.local.   \t5\tIN\tSOA\tns.dns.clusterset.local. hostmaster.clusterset.local. 1 2 3 4 5

;; Received 100 B
"
        .into(),
    );
    assert_eq!(reply.status, "NXDOMAIN");
    assert!(reply.has_flag("aa") && !reply.has_flag("do"));
    assert_eq!(
        reply.authority,
        [
            "clusterset.local. 5 IN SOA ns.dns.clusterset.local. hostmaster.clusterset.local. 1 2 3 4 5"
        ]
    );
}

#[test]
fn no_reply_has_no_status() {
    let reply = Reply::parse(";; communications error to 127.0.0.1#1: connection refused".into());
    assert_eq!(reply.status, "");
    assert!(reply.answer.is_empty());
}

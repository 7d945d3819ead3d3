//! Idle pools of Python whose server, nginx, closes after its keep-alive time: with an alert of TLS, or with a GOAWAY of
//! HTTP/2.

use std::ops::RangeInclusive;
use std::process::Command;

use crate::support::judge::judge;
use crate::support::stage::Stage;
use crate::support::truth::Truth;
use crate::support::{free_port, until_listens};

scenes! {
    tls_1_2_pool,
    tls_1_3_pool,
    http2_pool,
    http2_pool_of_a_lingering_server,
}

fn tls_1_2_pool() {
    // The alert, encrypted, and the FIN.
    pool("https pool, TLS 1.2", "ssl", ("tls_pool", "TLSv1_2"), "off", ("tls", 32..=32));
}

fn tls_1_3_pool() {
    pool("https pool, TLS 1.3", "ssl", ("tls_pool", "TLSv1_3"), "off", ("tls", 25..=25));
}

fn http2_pool() {
    // The GOAWAY: its header, the last stream and the error; and the FIN.
    pool("http/2 pool", "http2", ("http2_pool", ""), "off", ("http2", 18..=18));
}

fn http2_pool_of_a_lingering_server() {
    // As nginx is by default: it has shut down and holds the socket for five seconds more, but waits for no answer.
    pool("http/2 pool, server lingers", "http2", ("http2_pool", ""), "on", ("http2", 18..=18));
}

fn pool(
    scene: &'static str,
    option: &str,
    (app, argument): (&str, &str),
    lingering: &str,
    (protocol, unread): (&str, RangeInclusive<u32>),
) {
    let stage = Stage::new();
    let port = free_port().to_string();
    let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| stage.folder().join(name));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    openssl.args(["-subj", "/CN=scene", "-days", "2"]).arg("-keyout").arg(key).arg("-out").arg(certificate);
    stage.run("openssl", &mut openssl);
    let values = [("PORT", &*port), ("PROTOCOL", option), ("LINGERING", lingering)];
    let configuration = stage.configuration("nginx-idle.conf", &values);
    stage.start("nginx", Command::new("nginx").args(["-c", &configuration]));
    until_listens(port.parse().unwrap());
    let pool = stage.python(app, &[&port, argument]);
    stage.until_says(app, "ready");
    judge(&[Truth::connected(scene, port.parse().unwrap())
        .count(3)
        .owners(&[pool])
        .unread(unread)
        .verdict(&["eof_unread"])
        .first(&["last_words", "idle_in_pool"])
        .also(&["last_words", "idle_in_pool"])
        .number("last_words", "protocol", protocol)
        .never_says(&["blocked or gone"])]);
}

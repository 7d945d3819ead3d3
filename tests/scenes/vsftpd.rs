//! Idle sessions of Python's ftplib that vsftpd ended, with a word of goodbye in plain text.

use std::fs;
use std::process::Command;

use crate::support::judge::judge;
use crate::support::stage::Stage;
use crate::support::truth::Truth;
use crate::support::{free_port, until_listens};

scenes! {
    vsftpd_idle_timeout,
}

fn vsftpd_idle_timeout() {
    let (stage, port) = (Stage::new(), free_port());
    fs::create_dir(stage.folder().join("empty")).unwrap();
    let configuration = stage.configuration("vsftpd.conf", &[("PORT", &port.to_string())]);
    stage.start("vsftpd", Command::new("vsftpd").arg(configuration));
    until_listens(port);
    let pool = stage.python("ftp_pool", &[&port.to_string()]);
    stage.until_says("ftp_pool", "ready");
    judge(&[Truth::connected("ftplib, idle timeout of vsftpd", port)
        .count(3)
        .owners(&[pool])
        // "421 Timeout.", and the FIN.
        .unread(10..=40)
        .verdict(&["eof_unread"])
        .first(&["last_words", "idle_in_pool"])
        .also(&["last_words", "idle_in_pool"])
        .never_says(&["blocked or gone"])]);
}

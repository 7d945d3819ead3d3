//! Apache as a proxy whose backend does not answer: a client that left, also in a process that a reload made old.

use std::process::Command;

use crate::support::judge::judge;
use crate::support::processes::only_child;
use crate::support::stage::Stage;
use crate::support::truth::Truth;
use crate::support::{free_port, kernel, request_through, until, until_listens};

scenes! {
    apache_whose_client_left,
    apache_old_process,
}

struct Apache {
    stage: Stage,
    configuration: String,
    port: u16,
    backend: u16,
    parent: i32,
}

impl Apache {
    fn start() -> Self {
        let stage = Stage::new();
        let [port, backend] = [(); 2].map(|()| free_port());
        stage.python("backend", &[&backend.to_string()]);
        until_listens(backend);
        let values = [("PORT", &*port.to_string()), ("BACKEND", &*backend.to_string())];
        let configuration = stage.configuration("apache.conf", &values);
        let mut command = Command::new("apache2");
        let parent = stage.start("apache", command.args(["-D", "FOREGROUND", "-f", &configuration]));
        Self { stage, configuration, port, backend, parent }
    }

    /// A client whose request has reached the backend.
    fn client(&self) -> std::net::TcpStream {
        request_through(self.port, self.backend)
    }
}

fn apache_whose_client_left() {
    let apache = Apache::start();
    let client = apache.client();
    let child = only_child(apache.parent, &[]);
    drop(client);
    judge(&[Truth::accepted("apache, client left", apache.port)
        .owners(&[child])
        .unread(1..=1)
        .verdict(&["eof_unread"])
        .first(&["client_left"])
        .never(&["old_generation", "waits_for_other_leg"])]);
}

fn apache_old_process() {
    let apache = Apache::start();
    let client = apache.client();
    let old = only_child(apache.parent, &[]);
    let reload = ["-f", &*apache.configuration, "-k", "graceful"];
    apache.stage.run("reload", Command::new("apache2").args(reload));
    let new = only_child(apache.parent, &[old]);
    let has_let_go = || !kernel::listeners(None, apache.port).contains(&old);
    until("the old process stops listening", has_let_go, || {
        format!("{:?}", kernel::listeners(None, apache.port))
    });
    drop(client);
    judge(&[Truth::accepted("apache, old process", apache.port)
        .owners(&[old])
        .unread(1..=1)
        .verdict(&["eof_unread"])
        .first(&["old_generation"])
        .number("old_generation", "pid", old)
        .number("old_generation", "newer", new)]);
}

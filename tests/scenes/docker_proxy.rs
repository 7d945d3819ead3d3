//! docker-proxy in front of a container's port that does not close. It needs no daemon: dockerd only starts it.

use std::process::Command;

use crate::support::judge::judge;
use crate::support::stage::Stage;
use crate::support::truth::Truth;
use crate::support::{connect, free_port, until_listens};

scenes! {
    docker_proxy_waits_for_its_container,
}

fn docker_proxy_waits_for_its_container() {
    let stage = Stage::new();
    let [port, backend_port] = [(); 2].map(|()| free_port());
    let backend = stage.python("backend", &[&backend_port.to_string()]);
    until_listens(backend_port);
    // It tells whoever started it on descriptor 3 that it listens.
    let command = format!(
        "exec docker-proxy -proto tcp -host-ip 127.0.0.1 -host-port {port} \
         -container-ip 127.0.0.1 -container-port {backend_port} 3>/dev/null"
    );
    let proxy = stage.start("docker-proxy", Command::new("sh").args(["-c", &command]));
    drop(connect(port));
    judge(&[Truth::accepted("docker-proxy, container does not close", port)
        .owners(&[proxy])
        .verdict(&["eof_read"])
        .first(&["waits_for_other_leg"])
        .number("waits_for_other_leg", "pid", proxy)
        .number("waits_for_other_leg", "far_pid", backend)
        .never_says(&["look for the path that returns without"])]);
}

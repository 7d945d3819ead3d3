//! Where each runtime and the kubelet leave the names of containers, and in which form.
//!
//! Users choose the names, and those with runtimes of their own write the files: what does not parse names nothing.

use serde::{Deserialize, de::DeserializeOwned};

use super::{host_root::HostRoot, names::ContainerNames};

/// Most bytes read of the description of one container, and of a list of all.
const MAX_DESCRIPTION: u64 = 1024 * 1024;
const MAX_LIST: u64 = 8 * 1024 * 1024;

/// Where containerd keeps its state: by itself, in k3s and RKE2, k0s, MicroK8s, and the one that Docker starts.
const CONTAINERD: [&str; 5] = [
    "run/containerd",
    "run/k3s/containerd",
    "run/k0s/containerd",
    "var/snap/microk8s/common/run/containerd",
    "run/docker/containerd/daemon",
];

/// Where Podman and CRI-O keep theirs. The second goes with the boot.
const STORAGE: [&str; 2] = ["var/lib/containers/storage", "run/containers/storage"];

/// Their drivers, each with directories of its own.
const DRIVERS: [&str; 5] = ["overlay", "vfs", "btrfs", "zfs", "aufs"];

/// Where Docker keeps its data: by itself, and as a snap.
const DOCKER: [&str; 2] = ["var/lib/docker", "var/snap/docker/common/var-lib-docker"];

/// Whether containerd has a task of this name.
pub(crate) fn has_task(root: &HostRoot, namespace: &str, id: &str) -> bool {
    CONTAINERD.iter().any(|state| root.has_directory(&task(state, namespace, id)))
}

/// The directory with the bundle of a task of containerd.
fn task(state: &str, namespace: &str, id: &str) -> String {
    format!("{state}/io.containerd.runtime.v2.task/{namespace}/{id}")
}

/// A bundle's annotations (OCI runtime specification, config.json), in the words of containerd, of CRI-O, and of
/// nerdctl.
#[derive(Default, Deserialize)]
struct Annotations {
    #[serde(rename = "io.kubernetes.cri.container-name")]
    container: Option<String>,
    #[serde(rename = "io.kubernetes.cri.sandbox-name")]
    pod: Option<String>,
    #[serde(rename = "io.kubernetes.cri.sandbox-namespace")]
    namespace: Option<String>,
    #[serde(flatten)]
    labels: Labels,
    #[serde(rename = "nerdctl/name")]
    nerdctl: Option<String>,
}

/// The kubelet's labels (`pkg/kubelet/types/labels.go`), as CRI-O and Docker keep them.
#[derive(Default, Deserialize)]
struct Labels {
    #[serde(rename = "io.kubernetes.container.name")]
    container: Option<String>,
    #[serde(rename = "io.kubernetes.pod.name")]
    pod: Option<String>,
    #[serde(rename = "io.kubernetes.pod.namespace")]
    namespace: Option<String>,
}

#[derive(Deserialize)]
struct Bundle {
    annotations: Option<Annotations>,
}

impl Bundle {
    fn names(self) -> ContainerNames {
        let Annotations { container, pod, namespace, labels, nerdctl } = self.annotations.unwrap_or_default();
        let container = container.or(labels.container).or(nerdctl);
        let (pod, namespace) = (pod.or(labels.pod), namespace.or(labels.namespace));
        ContainerNames::new(container.as_deref(), pod.as_deref(), namespace.as_deref())
    }
}

fn parsed<T: DeserializeOwned>(root: &HostRoot, path: &str, most: u64) -> Option<T> {
    let bytes = root.read(path, most)?;
    serde_json::from_slice(&bytes)
        .inspect_err(|error| log::debug!("{path} says nothing of a container: {error}"))
        .ok()
}

fn of_bundle(root: &HostRoot, directory: &str) -> Option<ContainerNames> {
    let bundle: Bundle = parsed(root, &format!("{directory}/config.json"), MAX_DESCRIPTION)?;
    Some(bundle.names()).filter(|names| !names.is_empty())
}

/// containerd: Kubernetes, and nerdctl.
pub(crate) fn of_containerd(root: &HostRoot, id: &str) -> Option<ContainerNames> {
    CONTAINERD.iter().find_map(|state| {
        let namespaces = format!("{state}/io.containerd.runtime.v2.task");
        root.find_entry(&namespaces, |namespace| {
            // The names of directories are not from users: `..` is no namespace.
            (!namespace.starts_with('.')).then(|| of_bundle(root, &task(state, namespace, id))).flatten()
        })
    })
}

/// Podman and CRI-O: the bundle has the annotations of Kubernetes, and a list has the names that people gave.
pub(crate) fn of_storage(root: &HostRoot, id: &str) -> Option<ContainerNames> {
    let configured = configured_storage(root);
    let storages = || configured.as_deref().into_iter().chain(STORAGE);
    let bundle = storages().find_map(|storage| {
        let directory = |driver: &str| format!("{storage}/{driver}-containers/{id}/userdata");
        DRIVERS.iter().find_map(|driver| of_bundle(root, &directory(driver)))
    });
    bundle.or_else(|| storages().find_map(|storage| of_list(root, storage, id)))
}

/// An entry of the list of containers that Podman and CRI-O keep (containers/storage, `containers.go`).
#[derive(Deserialize)]
struct Listed {
    id: String,
    names: Option<Vec<String>>,
}

fn of_list(root: &HostRoot, storage: &str, id: &str) -> Option<ContainerNames> {
    let paths = DRIVERS.iter().flat_map(|driver| {
        // The second has those that end with the boot.
        ["containers.json", "volatile-containers.json"]
            .map(|list| format!("{storage}/{driver}-containers/{list}"))
    });
    paths.into_iter().find_map(|path| {
        let list: Vec<Listed> = parsed(root, &path, MAX_LIST)?;
        let names = list.into_iter().find(|listed| listed.id == id)?.names?;
        let names = ContainerNames::new(names.first().map(String::as_str), None, None);
        Some(names).filter(|names| !names.is_empty())
    })
}

/// Docker's description of a container (`container.Container`).
#[derive(Deserialize)]
struct DockerContainer {
    #[serde(rename = "Name")]
    name: Option<String>,
    #[serde(rename = "Config")]
    config: Option<DockerConfig>,
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(rename = "Labels")]
    labels: Option<Labels>,
}

pub(crate) fn of_docker(root: &HostRoot, id: &str) -> Option<ContainerNames> {
    let configured = configured_docker(root);
    configured.as_deref().into_iter().chain(DOCKER).find_map(|data| of_docker_data(root, data, id))
}

fn of_docker_data(root: &HostRoot, data: &str, id: &str) -> Option<ContainerNames> {
    let path = format!("{data}/containers/{id}/config.v2.json");
    let DockerContainer { name, config } = parsed(root, &path, MAX_DESCRIPTION)?;
    let labels = config.and_then(|config| config.labels).unwrap_or_default();
    let name = name.as_deref().map(|name| name.strip_prefix('/').unwrap_or(name));
    let names = ContainerNames::new(
        labels.container.as_deref().or(name),
        labels.pod.as_deref(),
        labels.namespace.as_deref(),
    );
    Some(names).filter(|names| !names.is_empty())
}

/// Podman and Docker of a user without root.
pub(crate) fn of_user(root: &HostRoot, uid: u32, id: &str) -> Option<ContainerNames> {
    let home = root.of_user(&home(root, uid)?, uid)?;
    of_list(&home, ".local/share/containers/storage", id)
        .or_else(|| of_docker_data(&home, ".local/share/docker", id))
}

fn home(root: &HostRoot, uid: u32) -> Option<String> {
    let passwd = root.read("etc/passwd", MAX_DESCRIPTION)?;
    let passwd = String::from_utf8_lossy(&passwd);
    let home = passwd.lines().find_map(|line| {
        let mut fields = line.split(':').skip(2);
        (fields.next()?.parse() == Ok(uid)).then(|| fields.nth(2)).flatten()
    })?;
    home.starts_with('/').then(|| home.to_owned())
}

/// The kubelet's links to the logs of containers: `POD_NAMESPACE_CONTAINER-ID.log`. No name of Kubernetes has a `_`.
pub(crate) fn of_container_log(root: &HostRoot, id: &str) -> Option<ContainerNames> {
    let ending = format!("-{id}.log");
    root.find_entry("var/log/containers", |name| {
        let mut parts = name.strip_suffix(&ending)?.splitn(3, '_');
        let (pod, namespace, container) = (parts.next()?, parts.next()?, parts.next()?);
        Some(ContainerNames::new(Some(container), Some(pod), Some(namespace)))
    })
}

/// The kubelet's directories for the logs of pods: `NAMESPACE_POD_UID`. Which of the pod's containers it is they do not
/// say.
pub(crate) fn of_pod_log(root: &HostRoot, pod_uid: &str) -> Option<ContainerNames> {
    let ending = format!("_{pod_uid}");
    root.find_entry("var/log/pods", |name| {
        let (namespace, pod) = name.strip_suffix(&ending)?.split_once('_')?;
        Some(ContainerNames::new(None, Some(pod), Some(namespace)))
    })
}

/// `data-root` of Docker's daemon.json.
fn configured_docker(root: &HostRoot) -> Option<String> {
    #[derive(Deserialize)]
    struct Daemon {
        #[serde(rename = "data-root")]
        data_root: Option<String>,
    }
    parsed::<Daemon>(root, "etc/docker/daemon.json", MAX_DESCRIPTION)?.data_root
}

/// `graphroot` of containers-storage.conf(5).
fn configured_storage(root: &HostRoot) -> Option<String> {
    let text = root.read("etc/containers/storage.conf", MAX_DESCRIPTION)?;
    String::from_utf8_lossy(&text).lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "graphroot").then(|| value.trim().trim_matches(['"', '\'']).to_owned())
    })
}

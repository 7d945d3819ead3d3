//! What people call a container and its pod. Reads nothing itself.

/// Characters kept of a name. Those of Kubernetes have at most 253.
const MAX_NAME: usize = 256;

/// What a pod's sandbox is called where it counts as a container: nobody else calls it that.
const SANDBOX: &str = "POD";

/// The names of a container. What is not known is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ContainerNames {
    pub container: Option<String>,
    pub pod: Option<String>,
    /// The pod's namespace in Kubernetes.
    pub namespace: Option<String>,
}

impl ContainerNames {
    /// Names as somebody wrote them.
    pub(crate) fn new(container: Option<&str>, pod: Option<&str>, namespace: Option<&str>) -> Self {
        let kept = |name: Option<&str>| {
            name.filter(|name| !name.is_empty()).map(|name| name.chars().take(MAX_NAME).collect())
        };
        let pod: Option<String> = kept(pod);
        Self {
            container: kept(container.filter(|name| *name != SANDBOX || pod.is_none())),
            namespace: kept(namespace.filter(|_| pod.is_some())),
            pod,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        let Self { container, pod, namespace } = self;
        container.is_none() && pod.is_none() && namespace.is_none()
    }
}

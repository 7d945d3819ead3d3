//! Which package a Python process was started to run, by the outermost lines of its main thread: of such a package the code is
//! the application's own, though it lies where packages lie. Pure.

use std::path::Path;

use crate::stacks::{
    point::{Point, ScriptLanguage, ScriptLine},
    sources::package_of,
};

/// Programs that run applications of others, and what stands between the two: with the names of their packages.
const HOSTS: [&str; 64] = [
    "IPython",
    "_pytest",
    "a2wsgi",
    "aiohttp",
    "airflow",
    "anyio",
    "asgiref",
    "billiard",
    "bottle",
    "celery",
    "channels",
    "cheroot",
    "cherrypy",
    "click",
    "connexion",
    "daphne",
    "ddtrace",
    "django",
    "dramatiq",
    "elasticapm",
    "eventlet",
    "falcon",
    "fastapi",
    "fastapi_cli",
    "flask",
    "gevent",
    "granian",
    "gunicorn",
    "honcho",
    "huey",
    "hypercorn",
    "ipykernel",
    "kombu",
    "litestar",
    "meinheld",
    "mod_wsgi",
    "newrelic",
    "nicegui",
    "opentelemetry",
    "paste",
    "pluggy",
    "prefect",
    "prometheus_client",
    "pyramid",
    "pytest",
    "quart",
    "rest_framework",
    "rq",
    "sanic",
    "scrapy",
    "sentry_sdk",
    "starlette",
    "streamlit",
    "supervisor",
    "tornado",
    "traitlets",
    "trio",
    "twisted",
    "typer",
    "uvicorn",
    "vine",
    "waitress",
    "werkzeug",
    "whitenoise",
];

/// The package that is the program, of a stack, innermost first: that of `python -m shop`, and that which the script
/// `bin/shop` calls. Where that is a server which runs applications of others, the first package that it leads to besides.
/// `None` where the program is a file of its own, and of threads that it began.
pub(in crate::stacks) fn package(points: &[Point]) -> Option<String> {
    let lines = points.iter().rev().filter_map(|point| match point {
        Point::Script(line) if line.language == ScriptLanguage::Python => Some(&**line),
        Point::Script(_) | Point::Address { .. } | Point::End => None,
    });
    let mut lines = lines.skip_while(|line| is_runner(line));
    let first = lines.next().filter(|line| line.function == "<module>")?;
    let of = |line: &ScriptLine| {
        let installed = line.package.as_deref().map(str::to_owned);
        installed.or_else(|| package_of(Path::new(line.file.as_deref()?)))
    };
    let started = match of(first) {
        Some(package) => Some(package),
        None if is_launcher(first) => lines.next().and_then(of),
        None => None,
    }?;
    let is_host =
        |package: &str| HOSTS.contains(&package) || HOSTS.contains(&package.trim_end_matches(".py"));
    if !is_host(&started) {
        return Some(started);
    }
    // Its workers are threads or processes of the same kind: their lines are seen from the one that the program began in.
    lines.find_map(|line| of(line).filter(|package| !is_host(package))).or(Some(started))
}

/// Whether a line is that of a script which an installer made, to call the package that it belongs to: `bin/shop`.
pub(in crate::stacks) fn is_launcher(line: &ScriptLine) -> bool {
    let path = Path::new(line.file.as_deref().unwrap_or_default());
    let is_in_bin = path.parent().is_some_and(|folder| folder.ends_with("bin"));
    line.function == "<module>" && is_in_bin && path.extension().is_none()
}

/// Whether a line is one of `python -m`: frozen since 3.11.
fn is_runner(line: &ScriptLine) -> bool {
    let file = line.file.as_deref().unwrap_or_default();
    file == "<frozen runpy>" || (file.ends_with("/runpy.py") && line.function.starts_with("_run_"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// The package of a stack of these lines, outermost first.
    fn package_by(lines: &[(&str, &str)]) -> Option<String> {
        let point = |(function, file): &(&str, &str)| {
            Point::Script(Arc::new(ScriptLine {
                language: ScriptLanguage::Python,
                function: (*function).to_owned(),
                file: Some((*file).to_owned()),
                line: Some(1),
                package: None,
            }))
        };
        let mut points: Vec<Point> = lines.iter().rev().map(point).collect();
        points.push(Point::Address { address: 1, by: None });
        package(&points)
    }

    #[test]
    fn what_a_launcher_calls_and_what_runs_as_a_module_is_the_program() {
        const SHOP: &str = "/venv/lib/python3.12/site-packages/shop/cli.py";
        let launched = [("<module>", "/venv/bin/shop"), ("main", SHOP)];
        assert_eq!(package_by(&launched).as_deref(), Some("shop"));
        let module = [
            ("_run_module_as_main", "<frozen runpy>"),
            ("_run_code", "<frozen runpy>"),
            ("<module>", "/venv/lib/python3.12/site-packages/shop/__main__.py"),
        ];
        assert_eq!(package_by(&module).as_deref(), Some("shop"));
        let earlier = [("_run_code", "/usr/lib/python3.9/runpy.py"), ("<module>", SHOP)];
        assert_eq!(package_by(&earlier).as_deref(), Some("shop"));
    }

    #[test]
    fn what_a_server_runs_is_the_program_and_not_the_server() {
        const IN: &str = "/venv/lib/python3.12/site-packages";
        let file = |file: &str| format!("{IN}/{file}");
        let (sync, flask, shop, requests) = (
            file("gunicorn/workers/sync.py"),
            file("flask/app.py"),
            file("shop/ledger.py"),
            file("requests/api.py"),
        );
        let launcher = ("<module>", "/venv/bin/gunicorn");
        let served =
            [launcher, ("run", &*sync), ("wsgi_app", &*flask), ("refund", &*shop), ("get", &*requests)];
        assert_eq!(package_by(&served).as_deref(), Some("shop"));
        let own = [launcher, ("run", &*sync), ("accept", &*sync)];
        assert_eq!(package_by(&own).as_deref(), Some("gunicorn"), "its own socket");
    }

    #[test]
    fn a_file_of_its_own_is_the_program_itself() {
        const PACKAGE: (&str, &str) = ("get", "/usr/lib/python3/dist-packages/requests/api.py");
        for script in ["/srv/shop.py", "/usr/local/bin/shop.py", "<string>", "/usr/bin"] {
            assert_eq!(package_by(&[("<module>", script), PACKAGE]), None, "{script}");
        }
        let thread = [("_bootstrap", "/usr/lib/python3.12/threading.py"), PACKAGE];
        assert_eq!(package_by(&thread), None);
        assert_eq!(package_by(&[("<module>", "/usr/bin/shop"), ("main", "/usr/share/shop/main.py")]), None);
        assert_eq!(package_by(&[]), None);
    }
}

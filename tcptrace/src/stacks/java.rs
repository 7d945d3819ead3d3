//! Whose code a line of Java is: the JDK's, a library's, or the application's; by names alone. Pure.

use super::{kind::Kind, point::ScriptLine};
use crate::model::no_site::NoSiteBecause::InterpretedJava;

/// The JDK's own packages.
const JDK: [&str; 5] = ["java.", "javax.", "sun.", "jdk.", "com.sun."];

/// What the path of a source file begins with whose class came from the boot loader: java.base and the like.
pub(super) const BOOT: &str = "jrt:/";

/// What stands between an archive and what is in it, as in URLs of `java.net.JarURLConnection`.
pub(super) const WITHIN: &str = "!/";

/// Packages of common libraries, for those of which no archive is known, and those that are merged into the application's.
const LIBRARIES: [&str; 67] = [
    "akka",
    "ch.qos",
    "clojure",
    "co.elastic",
    "com.amazonaws",
    "com.azure",
    "com.clickhouse",
    "com.datastax",
    "com.fasterxml",
    "com.github.benmanes",
    "com.google",
    "com.hazelcast",
    "com.headius",
    "com.ibm",
    "com.microsoft",
    "com.mongodb",
    "com.mysql",
    "com.netflix",
    "com.ning",
    "com.oracle",
    "com.rabbitmq",
    "com.sap",
    "com.squareup",
    "com.zaxxer",
    "feign",
    "groovy",
    "io.asyncer",
    "io.grpc",
    "io.helidon",
    "io.ktor",
    "io.lettuce",
    "io.micrometer",
    "io.micronaut",
    "io.nats",
    "io.netty",
    "io.opentelemetry",
    "io.quarkus",
    "io.r2dbc",
    "io.undertow",
    "io.vertx",
    "jakarta",
    "jnr",
    "kong.unirest",
    "kotlin",
    "kotlinx",
    "net.bytebuddy",
    "net.spy",
    "okhttp3",
    "okio",
    "oracle",
    "org.apache",
    "org.asynchttpclient",
    "org.codehaus",
    "org.eclipse",
    "org.elasticsearch",
    "org.glassfish",
    "org.hibernate",
    "org.jboss",
    "org.jruby",
    "org.mariadb",
    "org.postgresql",
    "org.python",
    "org.springframework",
    "reactor",
    "redis.clients",
    "retrofit2",
    "scala",
];

/// Names that many projects share: what follows tells them apart.
const SHARED: [&str; 9] = [
    "com.github",
    "com.google",
    "io.github",
    "com.gitlab",
    "net.sf",
    "net.sourceforge",
    "org.apache",
    "org.eclipse",
    "org.springframework",
];

/// Rates a line that the VM told.
pub(super) fn of_line(line: &ScriptLine) -> Kind {
    let is_of_boot_loader = line.file.as_deref().is_some_and(|file| file.starts_with(BOOT));
    if is_of_boot_loader || is_of_jdk(&line.function) {
        return Kind::Interpreter(InterpretedJava);
    }
    // The archive of a library stands before its source file: `/srv/lib/httpclient.jar!/org/apache/http/Client.java`.
    match line.file.as_deref().and_then(|file| file.rsplit_once(WITHIN)) {
        Some((archive, _)) => Kind::Library(archive.rsplit('/').next().unwrap_or(archive).to_owned()),
        None => Kind::Own,
    }
}

/// `com.acme.shop` of `com.acme.shop.Ledger.open`.
pub(super) fn package_of(function: &str) -> &str {
    let class = function.rsplit_once('.').map_or("", |(class, _)| class);
    class.rsplit_once('.').map_or("", |(package, _)| package)
}

/// The names that a project has to itself: two, or three where the first two are a host of many, or the domain of a country:
/// `br.com.acme`, `uk.co.acme`.
pub(super) fn beginning(package: &str) -> &str {
    let is_shared = SHARED.iter().any(|shared| is_within(package, shared)) || is_of_country(package);
    let end = package.match_indices('.').nth(if is_shared { 2 } else { 1 }).map(|(at, _)| at);
    end.and_then(|end| package.get(..end)).unwrap_or(package)
}

/// Whether a package begins with a country and what many of them have below it (the list at publicsuffix.org).
fn is_of_country(package: &str) -> bool {
    const SECOND: [&str; 16] = [
        "ac", "co", "com", "edu", "go", "gob", "gouv", "gov", "gub", "info", "ne", "net", "nom", "or", "org",
        "web",
    ];
    let mut names = package.split('.');
    let country = names.next().filter(|name| name.len() == 2);
    country.is_some() && names.next().is_some_and(|second| SECOND.contains(&second))
}

pub(super) fn is_within(package: &str, outer: &str) -> bool {
    package.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The common library that a package belongs to, by a short list.
pub(super) fn common(package: &str) -> Option<&str> {
    LIBRARIES.iter().any(|library| is_within(package, library)).then(|| beginning(package))
}

/// Whether a method is of the JDK, by its package.
pub(super) fn is_of_jdk(method: &str) -> bool {
    JDK.iter().any(|package| method.starts_with(package))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stacks::point::ScriptLanguage::Java;

    #[test]
    fn whose_code_it_is_is_told_by_loader_package_and_archive() {
        let rated = |function: &str, file: Option<&str>| {
            let (function, file) = (function.to_owned(), file.map(str::to_owned));
            of_line(&ScriptLine { language: Java, function, file, line: Some(7), package: None })
        };
        let library = |name: &str| Kind::Library(name.to_owned());
        for (function, file, expected) in [
            ("Leak.main", Some("Leak.java"), Kind::Own),
            ("Leak$$Lambda.call", None, Kind::Own),
            ("com.acme.Leak.open", Some("com/acme/Leak.java"), Kind::Own),
            (
                "java.net.Socket.connect",
                Some("jrt:/java/net/Socket.java"),
                Kind::Interpreter(InterpretedJava),
            ),
            ("java.sql.DriverManager.getConnection", None, Kind::Interpreter(InterpretedJava)),
            ("com.sun.net.httpserver.A.b", None, Kind::Interpreter(InterpretedJava)),
            ("com.agent.Boot.run", Some("jrt:/com/agent/Boot.java"), Kind::Interpreter(InterpretedJava)),
            ("org.a.B.c", Some("/srv/lib/a-1.2.jar!/org/a/B.java"), library("a-1.2.jar")),
            ("org.a.B.c", Some("/srv/shop.jar!/BOOT-INF/lib/a-1.2.jar!/"), library("a-1.2.jar")),
            ("io.netty.B.c", Some("io.netty!/io/netty/B.java"), library("io.netty")),
        ] {
            assert_eq!(rated(function, file), expected, "{function} {file:?}");
        }
    }

    #[test]
    fn a_project_has_three_names_below_what_many_share() {
        for (package, expected) in [
            ("com.acme.shop.core", "com.acme"),
            ("br.com.acme.shop", "br.com.acme"),
            ("uk.co.acme", "uk.co.acme"),
            ("io.netty.channel", "io.netty"),
            ("org.apache.kafka.clients", "org.apache.kafka"),
            ("br.acme.shop", "br.acme"),
            ("acme", "acme"),
            ("", ""),
        ] {
            assert_eq!(beginning(package), expected, "{package}");
        }
    }

    #[test]
    fn the_list_is_sorted() {
        assert!(LIBRARIES.is_sorted());
    }
}

//! Whose code a line of Java is: the JDK's, a library's, or the application's. Pure.

use super::{kind::Kind, point::ScriptLine};
use crate::model::no_site::NoSiteBecause::InterpretedJava;

/// The JDK's own packages.
const JDK: [&str; 5] = ["java.", "javax.", "sun.", "jdk.", "com.sun."];

/// What the path of a source file begins with whose class came from the boot loader: java.base and the like.
pub(super) const BOOT: &str = "jrt:/";

/// What stands between an archive and what is in it, as in URLs of `java.net.JarURLConnection`.
pub(super) const WITHIN: &str = "!/";

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

/// The library of a method, by its package: jars lie anywhere, and often in one with the application.
pub(super) fn library(method: &str) -> Option<String> {
    /// What opens connections for applications, or runs them. Where it is the application, there is no line.
    const PACKAGES: [&str; 47] = [
        "akka.",
        "clojure.",
        "com.datastax.",
        "com.google.api.",
        "com.google.cloud.",
        "com.google.common.",
        "com.microsoft.sqlserver.",
        "com.mongodb.",
        "com.mysql.",
        "com.rabbitmq.",
        "com.squareup.",
        "com.zaxxer.hikari.",
        "feign.",
        "groovy.",
        "io.grpc.",
        "io.ktor.",
        "io.lettuce.",
        "io.micrometer.",
        "io.micronaut.",
        "io.netty.",
        "io.opentelemetry.",
        "io.quarkus.",
        "io.undertow.",
        "io.vertx.",
        "jakarta.",
        "kotlin.",
        "kotlinx.",
        "okhttp3.",
        "okio.",
        "oracle.jdbc.",
        "oracle.net.",
        "org.apache.",
        "org.asynchttpclient.",
        "org.eclipse.jetty.",
        "org.elasticsearch.client.",
        "org.glassfish.",
        "org.hibernate.",
        "org.jboss.",
        "org.mariadb.",
        "org.postgresql.",
        "org.redisson.",
        "org.springframework.",
        "reactor.",
        "redis.clients.",
        "retrofit2.",
        "scala.",
        "software.amazon.awssdk.",
    ];
    let package = PACKAGES.iter().find(|package| method.starts_with(**package))?;
    // Of Apache's, which are many, the next part tells.
    let end = match *package {
        "org.apache." => package.len() + method.get(package.len()..)?.find('.')?,
        _ => package.len() - 1,
    };
    method.get(..end).map(str::to_owned)
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
            of_line(&ScriptLine { language: Java, function, file, line: Some(7) })
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
}

//! Whose code a line of Java is: the JDK's, a library's, or the application's. Pure.

use super::{hotspot::BOOT, kind::Kind, point::ScriptLine};
use crate::model::no_site::NoSiteBecause::InterpretedJava;

/// The JDK's own packages.
const JDK: [&str; 5] = ["java.", "javax.", "sun.", "jdk.", "com.sun."];

/// Rates a line that the VM told.
pub(super) fn of_line(line: &ScriptLine) -> Kind {
    let is_of_boot_loader = line.file.as_deref().is_some_and(|file| file.starts_with(BOOT));
    if is_of_boot_loader || is_of_jdk(&line.function) {
        return Kind::Interpreter(InterpretedJava);
    }
    library(&line.function).map_or(Kind::Own, Kind::Library)
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
